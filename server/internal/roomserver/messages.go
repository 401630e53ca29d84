// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// savedMessage is what a room keeps of a message for late joiners.
type savedMessage struct {
	message talkcloud.Message // without data and unknown fields
	target  target
	leader  bool            // published by who led the class
	raw     json.RawMessage // all of it, as it was sent
	expires time.Time       // zero = never
}

// publishMessage does pubMsg.
func (p *participant) publishMessage(payload json.RawMessage, ack ackFunc) error {
	in, err := decodeMessage(payload)
	if err != nil {
		return err
	}
	if in.IsClassBegin() {
		return p.beginClass(in, ack)
	}
	r := p.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.gone {
		return refuse(codeFailure, reasonNotJoined, "no longer in the room")
	}
	return r.publish(p, in, ack)
}

// publish stamps a message, keeps it if it is to be kept, and tells the room. The mutex is held.
func (r *room) publish(p *participant, in incoming, ack ackFunc) error {
	raw := r.stamp(p, &in, r.now())
	if err := r.spend(p, in.target, len(raw)); err != nil {
		return err
	}
	if keep := !in.DoNotSave && !r.isClass(in.ID); keep { // the class keeps its id to itself
		if err := r.save(p, in, raw); err != nil {
			return err
		}
	}
	r.seq++
	answer(ack, ok)
	r.deliver(in.target, p, talkcloud.EventPubMsg, raw)
	return nil
}

// stamp says of a message what only the server may say, and encodes it. Its seq is used up by whoever sends it.
func (r *room) stamp(p *participant, in *incoming, ts talkcloud.Timestamp) json.RawMessage {
	in.FromID, in.TS, in.Seq = p.id, ts, r.seq+1
	return stamped(in.members, in.Message)
}

// save keeps a message in place of an earlier one of its id.
func (r *room) save(p *participant, in incoming, raw json.RawMessage) error {
	cfg := &r.server.cfg
	count, bytes := r.savedBy(in.ID, func(*savedMessage) bool { return true })
	if count >= cfg.MaxSavedMessages || bytes+len(raw) > cfg.MaxSavedBytes {
		return r.server.over(limitSavedMessages, "the room keeps %d messages and %d bytes of them at most", cfg.MaxSavedMessages, cfg.MaxSavedBytes)
	}
	if err := r.mayKeep(p, in.ID, len(raw)); err != nil {
		return err
	}
	r.keep(p, in, raw, expiry(in.Message, cfg.Now()))
	return nil
}

// mayKeep leaves most of what a room keeps to those who lead the class: it is in everybody's answer to joinRoom.
func (r *room) mayKeep(p *participant, id string, size int) error {
	if p.leads() || p.ours {
		return nil
	}
	cfg := &r.server.cfg
	own, ownBytes := r.savedBy(id, func(s *savedMessage) bool { return s.message.FromID == p.id })
	_, others := r.savedBy(id, func(s *savedMessage) bool { return !s.leader })
	most := cfg.SendQueueBytes / shareOfOne
	if own >= max(1, cfg.MaxSavedMessages/2) || ownBytes+size > most || others+size > 2*most {
		return r.server.over(limitSavedMessages, "the room keeps %d messages and %d bytes of one participant at most", cfg.MaxSavedMessages/2, most)
	}
	return nil
}

// savedBy counts what is saved, without the class and the message of an id.
func (r *room) savedBy(except string, match func(*savedMessage) bool) (count, bytes int) {
	for id, s := range r.saved {
		if id != except && s != r.begin && match(s) {
			count, bytes = count+1, bytes+len(s.raw)
		}
	}
	return count, bytes
}

// keep saves a message that may be saved.
func (r *room) keep(p *participant, in incoming, raw json.RawMessage, expires time.Time) *savedMessage {
	s := &savedMessage{message: in.Message, target: in.target, leader: p.leads(), raw: raw, expires: expires}
	s.message.Data = nil
	if r.saved == nil {
		r.saved = make(map[string]*savedMessage)
	}
	r.saved[in.ID] = s
	r.expireBy(s.expires)
	return s
}

