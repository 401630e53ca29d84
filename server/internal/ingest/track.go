// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
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

// Codec of a track, as negotiated. It does not change during the life of the track.
type Codec struct {
	MimeType  string // "video/VP8", "video/VP9", "video/H264", "audio/opus"
	ClockRate uint32 // Hz of RTP timestamps
	Channels  uint16 // 0 for video
	FmtpLine  string // the publisher's format parameters, for H264 with sprop-parameter-sets if it sent them
}

// SenderReport is the publisher's own statement which of its wall-clock times belongs to which RTP timestamp (RFC 3550
// section 6.4.1); by it the tracks of one publisher are brought onto one clock.
type SenderReport struct {
	NTP     time.Time // on the publisher's clock, which need not be right
	RTP     uint32
	Arrival time.Time // on ours, with a monotonic reading
}

// Track is one remote track. ReadRTP is for one goroutine; the other methods may be called from any.
type Track struct {
	peer     *Peer
	pc       *webrtc.PeerConnection
	remote   *webrtc.TrackRemote
	receiver *webrtc.RTPReceiver
	codec    Codec
	kind     Kind
	ssrc     uint32
	payload  uint8
	layer    string

	buf     []byte // one packet being read
	reports chan SenderReport

	mu       sync.Mutex // what RequestKeyframe keeps
	lastPLI  time.Time
	laterPLI *time.Timer // set while a request waits for its turn
	ended    bool
}

// maxPacket is the longest RTP packet taken; a UDP datagram of a WebRTC sender stays below 1500 bytes.
const maxPacket = 2048

func newTrack(
	p *Peer, pc *webrtc.PeerConnection, s *section, layer string, remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver,
) *Track {
	kind := Audio
	if remote.Kind() == webrtc.RTPCodecTypeVideo {
		kind = Video
	}
	c := s.chosen[0]
	mime, _ := c.mime(s.kind()) // it was chosen for having one
	return &Track{
		peer: p, pc: pc, remote: remote, receiver: receiver, kind: kind,
		ssrc: uint32(remote.SSRC()), payload: c.pt, layer: layer,
		codec:   Codec{MimeType: mime, ClockRate: c.rate, Channels: c.channels, FmtpLine: c.fmtp},
		buf:     make([]byte, maxPacket),
		reports: make(chan SenderReport, 1),
	}
}

// ID is the publisher's name for the track (from msid), unique within its stream only; may be empty.
func (t *Track) ID() string { return t.remote.ID() }

// StreamID is the publisher's name for the stream the track belongs to (from msid); may be empty.
func (t *Track) StreamID() string { return t.remote.StreamID() }

// Kind tells whether it is audio or video.
func (t *Track) Kind() Kind { return t.kind }

// Simulcast is the same for all tracks of a peer that are qualities (layers) of one picture, sent at once (RFC 8853, or
// a=ssrc-group:SIM); empty for a track that is the only one of its picture.
func (t *Track) Simulcast() string { return t.layer }

// Codec tells what the packets contain.
func (t *Track) Codec() Codec { return t.codec }

// ReadRTP waits for the next packet and returns it with the time it was taken from the socket's queue (with a monotonic
// reading). The packet and all its memory belong to the caller, for good: nothing of it is used again. Its order is
// that of arrival. Packets that are not the negotiated codec are left out. The error is [io.EOF] when the track has
// ended, and final.
func (t *Track) ReadRTP() (*rtp.Packet, time.Time, error) {
	for {
		n, _, err := t.remote.Read(t.buf)
		arrival := time.Now()
		if n == 0 && err != nil {
			if !errors.Is(err, io.EOF) && !t.over() {
				t.peer.log.Debug("track ended", "kind", t.kind, "error", err)
			}
			return nil, arrival, io.EOF
		}
		if err != nil || n < 12 || t.buf[1]&0x7f != t.payload {
			continue // of an unknown or another payload type: nobody negotiated it
		}
		raw := make([]byte, n)
		copy(raw, t.buf[:n])
		p := new(rtp.Packet)
		if err := p.Unmarshal(raw); err != nil {
			continue // authenticated, yet malformed: the publisher's fault, and its loss
		}
		return p, arrival, nil
	}
}

// SenderReports delivers the publisher's sender reports. Only the latest one is kept for a reader who comes late. The
// channel is closed when the track has ended.
func (t *Track) SenderReports() <-chan SenderReport { return t.reports }

// readReports runs until the track's RTCP ends. Reading it is also what lets the interceptors see it.
func (t *Track) readReports() {
	defer close(t.reports)
	buf := make([]byte, maxPacket)
	for {
		n, err := t.readRTCP(buf)
		if err != nil {
			return
		}
		arrival := time.Now()
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			continue
		}
		for _, packet := range packets {
			if sr, ok := packet.(*rtcp.SenderReport); ok && sr.SSRC == t.ssrc {
				t.offerReport(SenderReport{NTP: ntpTime(sr.NTPTime), RTP: sr.RTPTime, Arrival: arrival})
			}
		}
	}
}

// readRTCP reads what comes for this track: pion keeps that of each layer apart.
func (t *Track) readRTCP(buf []byte) (n int, err error) {
	if rid := t.remote.RID(); rid != "" {
		n, _, err = t.receiver.ReadSimulcast(buf, rid)
	} else {
		n, _, err = t.receiver.Read(buf)
	}
	return n, err
}

// offerReport replaces a report that nobody has taken. Only readReports sends, so the second send cannot block.
func (t *Track) offerReport(r SenderReport) {
	select {
	case t.reports <- r:
		return
	default:
	}
	select {
	case <-t.reports:
	default:
	}
	t.reports <- r
}

// ntpTime converts the 64-bit format: seconds since 1900 and a binary fraction (RFC 3550 section 4).
func ntpTime(ntp uint64) time.Time {
	const since1900 = 2208988800
	fraction := ((ntp & 0xffffffff) * uint64(time.Second)) >> 32
	return time.Unix(int64(ntp>>32)-since1900, int64(fraction))
}

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
	if t.ended {
		return
	}
	t.lastPLI = time.Now()
	if err := t.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: t.ssrc}}); err != nil {
		t.peer.log.Debug("keyframe request not sent", "error", err)
	}
}

// over tells whether the peer is being closed.
func (t *Track) over() bool {
	select {
	case <-t.peer.stop:
		return true
	default:
		return false
	}
}

// end is called when the Handler is done with the track: keyframe requests stop, and what still comes is discarded, so
// that pion's buffers do not fill.
func (t *Track) end() {
	t.mu.Lock()
	t.ended = true
	if t.laterPLI != nil {
		t.laterPLI.Stop()
	}
	t.mu.Unlock()
	for {
		if n, _, err := t.remote.Read(t.buf); n == 0 && err != nil {
			return
		}
	}
}
