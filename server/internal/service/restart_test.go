// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// A server that is stopped in order while a class is on takes it up again: on a
// platform that is not ours, the class has gone on.
func TestRestart_WhileRecording(t *testing.T) {
	t.Parallel()
	platform := talkcloudtest.NewPlain(t)
	s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL))
	goesOn := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"goes on"}`})
	ends := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"ends"}`})
	// Somebody else is in both rooms, so that they keep their state.
	apitest.JoinAt(t, platform.Config().BaseURL, "goes on", "teacher")
	apitest.JoinAt(t, platform.Config().BaseURL, "ends", "teacher")

	s.Stop()
	if in := platform.Members("goes on"); len(in) != 1 {
		t.Errorf("after the stop, in the room are %v", in)
	}
	platform.Delete("ends", talkcloud.ClassEnd())
	s.Start()

	rec := awaitOver(t, s, ends.GetName())
	if rec.GetEndReason() != classrecv1.EndReason_END_REASON_ENDED_WHILE_AWAY {
		t.Errorf("what ended while away is %v", rec)
	}
	rec = s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"room":"goes on"}`})
	if rec.GetName() != goesOn.GetName() || rec.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED || len(rec.GetGaps()) != 0 {
		t.Errorf("what went on is %v, was %v", rec, goesOn)
	}
	if saved := platform.Saved("goes on"); len(saved) != 0 {
		t.Errorf("the room still has %v", saved)
	}
}

// awaitOver waits until a recording is in PROCESSING or later.
func awaitOver(t *testing.T, s *apitest.Server, name string) *classrecv1.Recording {
	t.Helper()
	var rec *classrecv1.Recording
	roomservertest.Poll(t, "the end of "+name, func() bool {
		rec = s.Must(t, apitest.Call{Name: apitest.Get, Request: `{"name":"` + name + `"}`})
		return rec.GetState() >= stateProcessing
	})
	return rec
}

// A start that the server did not live to see confirmed is confirmed by its
// next life: asked again with the same request_id, it is one recording.
func TestRestart_WhileStarting(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		saved bool // the platform took ClassBegin, and only the echo is missing
	}{{"not published", false}, {"published", true}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			platform := talkcloudtest.NewPlain(t)
			published := make(chan struct{}, 16)
			platform.Script(talkcloudtest.Script{Silent: func(event string) bool {
				if event == talkcloud.EventPubMsg {
					published <- struct{}{}
				}
				return event == talkcloud.EventPubMsg
			}})
			child := startChild(t, platform.Config().BaseURL)
			call := apitest.Call{Name: apitest.Start, Request: `{"room":"room","user_id":"me","request_id":"r"}`}
			ended := make(chan apitest.Outcome, 1)
			go func() {
				out, err := child.tryStart(apitest.Context(t))
				if err != nil {
					out.Message = err.Error()
				}
				ended <- out
			}()
			select {
			case <-published:
			case out := <-ended:
				t.Fatalf("nothing was published, and the start ended in %+v", out)
			case <-apitest.Context(t).Done():
				t.Fatal("nothing was published")
			}
			child.kill(t)
			if out := <-ended; out.Code == codes.OK {
				t.Fatalf("the killed server answered %+v", out)
			}
			if tc.saved {
				m := talkcloud.ClassBegin{RecordType: 1, HasRecordType: true, RecordChat: true}.Message()
				m.FromID, m.TS, m.Seq = "me", 1795000000, 1
				platform.Save("room", m)
			}
			platform.Script(talkcloudtest.Script{})

			s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL), child.dir())
			rec := s.Must(t, call)
			if rec.GetState() != stateRecording || rec.GetUserId() != "me" {
				t.Errorf("taken up as %v", rec)
			}
			if saved := platform.Saved("room"); len(saved) != 1 {
				t.Errorf("the room has %v", saved)
			}
			if tc.saved && rec.GetRecordTime().GetSeconds() != 1795000000 {
				t.Errorf("begun again, at %v", rec.GetRecordTime())
			}
			if stop := s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"room":"room"}`}); stop.GetName() != rec.GetName() {
				t.Errorf("stopped %v", stop)
			}
		})
	}
}