// savedFor lists the saved messages that p is to know of, by seq. A user's own and those to nobody are among them, and the
// class, whatever its target.
func (r *room) savedFor(p *participant) []*savedMessage {
	var list []*savedMessage
	for _, s := range r.saved {
		t := s.target
		t.none, t.exceptSender = false, false
		if s == r.begin || r.whom(t, nil)(p) {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, bySeq)
	return list
}

func bySeq(a, b *savedMessage) int { return cmp.Compare(a.message.Seq, b.message.Seq) }

// deleteMessage does delMsg.
func (p *participant) deleteMessage(payload json.RawMessage, ack ackFunc) error {
	in, err := decodeMessage(payload)
	if err != nil {
		return err
	}
	r := p.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.gone {
		return refuse(codeFailure, reasonNotJoined, "no longer in the room")
	}
	if r.begin != nil && (in.IsClassBegin() || r.isClass(in.ID)) {
		answer(ack, ok)
		r.endByDelete(p, in)
		return nil
	}
	if in.IsClassBegin() {
		in.target = onlyUser(p.id) // it is over already: whoever waits for the echo gets it, and nobody else
	}
	saved := r.saved[in.ID]
	if err := r.spend(p, in.target, len(payload)); err != nil {
		if saved == nil && in.ID != talkcloud.MessageAllAll {
			return err
		}
		in.members = bare(in.members) // what is there can be deleted always
	}
	answer(ack, ok)
	switch {
	case in.ID == talkcloud.MessageAllAll:
		r.tellDeleted(p, in)
		r.clear(p.id)
	case saved != nil:
		r.forget(saved)
		r.tellDeleted(p, in)
		r.deleteWith(in.ID, p.id)
	default:
		r.tellDeleted(p, in)
	}
	return nil
}

// tellDeleted passes a delMsg on.
func (r *room) tellDeleted(p *participant, in incoming) {
	raw := r.stamp(p, &in, r.now())
	r.seq++
	r.deliver(in.target, p, talkcloud.EventDelMsg, raw)
}

// endByDelete ends the class that goes on. Everybody is told, whomever the delMsg was for.
func (r *room) endByDelete(p *participant, in incoming) {
	begin := r.begin
	ts := max(r.now(), begin.message.TS) // never before the beginning
	r.forget(begin)
	if len(in.Data) > maxEndData {
		in.members = bare(in.members)
	}
	if !in.IsClassBegin() { // it names the id alone, of a class that has one of its own
		in.members = append(in.members, member{"name", quote(talkcloud.MessageClassBegin)})
	}
	raw := r.stamp(p, &in, ts)
	r.seq++
	r.deliver(everybody(), p, talkcloud.EventDelMsg, raw)
	r.deleteWith(begin.message.ID, p.id)
	r.settle()
}

// maxEndData is how much the delMsg of a class may carry: it goes to everybody, however much its sender has sent before.
const maxEndData = 16 << 10

// clear forgets all saved messages, as deleting __AllAll does. The room is told only if a class ends by it.
func (r *room) clear(from talkcloud.UserID) {
	begin := r.begin
	clear(r.saved)
	if begin != nil {
		r.forget(begin)
		r.deleted(begin, from)
		r.settle()
	}
}

// deleteSaved deletes a saved message on the server's own account, and what goes with it.
func (r *room) deleteSaved(s *savedMessage, from talkcloud.UserID) {
	r.forget(s)
	r.deleted(s, from)
	r.deleteWith(s.message.ID, from)
}

// deleteWith deletes what is associated with a message, and what is associated with that.
func (r *room) deleteWith(id string, from talkcloud.UserID) {
	r.deleteWhere(from, func(m *talkcloud.Message) bool { return m.AssociatedMsgID == id })
}

// deleteWhere deletes the saved messages that match, in order.
func (r *room) deleteWhere(from talkcloud.UserID, match func(*talkcloud.Message) bool) {
	var list []*savedMessage
	for _, s := range r.saved {
		if match(&s.message) {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, bySeq)
	for _, s := range list {
		if r.saved[s.message.ID] == s { // another one's deletion may have taken it along
			r.deleteSaved(s, from)
		}
	}
}

// forget takes a message out of what is saved. With that of the class the class ends.
func (r *room) forget(s *savedMessage) {
	if r.saved[s.message.ID] == s {
		delete(r.saved, s.message.ID)
	}
	if s == r.begin {
		r.begin = nil
		r.endClass()
	}
}

// deleted tells the delMsg of a saved message that nobody deletes by hand: that of a class to everybody.
func (r *room) deleted(s *savedMessage, from talkcloud.UserID) {
	r.seq++
	m := talkcloud.Message{Name: s.message.Name, ID: s.message.ID, To: s.message.To, FromID: from, TS: r.now(), Seq: r.seq}
	to := s.target
	if s.message.IsClassBegin() {
		m.TS, m.To, to = max(m.TS, s.message.TS), talkcloud.ToAll, everybody() // never before the beginning
	}
	r.deliver(to, nil, talkcloud.EventDelMsg, m)
}

// maxExpiry is how far in the future an expiry is believed; one beyond is none.
const maxExpiry = 366 * 24 * time.Hour

// expiry returns when a message is to be deleted, zero for never.
func expiry(m talkcloud.Message, now time.Time) time.Time {
	var at time.Time
	if t, ok := talkcloud.Timestamp(m.ExpiresAbs).Time(); ok {
		at = t
	}
	if m.Expires > 0 && m.Expires <= int64(maxExpiry/time.Second) {
		if t := now.Add(time.Duration(m.Expires) * time.Second); at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if at.Sub(now) > maxExpiry {
		return time.Time{}
	}
	return at
}

// expireBy makes sure that expire runs by the time that a message expires. It may run when nothing has expired.
func (r *room) expireBy(at time.Time) {
	if at.IsZero() || (!r.nextExpiry.IsZero() && !at.Before(r.nextExpiry)) {
		return
	}
	if r.expiry != nil {
		r.expiry.Stop()
	}
	r.nextExpiry = at
	r.expiry = time.AfterFunc(max(0, at.Sub(r.server.cfg.Now())), r.expire)
}

// expire deletes what has expired.
func (r *room) expire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	now := r.server.cfg.Now()
	r.nextExpiry = time.Time{}
	var due, later []*savedMessage
	for _, s := range r.saved {
		switch {
		case s.expires.IsZero():
		case s.expires.After(now):
			later = append(later, s)
		default:
			due = append(due, s)
		}
	}
	for _, s := range later {
		r.expireBy(s.expires)
	}
	slices.SortFunc(due, bySeq)
	for _, s := range due {
		if r.saved[s.message.ID] == s { // another one's deletion may have taken it along
			r.deleteSaved(s, s.message.FromID)
		}
	}
	r.settle()
}
