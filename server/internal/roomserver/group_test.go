// SPDX-License-Identifier: Apache-2.0

package roomserver_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/recorder"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// oneKeyframe is a clip of a minute with a keyframe at its beginning only. Its pictures are not to be looked at.
func oneKeyframe(tb testing.TB) *clips.Clip {
	tb.Helper()
	whole, err := clips.StudentVideo()
	if err != nil {
		tb.Fatal(err)
	}
	c := *whole
	c.Frames, c.Duration = nil, time.Minute
	const every = 40 * time.Millisecond
	for at := time.Duration(0); at < c.Duration; at += every {
		f := whole.Frames[0]
		if at > 0 {
			f = whole.Frames[1]
		}
		f.Time = at
		c.Frames = append(c.Frames, f)
	}
	return &c
}

// TestClassBegins_WithoutKeyframe has a publisher who sent the only keyframe before the class: the file begins with the
// class all the same.
func TestClassBegins_WithoutKeyframe(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	teacher := s.Join(t, "42", "teacher")
	pub := s.PublishWHIP(t, "42", "camera", publisher.Config{Video: oneKeyframe(t), IgnoreKeyframeRequests: true})
	roomservertest.Poll(t, "pictures before the class", func() bool { return pub.Stats().VideoPackets > 60 })
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
	untilBlocks(t, s, mustJSON(t, ts)+"/*.mkv", 80)
	teacher.EndClass(t)
	item := recorded(t, s, "42", ts)
	if len(item.Files) != 1 {
		t.Fatalf("files %+v", item.Files)
	}
	_, raw := fetch(t, s, item.Files[0].URL)
	in, err := recorder.Inspect(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	track := in.Tracks[0]
	if track.First > 10*time.Millisecond || track.Keyframes != 1 {
		t.Errorf("the first of %d pictures is at %v, %d are keyframes", track.Frames, track.First, track.Keyframes)
	}
	if early := in.Duration - time.Duration(track.Frames-60)*40*time.Millisecond; early > time.Second {
		t.Errorf("%d pictures in %v", track.Frames, in.Duration)
	}
}
