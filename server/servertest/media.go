// SPDX-License-Identifier: Apache-2.0

package servertest

import (
	"context"

	"github.com/classrec/classrec/server/internal/cast"
)

// Media is something to publish. It is played again and again, in real time.
type Media struct {
	read func(cast.Role) (cast.Media, error)
}

// Pattern is a test pattern in VP8, a clock that runs and flashes every second,
// with a beep to each flash, in Opus. That of a teacher is larger, 640x360, and
// lower, 880 Hz, than the others'.
func Pattern() Media { return Media{read: cast.Pattern} }

// File is media from files: WebM or Matroska with VP8, VP9 (profile 0) or H264
// and Opus, IVF with VP8 or VP9, Ogg with Opus. Of several files, the first
// pictures and the first sound are taken: File("lesson.ivf", "lesson.ogg").
// Sound that is longer than the pictures is cut to their length. Whether they can
// be played is seen when they are published.
func File(paths ...string) Media {
	return Media{read: func(cast.Role) (cast.Media, error) { return cast.Files(paths...) }}
}

// Stream is what somebody publishes.
type Stream struct {
	person *Person
	stream *cast.Stream
}

// Publish publishes media by WebRTC until it is stopped or the person goes. It
// returns when media flow and the room has been told of it. What is published
// while a class is on is recorded.
func (p *Person) Publish(media Media) *Stream {
	p.server.tb.Helper()
	s := &Stream{person: p}
	p.do("publishes", func(ctx context.Context) error {
		m, err := media.read(p.person.Role())
		if err != nil {
			return err
		}
		s.stream, err = p.person.Publish(ctx, m)
		return err
	})
	return s
}

// Mute stops sending sound, pictures or both, or goes on with them.
func (s *Stream) Mute(sound, pictures bool) {
	s.person.server.tb.Helper()
	s.person.do("mutes", func(ctx context.Context) error { return s.stream.Mute(ctx, sound, pictures) })
}

// Stop ends the stream. One that has ended stays so.
func (s *Stream) Stop() { s.stream.Stop() }