// kill -9 while a class is on: the next life of the server takes it up, on its
// own embedded platform too, which has lost its rooms with it. It is one
// recording, with a gap from when the server died, and has what was said before
// and after.
func TestKill_WhileRecording(t *testing.T) {
	t.Parallel()
	child := startChild(t, "")
	out, err := child.tryStart(apitest.Context(t))
	if err != nil || out.Code != codes.OK {
		t.Fatalf("start: %v %+v", err, out)
	}
	before := out.Recording(t)
	teacher := apitest.JoinAt(t, child.room, "room", "teacher")
	teacher.Chat(t, "said before")
	roomservertest.Poll(t, "the chat to be written", func() bool { return child.holds(t, "said before") })
	child.kill(t)
	killed := time.Now()

	s := apitest.New(t, child.dir())
	rec := s.Must(t, apitest.Call{Name: apitest.Start, Request: childStart})
	if rec.GetName() != before.GetName() {
		t.Fatalf("started again as %v, was %v", rec, before)
	}
	roomservertest.Poll(t, "the class to be begun again", func() bool {
		rec = s.Must(t, apitest.Call{Name: apitest.Get, Request: `{"name":"` + before.GetName() + `"}`})
		return len(rec.GetGaps()) > 0
	})
	wantGap(t, rec, killed, killed)
	teacher = s.Join(t, "room", "teacher")
	teacher.Chat(t, "said after")
	teacher.Sync(t)
	stop := s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"name":"` + before.GetName() + `"}`})
	if stop.GetState() < stateProcessing {
		t.Errorf("stopped as %v", stop)
	}
	rec = awaitState(t, s, before.GetName(), stateAvailable)
	if rec.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED || len(rec.GetGaps()) != 1 {
		t.Errorf("ended as %v", rec)
	}
	var said strings.Builder
	for _, url := range rec.GetUrls() {
		_, text := get(t, s, url, nil)
		said.WriteString(text)
	}
	if !strings.Contains(said.String(), "said before") || !strings.Contains(said.String(), "said after") {
		t.Errorf("the files have %s", &said)
	}
}

// A server that is stopped in order notes when it ended what it recorded.
func TestRestart_Gap(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	before := s.Must(t, apitest.Call{Name: apitest.Start, Request: childStart})
	stopping := time.Now()
	s.Stop()
	stopped := time.Now()
	s.Start()
	var rec *classrecv1.Recording
	roomservertest.Poll(t, "the class to be begun again", func() bool {
		rec = s.Must(t, apitest.Call{Name: apitest.Get, Request: `{"name":"` + before.GetName() + `"}`})
		return len(rec.GetGaps()) > 0
	})
	if rec.GetState() != stateRecording {
		t.Errorf("goes on as %v", rec)
	}
	wantGap(t, rec, stopping, stopped)
}

// wantGap fails unless the recording has one gap, from when its server ended,
// which was between two times, to when the class was begun again.
func wantGap(t *testing.T, rec *classrecv1.Recording, earliest, latest time.Time) {
	t.Helper()
	if len(rec.GetGaps()) != 1 {
		t.Fatalf("the gaps are %v", rec.GetGaps())
	}
	gap := rec.GetGaps()[0]
	from, to := gap.GetStartTime().AsTime(), gap.GetEndTime().AsTime()
	// It is noted every second, and this machine may be busy. The platform counts
	// in seconds, and a class that is begun again in the same one has the next.
	if gap.GetStartTime() == nil || from.Before(earliest.Add(-3*time.Second)) || from.After(latest) {
		t.Errorf("the gap begins at %v; the server ended between %v and %v", from, earliest, latest)
	}
	if to.Before(from) || to.After(time.Now().Add(time.Second)) || !strings.Contains(gap.GetReason(), "restarted") {
		t.Errorf("the gap is %v", gap)
	}
}

const (
	childEnv   = "CLASSREC_TEST_CHILD"
	childStart = `{"room":"room","user_id":"me","request_id":"r"}`
)

// childConfig is what a child is told to run.
type childConfig struct{ Dir, Platform, KeyFile string }

// runChild is the program of a child: a server that says where it listens.
func runChild(text string) error {
	var c childConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	cfg := apitest.Config(c.Dir)
	if c.Platform != "" {
		cfg.Platform, cfg.EnterpriseKeyFile = c.Platform, c.KeyFile
		cfg.RoomListen, cfg.RoomHTTPListen = "", ""
	}
	s, err := server.New(context.Background(), cfg)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, s.GRPCAddr(), s.RoomHTTPAddr()); err != nil {
		return err
	}
	return s.Run(context.Background())
}

// child is a server in a process of its own, so that it can be killed.
type child struct {
	config childConfig
	cmd    *exec.Cmd
	api    *apitest.Remote
	room   string // where its own platform is
	killed bool
}

// startChild starts a server on the platform at a URL, "" for its own.
func startChild(t *testing.T, platform string) *child {
	t.Helper()
	c := &child{config: childConfig{Dir: t.TempDir(), Platform: platform}}
	if platform != "" {
		var cfg server.Config
		apitest.Platform(t, platform)(&cfg)
		c.config.KeyFile = cfg.EnterpriseKeyFile
	}
	text, err := json.Marshal(c.config)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c.cmd = exec.Command(self)
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.kill(t) })
	line := bufio.NewScanner(out)
	if !line.Scan() {
		t.Fatalf("the server said nothing: %v", line.Err())
	}
	api, room, _ := strings.Cut(line.Text(), " ")
	c.api, c.room = apitest.Dial(t, api), "http://"+room
	return c
}

// tryStart starts the recording childStart.
func (c *child) tryStart(ctx context.Context) (apitest.Outcome, error) {
	return c.api.Call(ctx, apitest.Call{Name: apitest.Start, Request: childStart})
}

// kill is kill -9.
func (c *child) kill(t *testing.T) {
	t.Helper()
	if c.killed {
		return
	}
	c.killed = true
	if err := c.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = c.cmd.Wait() // that it was killed
}

// holds tells whether a file of its recordings has a text in it.
func (c *child) holds(t *testing.T, text string) (found bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(c.config.Dir, "room", "recordings", "*", "*", "*.vtt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		found = found || err == nil && strings.Contains(string(raw), text)
	}
	return found
}

// dir makes another server go on with the child's data.
func (c *child) dir() func(*server.Config) {
	return func(cfg *server.Config) { cfg.DataDir = c.config.Dir }
}
