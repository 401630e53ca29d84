// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"

	"github.com/classrec/classrec/server/internal/transport"
)

// Kind of a track.
type Kind int

// The kinds of tracks.
const (
	Audio Kind = iota + 1
	Video
)

// String returns "audio" or "video".
func (k Kind) String() string {
	switch k {
	case Audio:
		return "audio"
	case Video:
		return "video"
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// kindOf is the kind that a section's m= line names.
func kindOf(media string) Kind {
	if media == "video" {
		return Video
	}
	return Audio
}

// Codec of a track, as negotiated. It does not change during the life of the track.
type Codec struct {
	MimeType  string // "video/VP8", "video/VP9", "video/AV1", "video/H264", "video/H265", "audio/opus", "audio/PCMU", …
	ClockRate uint32 // Hz of RTP timestamps
	Channels  uint16 // 0 for video
	FmtpLine  string // the publisher's format parameters, for H264 with sprop-parameter-sets if it sent them
}

// SenderReport is the publisher's own statement which of its wall-clock times belongs to which RTP timestamp (RFC 3550
// section 6.4.1); by it the tracks of one publisher are brought onto one clock.
type SenderReport = transport.SenderReport

// Track is one remote track. ReadRTP and Release are for one goroutine; the other methods may be called from any.
type Track struct {
	peer    *Peer
	section *section
	stream  *transport.Stream
	codec   Codec
	kind    Kind
	msid    string
	layer   string

	last  *transport.Packet // that ReadRTP has returned
	heard atomic.Int64      // when media last came, in nanoseconds after epoch; 0 for never
	epoch time.Time

	mu       sync.Mutex // what RequestKeyframe keeps
	lastPLI  time.Time
	laterPLI *time.Timer // set while a request waits for its turn
	ended    bool
}

func newTrack(p *Peer, s *section, stream *transport.Stream) *Track {
	c := s.chosen[0]
	mime, _ := c.mime(s.kind()) // it was chosen for having one
	t := &Track{
		peer: p, section: s, stream: stream, kind: kindOf(s.kind()),
		codec: Codec{MimeType: mime, ClockRate: c.rate, Channels: c.channels, FmtpLine: c.fmtp},
		epoch: time.Now().Add(-time.Hour),
	}
	t.msid, _ = s.media.Attribute(sdp.AttrKeyMsid)
	if len(s.rids) > 0 {
		t.layer = s.label
	}
	for _, set := range s.streams {
		if parseSSRC(set.ssrc) != stream.SSRC() {
			continue
		}
		if set.msid != "" {
			t.msid = set.msid
		}
		if set.layer != "" {
			t.layer = s.label + " " + set.layer
		}
	}
	return t
}

// ID is the publisher's name for the track (from msid), unique within its stream only; may be empty.
func (t *Track) ID() string {
	_, id, _ := strings.Cut(t.msid, " ")
	return id
}

// StreamID is the publisher's name for the stream the track belongs to (from msid); may be empty.
func (t *Track) StreamID() string {
	id, _, _ := strings.Cut(t.msid, " ")
	return id
}

// Kind says whether it is audio or video.
func (t *Track) Kind() Kind { return t.kind }

// Codec says what the packets contain.
func (t *Track) Codec() Codec { return t.codec }

// Simulcast is the same for all tracks of a peer that are qualities (layers) of one picture, sent at once (RFC 8853, or
// a=ssrc-group:SIM); empty for a track that is the only one of its picture.
func (t *Track) Simulcast() string { return t.layer }

// ReadRTP waits for the next packet and returns it with the time of its arrival (with a monotonic reading). The packet
// and all its memory belong to the caller, for good unless it is given back by Release. Its order is that of arrival;
// each number comes once, and what had been lost comes late. Packets of another payload type than the negotiated one
// come with an empty payload, so that nobody waits for their numbers. The error is [io.EOF] when the track has ended,
// and final.
func (t *Track) ReadRTP() (*rtp.Packet, time.Time, error) {
	p, err := t.stream.Read()
	if err != nil {
		return nil, time.Now(), io.EOF
	}
	t.last = p
	if len(p.Payload) > 0 {
		t.heard.Store(int64(p.Arrival.Sub(t.epoch)))
	}
	return &p.Packet, p.Arrival, nil
}

// Release gives back the packet that ReadRTP has returned last, whose memory is used again: nothing of it may be kept.
func (t *Track) Release() {
	if t.last != nil {
		t.stream.Release(t.last)
		t.last = nil
	}
}

// lastMedia is when media last came, zero for never.
func (t *Track) lastMedia() time.Time {
	at := t.heard.Load()
	if at == 0 {
		return time.Time{}
	}
	return t.epoch.Add(time.Duration(at))
}

// Patience is how long a missing packet may still come: while it is asked for (at least 2 s), and as long as the answer
// may take by the present round trip.
func (t *Track) Patience() time.Duration { return t.stream.Patience() }

// SenderReports delivers the publisher's sender reports. Only the latest one is kept for a reader who comes late. The
// channel is closed when the track has ended.
func (t *Track) SenderReports() <-chan SenderReport { return t.stream.SenderReports() }

// RequestKeyframe asks the publisher for a keyframe (PLI, RFC 4585 section 6.3.1). It does not block. At most one
// request goes out in Config.KeyframeInterval: the first at once, all made in the meantime as one at the interval's end.
// On audio, and after the end, it does nothing.
func (t *Track) RequestKeyframe() {
	if t.kind != Video {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended || t.laterPLI != nil {
		return
	}
	if wait := t.peer.cfg.KeyframeInterval - time.Since(t.lastPLI); wait > 0 {
		t.laterPLI = time.AfterFunc(wait, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.laterPLI = nil
			t.sendPLI()
		})
		return
	}
	t.sendPLI()
}

// sendPLI is called with mu held.
func (t *Track) sendPLI() {
	if !t.ended {
		t.lastPLI = time.Now()
		t.stream.RequestKeyframe()
	}
}

// end is called when the Handler is done with the track: keyframe requests stop, and what still comes is discarded.
func (t *Track) end() {
	t.mu.Lock()
	t.ended = true
	if t.laterPLI != nil {
		t.laterPLI.Stop()
	}
	t.mu.Unlock()
	for {
		p, err := t.stream.Read()
		if err != nil {
			return
		}
		t.stream.Release(p)
	}
}
