// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/classrec/classrec/server/internal/ingest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// stream is what a participant publishes: the exchange of publish, offer and answer, then media. It is guarded by its
// room's mutex.
type stream struct {
	id          string
	owner       *participant
	publication publication
	since       time.Time
	whip        bool
	live        bool          // its media are connected, and the room has been told
	session     *mediaSession // the latest offer's; nil before the first
	muted       muting
}

// mediaSession is one peer connection of a stream. It is the peer's ingest.Handler.
type mediaSession struct {
	room   *room
	stream *stream
	user   talkcloud.UserID
	peer   *ingest.Peer                  // guarded by the room's mutex; nil until the offer is answered
	over   atomic.Bool                   // the stream has ended; what still comes is not taken
	silent map[silenceKey]ingest.Silence // that last; guarded by the room's mutex
}

// end stops taking media. The room's mutex is held.
func (m *mediaSession) end() {
	if m == nil {
		return
	}
	m.over.Store(true)
	if m.peer != nil {
		m.peer.Stop()
	}
}

// announcement is the stream as onAddStream and roominfo tell of it.
func (st *stream) announcement() json.RawMessage {
	raw, err := encode(struct {
		ID          string           `json:"id"`
		ExtensionID talkcloud.UserID `json:"extensionId"`
		publication
	}{st.id, st.owner.id, st.publication})
	if err != nil {
		return json.RawMessage("{}") // cannot happen: it was decoded from JSON
	}
	return raw
}

// liveStreams lists the streams whose media are connected, in order of beginning.
func (r *room) liveStreams() []*stream {
	var live []*stream
	for _, st := range r.streams {
		if st.live {
			live = append(live, st)
		}
	}
	slices.SortFunc(live, func(a, b *stream) int { return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.id, b.id)) })
	return live
}

// addStream makes a stream that has no media yet.
func (r *room) addStream(p *participant, pub publication) (*stream, error) {
	if int(p.streams) >= r.server.cfg.MaxStreams {
		return nil, r.server.over(limitStreams, "a participant has %d streams at most", r.server.cfg.MaxStreams)
	}
	st := &stream{id: rand.Text(), owner: p, publication: pub, since: r.server.cfg.Now()}
	if r.streams == nil {
		r.streams = make(map[string]*stream)
	}
	r.streams[st.id] = st
	p.streams++
	return st, nil
}

// dropStream ends a stream, and tells the room if it knows of it.
func (r *room) dropStream(st *stream) {
	if r.streams[st.id] != st {
		return
	}
	delete(r.streams, st.id)
	st.owner.streams--
	st.session.end()
	if st.live {
		st.live = false
		r.noteStream(st)
		r.deliver(everybody(), nil, talkcloud.EventRemoveStream, map[string]string{"id": st.id})
	}
}

func (r *room) dropStreams(match func(*stream) bool) {
	for _, st := range r.streams {
		if match(st) {
			r.dropStream(st)
		}
	}
}

// ownStream finds a stream of p.
func (r *room) ownStream(p *participant, id string) (*stream, error) {
	st := r.streams[id]
	if st == nil || st.owner != p || st.whip {
		return nil, refuse(codeField, reasonStream, "no such stream of yours")
	}
	return st, nil
}

// publishStream does publish. A stream of the same source that never came to an offer gives way to the new one: the
// client has tried again.
func (p *participant) publishStream(payload json.RawMessage, ack ackFunc) error {
	pub, err := decodePublication(payload)
	if err != nil {
		return err
	}
	r := p.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.gone {
		return refuse(codeFailure, reasonNotJoined, "no longer in the room")
	}
	r.dropStreams(func(st *stream) bool {
		return st.owner == p && st.session == nil && st.publication.source() == pub.source()
	})
	st, err := r.addStream(p, pub)
	if err != nil {
		return err
	}
	answer(ack, ok, st.id)
	return nil
}

// unpublishStream does unpublish. That of a stream which has ended already is fine.
func (p *participant) unpublishStream(payload json.RawMessage, ack ackFunc) error {
	id, err := decodeText(payload)
	if err != nil {
		return err
	}
	r := p.room
	r.mu.Lock()
	defer r.mu.Unlock()
	answer(ack, ok)
	if st, err := r.ownStream(p, id); err == nil {
		r.dropStream(st)
	}
	return nil
}

// answerTimeout bounds what answering an offer may take. It is done by the publisher's connection, which reads no
// further meanwhile.
const answerTimeout = 10 * time.Second

// signalStream does signaling_message.
func (p *participant) signalStream(payload json.RawMessage, ack ackFunc) error {
	sig, err := decodeSignal(payload)
	if err != nil {
		return err
	}
	switch sig.kind {
	case "offer":
		err = p.answerOffer(sig)
	case "candidate":
		err = p.addCandidate(sig)
	default:
		err = p.muteStream(sig)
	}
	if err == nil {
		answer(ack, ok)
	}
	return err
}

// muteStream takes an updatestream, which tells of muting; whatever else is sent of a stream changes nothing.
func (p *participant) muteStream(sig signal) error {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	st, err := p.room.ownStream(p, sig.stream)
	if err != nil {
		return err
	}
	before := st.muted
	if st.muted = before.updated(sig.config); st.live && st.muted != before {
		p.room.noteStream(st)
	}
	return nil
}

