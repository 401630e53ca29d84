// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"errors"
	"time"

	"github.com/pion/rtp"

	"github.com/classrec/classrec/server/internal/ingest"
	"github.com/classrec/classrec/server/internal/recorder"
)

// Track reads a track until it ends, and records it whenever there is a class: one that begins while the track is
// there takes it from its last keyframe on, one that ends lets go of it.
func (m *mediaSession) Track(in *ingest.Track) {
	t := recordedTrack{session: m, in: in, group: group{of: &m.room.server.groups, mime: in.Codec().MimeType}}
	defer t.end()
	defer t.group.clear()
	reports := in.SenderReports()
	for {
		packet, arrival, err := in.ReadRTP()
		if err != nil || m.over.Load() {
			return
		}
		t.follow(m.room.class.Load())
		t.repair(packet, arrival)
		if t.out == nil {
			t.keep(packet, arrival)
			continue
		}
		select {
		case report, more := <-reports:
			if !more {
				reports = nil
				break
			}
			t.report = report
			t.out.WriteSenderReport(report.NTP, report.RTP, report.Arrival)
		default:
		}
		t.wrote(t.out.WriteRTP(packet, arrival))
		in.Release()
	}
}

// keep takes a packet that is not recorded.
func (t *recordedTrack) keep(packet *rtp.Packet, arrival time.Time) {
	switch {
	case t.in.Kind() != ingest.Video:
		t.in.Release()
	case t.group.add(packet, arrival):
		t.in.RequestKeyframe()
	}
}

// recordRefusals notes in a class's recording what of a publisher's offer was refused. The room's mutex is held.
func (m *mediaSession) recordRefusals(c *class) {
	if c == nil || m.peer == nil {
		return
	}
	for _, r := range m.peer.Refusals() {
		g := recorder.Gap{UserID: string(m.user), Start: m.stream.since, Reason: "refused: " + r.Reason}
		switch r.Kind {
		case "audio":
			g.Kind = recorder.Audio
		case "video":
			g.Kind = recorder.Video
		default: // a data channel, say: nothing that a recording has
			continue
		}
		c.rec.Gap(g)
	}
}

// recordedTrack is a publisher's track and its place in the recording that goes on. It belongs to the goroutine that
// reads the track.
type recordedTrack struct {
	session *mediaSession
	in      *ingest.Track
	report  ingest.SenderReport // the latest, for the next recording
	class   *class              // the one that out is of, or was to be of; nil for none
	out     *recorder.Track     // nil when nothing is recorded
	refused bool                // by the disk, the last time
	ending  []*recorder.Track   // of classes that have ended, and wait for what is missing
	group   group               // what a class that begins would need, while there is none
}

// follow makes a place in the class that goes on, if it is another one than before.
func (t *recordedTrack) follow(c *class) {
	if c == t.class {
		return
	}
	t.finish()
	t.class = c
	if c == nil {
		return
	}
	codec := t.in.Codec()
	kind := recorder.Audio
	if t.in.Kind() == ingest.Video {
		kind = recorder.Video
	}
	who := t.session.person()
	out, err := c.rec.AddTrack(recorder.TrackInfo{
		UserID: string(t.session.user), Nickname: who.nickname, Role: who.role, Source: who.source,
		StreamID: t.session.stream.id, Kind: kind,
		MimeType: codec.MimeType, ClockRate: codec.ClockRate, Channels: codec.Channels, FmtpLine: codec.FmtpLine,
		RequestKeyframe: t.in.RequestKeyframe, Patience: t.in.Patience, Simulcast: t.in.Simulcast(),
	})
	if err != nil {
		t.failed(err)
		return
	}
	t.out = out
	if !t.report.Arrival.IsZero() {
		out.WriteSenderReport(t.report.NTP, t.report.RTP, t.report.Arrival)
	}
	for _, p := range t.group.take() {
		t.wrote(out.Replay(p.Packet, p.arrival))
		if t.out == nil {
			return
		}
	}
}

// person is who publishes a session, as the room knows it, and what the stream shows.
type person struct {
	nickname, source string
	role             *int
}

func (m *mediaSession) person() person {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	owner := m.stream.owner
	who := person{nickname: owner.nickname(), source: m.stream.publication.source()}
	if owner.role != roleUnknown {
		role := int(owner.role)
		who.role = &role
	}
	return who
}

// wrote looks at what became of a packet. While the disk refuses, the recorder goes on trying, and so does the track.
func (t *recordedTrack) wrote(err error) {
	full := errors.Is(err, recorder.ErrWrite)
	switch {
	case full && !t.refused:
		t.class.log.Warn("track is not recorded for now", "user", t.session.user, "kind", t.in.Kind(), "error", err)
	case !full && err != nil:
		t.failed(err)
	case !full && t.refused:
		t.class.log.Info("track is recorded again", "user", t.session.user, "kind", t.in.Kind())
	}
	t.refused = full
}

// failed gives a track up for the class that goes on.
func (t *recordedTrack) failed(err error) {
	if !errors.Is(err, recorder.ErrStopped) {
		t.class.log.Warn("track is not recorded", "user", t.session.user, "kind", t.in.Kind(), "error", err)
	}
	t.release()
}

// finish lets go of a class that has ended: what was lost of it may still come.
func (t *recordedTrack) finish() {
	if t.out != nil {
		t.out.Finish()
		t.ending, t.out = append(t.ending, t.out), nil
	}
}

// repair gives a packet to the classes that have ended: it may be one of theirs that was lost.
func (t *recordedTrack) repair(p *rtp.Packet, arrival time.Time) {
	kept := t.ending[:0]
	for _, out := range t.ending {
		if err := out.WriteRTP(p, arrival); err == nil {
			kept = append(kept, out)
		}
	}
	t.ending = kept
}

// end is called when nothing comes any more.
func (t *recordedTrack) end() {
	t.release()
	for _, out := range t.ending {
		_ = out.Close() // never fails
	}
}

// release gives up the place in the recording.
func (t *recordedTrack) release() {
	if t.out == nil {
		return
	}
	if err := t.out.Close(); err != nil && !errors.Is(err, recorder.ErrStopped) {
		t.class.log.Warn("track not closed", "user", t.session.user, "error", err)
	}
	t.out = nil
}
