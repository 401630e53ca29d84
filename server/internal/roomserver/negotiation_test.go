// SPDX-License-Identifier: Apache-2.0

package roomserver_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/classrec/classrec/server/internal/recorder"
	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// offerOf is an offer with these sections.
func offerOf(sections ...string) string {
	b := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-ufrag:Tk7a\r\na=ice-pwd:zvZkKhIoqVMx6zDjbHqKxnZs\r\n" +
		"a=fingerprint:sha-256 D2:B9:31:8F:DF:24:D8:0E:ED:D2:EF:25:9E:AF:6F:B8:34:AE:53:9C:E6:F3:8F:F2:64:15:FA:E8:7F:53:2D:38\r\n"
	for _, s := range sections {
		b += s + "a=setup:actpass\r\na=sendonly\r\na=rtcp-mux\r\n"
	}
	return b
}

const (
	vp8AndH264 = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 H264/90000\r\n" +
		"a=fmtp:97 packetization-mode=1;profile-level-id=42e01f\r\n"
	h261 = "m=video 9 UDP/TLS/RTP/SAVPF 31\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:31 H261/90000\r\n"
)

// post offers by WHIP.
func post(t *testing.T, s *roomservertest.Server, path, offer string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, strings.NewReader(offer))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/sdp")
	resp, err := s.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// TestCodecOrder has publishers who would rather send VP8: in a room that asks for MP4 they get H264, also before its next
// class.
func TestCodecOrder(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.FFmpegPath = "true" }))
	teacher := s.Join(t, "42", "teacher")
	offered := func(when, want string) {
		t.Helper()
		if _, answer := post(t, s, "/whip/42/camera", offerOf(vp8AndH264)); !strings.Contains(answer, want) {
			t.Errorf("%s: the answer has no %s:\n%s", when, want, answer)
		}
	}
	offered("before any class", "VP8/90000")
	begin := func(b talkcloud.ClassBegin) int64 { return teacher.BeginClass(t, b) }
	ts := begin(talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList, Convert: talkcloud.ConvertMP4})
	offered("MP4", "H264/90000")
	teacher.EndClass(t)
	recorded(t, s, "42", ts)
	offered("after MP4", "H264/90000")
	begin(talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList, Convert: talkcloud.ConvertNone})
	offered("MKV", "VP8/90000")
	teacher.EndClass(t)
}

// TestRefusedOffer is told why, and so is the log.
func TestRefusedOffer(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) }))
	const why = "offered H261, recorded are"
	if status, body := post(t, s, "/whip/42/old", offerOf(h261)); status != http.StatusUnprocessableEntity || !strings.Contains(body, why) {
		t.Errorf("status %d: %s", status, body)
	}
	teacher := s.Join(t, "42", "teacher")
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
	if status, body := post(t, s, "/whip/42/both", offerOf(vp8AndH264, h261)); status != http.StatusCreated || !strings.Contains(body, "m=video 0 ") {
		t.Errorf("status %d: %s", status, body)
	}
	stream := teacher.Call(t, talkcloud.EventPublish, map[string]any{"state": "ms", "attributes": map[string]string{"type": "video"}}, nil)
	teacher.Call(t, talkcloud.EventSignalingMessage, map[string]any{
		"streamId": strings.Trim(string(stream[1]), `"`), "msg": map[string]string{"type": "offer", "sdp": offerOf(h261)},
	}, nil)
	if got := line(teacher.Wait(t, talkcloud.EventPublishFailed)); !strings.Contains(got, why) {
		t.Errorf("got %s", got)
	}
	teacher.EndClass(t)
	recorded(t, s, "42", ts)
	dirs, _ := filepath.Glob(filepath.Join(s.Dir, "recordings", "*", mustJSON(t, ts))) // the pattern is well-formed
	if len(dirs) != 1 {
		t.Fatalf("directories %v", dirs)
	}
	gaps, _, err := recorder.Notes(dirs[0])
	if err != nil || len(gaps) != 2 { // a part of an offer, and a whole one
		t.Fatalf("gaps %+v, %v", gaps, err)
	}
	for i, user := range []string{"both", "teacher"} {
		if g := gaps[i]; g.UserID != user || user == "both" && g.Kind != recorder.Video || !strings.Contains(g.Reason, why) {
			t.Errorf("gap %+v", g)
		}
	}
	for _, user := range []string{"old", "both", "teacher"} {
		found := false
		for line := range strings.Lines(log.String()) {
			found = found || strings.Contains(line, "level=INFO") && strings.Contains(line, "room=42 user="+user) && strings.Contains(line, why)
		}
		if !found {
			t.Errorf("the log does not tell of %s:\n%s", user, log.String())
		}
	}
	if strings.Contains(log.String(), "zvZkKhIo") {
		t.Error("the log holds an ICE password")
	}
}

// syncBuffer is a buffer for concurrent writers.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
