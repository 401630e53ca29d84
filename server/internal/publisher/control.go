// SPDX-License-Identifier: Apache-2.0

package publisher

import (
	"context"
	"errors"
	"fmt"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"github.com/classrec/classrec/server/internal/clips"
)

// Mute stops (true) or resumes sending packets of a kind; its time goes on. Errors: [ErrDisconnected], the context's.
func (p *Publisher) Mute(ctx context.Context, kind Kind, muted bool) error {
	return p.do(ctx, func(pl *player) {
		for _, v := range []*voice{pl.video, pl.audio} {
			if v != nil && v.kind == kind {
				v.muted = muted
			}
		}
	})
}

// SwitchVideo goes on with another video clip of the same codec, from its beginning, in the same track: a change of
// resolution. The audio is begun again with it. Errors: [ErrDisconnected], the context's, and one for another codec.
func (p *Publisher) SwitchVideo(ctx context.Context, clip *clips.Clip) error {
	if p.cfg.Video == nil || clip.MimeType != p.cfg.Video.MimeType {
		return errors.New("switch video: not the codec that was negotiated")
	}
	return p.do(ctx, func(pl *player) {
		due := pl.video.at()
		pl.video.clip, pl.video.next, pl.video.base = clip, 0, due
		pl.length = clip.Duration
		pl.seek(0)
	})
}

// RequestKeyframe does what a PLI from the server does.
func (p *Publisher) RequestKeyframe(ctx context.Context) error {
	return p.do(ctx, (*player).rewind)
}

// do has the player's goroutine carry out f between two frames.
func (p *Publisher) do(ctx context.Context, f func(*player)) error {
	select {
	case p.commands <- f:
		return nil
	case <-p.stop:
		return fmt.Errorf("publisher: %w", ErrDisconnected)
	case <-p.failed:
		return fmt.Errorf("publisher: %w", ErrDisconnected)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readFeedback reads a sender's RTCP until the connection is closed. Reading is also what lets NACKs be answered.
func (p *Publisher) readFeedback(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			switch packet.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				p.sent.keyframeRequests.Add(1)
				if p.cfg.OnKeyframeRequest != nil {
					p.cfg.OnKeyframeRequest()
				}
				if p.cfg.IgnoreKeyframeRequests {
					continue
				}
				if err := p.do(context.Background(), (*player).rewind); err != nil {
					return
				}
			}
		}
	}
}
