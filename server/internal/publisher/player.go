// SPDX-License-Identifier: Apache-2.0

package publisher

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"

	"github.com/classrec/classrec/server/internal/clips"
)

// mtu is the largest RTP packet sent: what is left of 1,280 bytes for SRTP, UDP and IPv6.
const mtu = 1200

// player sends the frames. All its fields belong to the goroutine of run.
type player struct {
	pub          *Publisher
	video, audio *voice
	length       time.Duration // of one round of the loop
	start        time.Time     // when playing began
}

// voice is one track: a clip, where we are in it, and the RTP numbers.
type voice struct {
	kind      Kind
	clip      *clips.Clip
	next      int           // index of the frame to be sent next
	base      time.Duration // added to a frame's time in the clip, it gives the frame's time since start
	muted     bool
	track     *webrtc.TrackLocalStaticRTP
	payloader rtp.Payloader
	sequence  uint16
	timestamp uint32 // of time 0
}

// counters of what was sent.
type counters struct {
	videoPackets, audioPackets, keyframes, keyframeRequests atomic.Uint64
}

// Stats is what has been sent so far, without retransmissions; packets that Config.Loss lost are counted.
type Stats struct {
	VideoPackets, AudioPackets uint64
	Keyframes                  uint64
	KeyframeRequests           uint64 // received
}

// Stats returns the counters of now.
func (p *Publisher) Stats() Stats {
	return Stats{
		VideoPackets: p.sent.videoPackets.Load(), AudioPackets: p.sent.audioPackets.Load(),
		Keyframes: p.sent.keyframes.Load(), KeyframeRequests: p.sent.keyframeRequests.Load(),
	}
}

// newPlayer adds the tracks to the connection.
func (p *Publisher) newPlayer() (*player, error) {
	pl := &player{pub: p}
	var err error
	if p.cfg.Audio != nil { // audio first, as browsers do
		if pl.audio, err = p.newVoice(Audio, p.cfg.Audio); err != nil {
			return nil, err
		}
		pl.length = p.cfg.Audio.Duration
	}
	if p.cfg.Video != nil {
		if pl.video, err = p.newVoice(Video, p.cfg.Video); err != nil {
			return nil, err
		}
		pl.length = p.cfg.Video.Duration
	}
	return pl, nil
}

func (p *Publisher) newVoice(kind Kind, clip *clips.Clip) (*voice, error) {
	payloader, err := payloaderFor(clip.MimeType)
	if err != nil {
		return nil, err
	}
	id := map[Kind]string{Audio: "audio", Video: "video"}[kind]
	channels := uint16(0)
	if kind == Audio {
		channels = 2 // whatever is inside: RFC 7587 section 7
	}
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{
		MimeType: clip.MimeType, ClockRate: clip.ClockRate, Channels: channels,
	}, id, p.cfg.StreamID)
	if err != nil {
		return nil, fmt.Errorf("make %s track: %w", id, err)
	}
	transceiver, err := p.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return nil, fmt.Errorf("add %s track: %w", id, err)
	}
	p.feedback.Go(func() { p.readFeedback(transceiver.Sender()) })
	return &voice{
		kind: kind, clip: clip, track: track, payloader: payloader,
		sequence: uint16(rand.Uint32()), timestamp: rand.Uint32(), //nolint:gosec // RFC 3550 wants random, SRTP makes it safe
	}, nil
}

func payloaderFor(mime string) (rtp.Payloader, error) {
	switch mime {
	case clips.MimeTypeVP8:
		return &codecs.VP8Payloader{EnablePictureID: true}, nil
	case clips.MimeTypeVP9:
		return &codecs.VP9Payloader{}, nil
	case clips.MimeTypeH264:
		return &codecs.H264Payloader{}, nil
	case clips.MimeTypeOpus:
		return &codecs.OpusPayloader{}, nil
	}
	return nil, fmt.Errorf("publish %s: codec is not known", mime)
}

// run plays until stop or failed. Commands are carried out between two frames.
func (pl *player) run(commands <-chan func(*player), stop, failed <-chan struct{}) {
	pl.start = time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		v := pl.due()
		timer.Reset(time.Until(pl.start.Add(v.at())))
		select {
		case <-timer.C:
			pl.send(v)
			pl.advance(v)
		case command := <-commands:
			command(pl)
		case <-stop:
			return
		case <-failed:
			return
		}
	}
}

// due returns the voice whose frame comes next.
func (pl *player) due() *voice {
	switch {
	case pl.video == nil:
		return pl.audio
	case pl.audio == nil || pl.video.at() <= pl.audio.at():
		return pl.video
	}
	return pl.audio
}

// at is the time of the next frame since start.
func (v *voice) at() time.Duration { return v.base + v.clip.Frames[v.next].Time }

// advance moves on by one frame, and to the next round at the loop's end. All voices loop by the same length, so they
// stay together for ever; what a longer audio has beyond it is left out.
func (pl *player) advance(v *voice) {
	v.next++
	if v.next == len(v.clip.Frames) || v.clip.Frames[v.next].Time >= pl.length {
		v.next = 0
		v.base += pl.length
	}
}

// send packs the next frame of v and sends it. A muted voice sends nothing, as a browser whose track was stopped.
func (pl *player) send(v *voice) {
	frame := v.clip.Frames[v.next]
	if v.muted {
		return
	}
	timestamp := v.timestamp + rtpTime(v.at(), v.clip.ClockRate)
	parts := v.payloader.Payload(mtu-12, frame.Data)
	for i, part := range parts {
		v.sequence++
		err := v.track.WriteRTP(&rtp.Packet{
			Header: rtp.Header{
				Version: 2, SequenceNumber: v.sequence, Timestamp: timestamp,
				Marker: v.kind == Video && i == len(parts)-1,
			},
			Payload: part,
		})
		if err != nil {
			pl.pub.cfg.Logger.Debug("packet not sent", "error", err)
		}
	}
	switch {
	case v.kind == Audio:
		pl.pub.sent.audioPackets.Add(uint64(len(parts)))
	case frame.Key:
		pl.pub.sent.keyframes.Add(1)
		fallthrough
	default:
		pl.pub.sent.videoPackets.Add(uint64(len(parts)))
	}
}

// rewind moves all voices to the last keyframe at or before the video's present place.
func (pl *player) rewind() {
	if pl.video == nil {
		return
	}
	frames := pl.video.clip.Frames
	key := min(pl.video.next, len(frames)-1)
	for key > 0 && !frames[key].Key {
		key--
	}
	pl.seek(frames[key].Time)
}

// seek continues all voices at the clip's time t, from the moment the next video frame was due. A voice sends nothing
// twice for one moment: its first frame is the first that does not come before the one it had next.
func (pl *player) seek(t time.Duration) {
	base := pl.video.at() - t
	for _, v := range []*voice{pl.video, pl.audio} {
		if v == nil {
			continue
		}
		due := v.at()
		v.base, v.next = base, 0
		for v.at() < due {
			pl.advance(v)
		}
	}
}

// rtpTime converts a time to units of the RTP clock, in a way that does not overflow for years.
func rtpTime(t time.Duration, clockRate uint32) uint32 {
	rate := time.Duration(clockRate)
	return uint32(t/time.Second*rate + t%time.Second*rate/time.Second)
}
