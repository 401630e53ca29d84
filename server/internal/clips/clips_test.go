// SPDX-License-Identifier: Apache-2.0

package clips_test

import (
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
)

func TestClips(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		load   func() (*clips.Clip, error)
		mime   string
		frames int
		width  int
	}{
		"teacher video": {clips.TeacherVideo, clips.MimeTypeVP8, 60, 640},
		"teacher audio": {clips.TeacherAudio, clips.MimeTypeOpus, 200, 0},
		"teacher h264":  {clips.TeacherH264, clips.MimeTypeH264, 60, 640},
		"student video": {clips.StudentVideo, clips.MimeTypeVP8, 60, 320},
		"student audio": {clips.StudentAudio, clips.MimeTypeOpus, 200, 0},
		"bench":         {clips.Bench720p, clips.MimeTypeVP8, 120, 1280},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := tt.load()
			if err != nil {
				t.Fatal(err)
			}
			if c.MimeType != tt.mime || len(c.Frames) != tt.frames || c.Width != tt.width {
				t.Errorf("got %s, %d frames, width %d; want %s, %d, %d", c.MimeType, len(c.Frames), c.Width, tt.mime, tt.frames, tt.width)
			}
			if c.Duration != 4*time.Second {
				t.Errorf("duration %v, want 4s", c.Duration)
			}
			player := c.Play()
			var at time.Duration
			for i := range 2*len(c.Frames) + 1 {
				f := player.Next()
				if drift := f.Time - at; drift < -time.Millisecond || drift > time.Millisecond {
					t.Fatalf("frame %d at %v, want %v", i, f.Time, at)
				}
				at = f.Time + f.Duration
				if i%len(c.Frames) == 0 && !f.Key {
					t.Fatalf("frame %d, the first of a round, is no key", i)
				}
			}
		})
	}
}