// addCandidate passes on a trickled candidate. One that cannot be used is no matter: none is needed.
func (p *participant) addCandidate(sig signal) error {
	r := p.room
	r.mu.Lock()
	st, err := r.ownStream(p, sig.stream)
	var peer *ingest.Peer
	if err == nil && st.session != nil {
		peer = st.session.peer
	}
	r.mu.Unlock()
	if peer == nil {
		return err
	}
	if err := peer.AddCandidate(sig.candidate, sig.mid, sig.line); err != nil {
		p.server.log.Debug("candidate ignored", "room", r.id, "error", err)
	}
	return nil
}

// answerOffer takes the media of a stream. A later offer for the same stream takes the place of the earlier.
func (p *participant) answerOffer(sig signal) error {
	r := p.room
	session, err := r.beginSession(p, sig.stream)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(p.server.hurry, answerTimeout)
	defer cancel()
	peer, sdp, err := p.server.media.Accept(ctx, sig.sdp, session)
	if err != nil {
		r.failSession(session, err)
		if errors.Is(err, ingest.ErrTooManyPeers) {
			return refuse(codeQuota, reasonLimit, fmt.Sprintf("the server takes %d streams of media at most", p.server.cfg.MaxPublishers))
		}
		return refuse(codeFailure, reasonPayload, notAccepted(err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.streams[session.stream.id] != session.stream || session.stream.session != session {
		peer.Stop() // the stream ended, or was offered anew, in the meantime
		return nil
	}
	session.peer = peer
	session.tellRefusals(peer)
	session.tell("answer", sdp)
	return nil
}

func (r *room) beginSession(p *participant, id string) (*mediaSession, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st, err := r.ownStream(p, id)
	if err != nil {
		return nil, err
	}
	st.session.end()
	st.session = &mediaSession{room: r, stream: st, user: p.id}
	return st.session, nil
}

// failSession ends a stream whose media could not be had, and tells its publisher.
func (r *room) failSession(session *mediaSession, cause error) {
	r.server.log.Info("stream not published", "room", r.id, "user", session.user, "error", cause)
	r.mu.Lock()
	defer r.mu.Unlock()
	st := session.stream
	if r.streams[st.id] != st || st.session != session {
		return
	}
	r.dropStream(st)
	reason := "media could not be connected"
	switch {
	case errors.Is(cause, ingest.ErrBadOffer):
		reason = notAccepted(cause)
	case errors.Is(cause, ingest.ErrTooManyPeers):
		reason = "the server takes no more streams of media"
	}
	r.refuseMedia(st.owner.id, reason)
	r.deliver(onlyUser(st.owner.id), nil, talkcloud.EventPublishFailed, map[string]string{"streamId": st.id, "reason": reason})
}

// tell sends the publisher a message of the media server.
func (m *mediaSession) tell(kind, sdp string) {
	mess := map[string]string{"type": kind}
	if sdp != "" {
		mess["sdp"] = sdp
	}
	m.room.deliver(onlyUser(m.stream.owner.id), nil, talkcloud.EventSignalingMessageMediaServer,
		map[string]any{"streamId": m.stream.id, "mess": mess})
}

// notAccepted is what the publisher is told of an offer that was refused.
func notAccepted(err error) string {
	if errors.Is(err, ingest.ErrBadOffer) {
		return "the offer was not accepted: " + err.Error()
	}
	return "the offer was not accepted"
}

// tellRefusals logs the sections of an accepted offer that were refused, and notes them in the class's recording. The
// room's mutex is held.
func (m *mediaSession) tellRefusals(peer *ingest.Peer) {
	for _, r := range peer.Refusals() {
		m.room.server.log.Info("part of a stream not published",
			"room", m.room.id, "user", m.user, "section", r.Section, "kind", r.Kind, "reason", r.Reason)
	}
	m.recordRefusals(m.room.class.Load())
}

// PreferredCodecs implements [ingest.Preferrer]: for MP4 files H264 is copied, and all else encoded anew.
func (m *mediaSession) PreferredCodecs() []string {
	if m.room.asksForMP4() {
		return []string{"H264"}
	}
	return nil
}

// asksForMP4 reports whether the class that goes on is recorded as MP4 files of its publishers; before a class, whether
// the room's last one was.
func (r *room) asksForMP4() bool {
	m, ok := r.server.archive.latest(r.id)
	if c := r.class.Load(); c != nil {
		m, ok = c.manifest, true
	}
	return ok && m.Convert == talkcloud.ConvertMP4 &&
		(m.RecordType == talkcloud.RecordTypeFile || m.RecordType == talkcloud.RecordTypeList)
}

// Connected is called when media can flow.
func (m *mediaSession) Connected() {
	r, st := m.room, m.stream
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.streams[st.id] != st || st.session != m {
		return
	}
	if !st.whip {
		m.tell("ready", "")
	}
	r.admitMedia(st.owner.id)
	if !st.live {
		st.live = true
		r.noteStream(st)
		r.deliver(everybody(), nil, talkcloud.EventAddStream, st.announcement())
	}
}

// Closed is called when the peer is gone, after all its tracks have ended.
func (m *mediaSession) Closed(err error) {
	if errors.Is(err, ingest.ErrConnectTimeout) {
		m.room.failSession(m, err)
	}
	r, st := m.room, m.stream
	r.mu.Lock()
	defer r.mu.Unlock()
	if st.session == m {
		r.dropStream(st)
	}
}
