// SPDX-License-Identifier: Apache-2.0

package roomserver_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/recorder"
	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// TestStreamStates has a mixed class know who is there, who shares a screen and what is muted, from its beginning on.
func TestStreamStates(t *testing.T) {
	t.Parallel()
	never, err := exec.LookPath("false") // what would convert it
	if err != nil {
		t.Fatal(err)
	}
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.FFmpegPath = never }))
	teacher := s.Join(t, "42", "teacher", roomservertest.Role(talkcloud.RoleTeacher), roomservertest.Property("nickname", "王老师"))
	teacher.Publish(t, clip(t))
	teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeMix})
	dir := classDir(t, s)

	lastState(t, dir, "teacher", func(st recorder.StreamState) bool {
		return st.Name == "王老师" && st.Teacher && !st.Screen && !st.VideoMuted && !st.AudioMuted && !st.Ended
	})
	setProperty := func(key string, value any) {
		t.Helper()
		teacher.Emit(t, talkcloud.EventSetProperty, map[string]any{"id": teacher.ID, "toID": talkcloud.ToAll, "properties": map[string]any{key: value}})
	}
	for _, tt := range []struct {
		key          string
		value        any
		audio, video bool // muted
		name         string
	}{
		{"publishstate", 1, false, true, "王老师"},
		{"publishstate", 2, true, false, "王老师"},
		{"publishstate", "4", true, true, "王老师"},
		{"publishstate", 3, false, false, "王老师"},
		{"nickname", "王 & 李", false, false, "王 & 李"},
	} {
		setProperty(tt.key, tt.value)
		lastState(t, dir, "teacher", func(st recorder.StreamState) bool {
			return st.AudioMuted == tt.audio && st.VideoMuted == tt.video && st.Name == tt.name
		})
	}
	stream := lastState(t, dir, "teacher", func(recorder.StreamState) bool { return true }).Stream
	mute := func(config string) {
		t.Helper()
		teacher.Emit(t, talkcloud.EventSignalingMessage, map[string]any{
			"streamId": stream, "msg": json.RawMessage(`{"type":"updatestream","config":` + config + `}`),
		}, nil)
	}
	mute(`{"muteStream":{"video":true,"audio":false}}`)
	lastState(t, dir, "teacher", func(st recorder.StreamState) bool { return st.VideoMuted && !st.AudioMuted })
	mute(`"odd"`)
	mute(`{"muteStream":{"audio":true}}`)
	lastState(t, dir, "teacher", func(st recorder.StreamState) bool { return st.VideoMuted && st.AudioMuted })

	screen, err := publisher.PublishWHIP(roomservertest.Context(t), clip(t), publisher.WHIP{
		URL: s.URL + "/whip/42/slides?type=screen", Client: s.HTTPClient(),
	})
	if err != nil {
		t.Fatal(err)
	}
	lastState(t, dir, "slides", func(st recorder.StreamState) bool { return st.Screen && !st.Ended })
	if err := screen.Close(); err != nil {
		t.Error(err)
	}
	lastState(t, dir, "slides", func(st recorder.StreamState) bool { return st.Screen && st.Ended })
	teacher.Emit(t, talkcloud.EventUnpublish, stream)
	lastState(t, dir, "teacher", func(st recorder.StreamState) bool { return st.Ended })
}

// classDir is the directory of the only class.
func classDir(t *testing.T, s *roomservertest.Server) string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(s.Dir, "recordings", "*", "*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("classes %v, %v", dirs, err)
	}
	return dirs[0]
}

// lastState waits until the latest state of a user's stream is as it should be, and returns it.
func lastState(t *testing.T, dir, user string, want func(recorder.StreamState) bool) (last recorder.StreamState) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the last of %s is %+v", user, last)
		}
	}()
	roomservertest.Poll(t, "the state of "+user, func() bool {
		data, _ := os.ReadFile(filepath.Join(dir, ".streams.jsonl")) // not there before the first
		last = recorder.StreamState{}
		for line := range strings.Lines(string(data)) {
			var st recorder.StreamState
			if json.Unmarshal([]byte(line), &st) == nil && st.User == user {
				last = st
			}
		}
		return last.User != "" && want(last)
	})
	if last.At < 0 || last.At > time.Hour {
		t.Errorf("at %v", last.At)
	}
	return last
}
