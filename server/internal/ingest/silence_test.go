// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/ingest"
	"github.com/classrec/classrec/server/internal/publisher"
)

// listener is a sink that is told of silences.
type listener struct {
	*sink
	silences chan ingest.Silence
}

func (l listener) Silent(s ingest.Silence) { l.silences <- s }

// TestPeer_SilentSection has a video that comes late and then pauses.
func TestPeer_SilentSection(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{SectionTimeout: 500 * time.Millisecond})
	h := listener{newSink(), make(chan ingest.Silence, 16)}
	var open atomic.Bool
	begun := time.Now()
	pub, err := publisher.Publish(t.Context(), publisher.Config{
		Video: mustClip(t, clips.TeacherVideo), Audio: mustClip(t, clips.TeacherAudio),
		Loss: func(p publisher.Packet) bool { return p.Kind == publisher.Video && !open.Load() },
	}, exchange(s, h, nil))
	if err != nil {
		t.Fatal(err)
	}
	first := receive(t, h.silences, "silence")
	if first.Kind != ingest.Video || first.Section != 1 || !first.Never || !first.End.IsZero() || first.Start.Before(begun) {
		t.Errorf("told %+v", first)
	}
	open.Store(true)
	if over := receive(t, h.silences, "end of the silence"); over.End.IsZero() || !over.Start.Equal(first.Start) {
		t.Errorf("told %+v", over)
	}
	open.Store(false)
	second := receive(t, h.silences, "second silence")
	if second.Kind != ingest.Video || second.Never || !second.Start.After(first.Start) {
		t.Errorf("told %+v", second)
	}
	if err := pub.Close(); err != nil {
		t.Error(err)
	}
	if over := receive(t, h.silences, "end of the second silence"); over.End.IsZero() {
		t.Errorf("told %+v", over)
	}
	if n := s.Stats().Silences; n != 2 || len(h.silences) != 0 {
		t.Errorf("%d silences are counted, and %d more told", n, len(h.silences))
	}
}
