// SPDX-License-Identifier: Apache-2.0

package scenario_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/rehearsal"
	"github.com/classrec/classrec/server/internal/scenario"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what has to come; only a test that fails uses it up.
const patience = 30 * time.Second

// Whatever is wrong is told with its line.
func TestParse_Errors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, text, want string }{
		{"nothing", "", "is not one YAML document"},
		{"two documents", "steps: [stop]\n---\nsteps: [stop]\n", "is not one YAML document"},
		{"not YAML", "steps:\n  - stop: [\n", "is not YAML"},
		{"no steps", "patience: 5s\n", "play.yaml: needs steps"},
		{"empty steps", "steps: []\n", "play.yaml:1: is not a list of steps"},
		{"steps that are none", "steps: {}\n", "play.yaml:1: is not a list of steps"},
		{"a key that there is not", "patiense: 5s\nsteps: [stop]\n", `play.yaml:1: there is no "patiense" here; there are patience, steps`},
		{"no time", "patience: soon\nsteps: [stop]\n", "play.yaml:1: patience is not a time"},
		{"no verb", "steps:\n  - stop\n  - sing: loud\n", `play.yaml:3: there is no step "sing"; there are join, publish`},
		{"two verbs", "steps:\n  - leave: Ann\n    drop: Ann\n", "a step is one verb"},
		{"no step", "steps:\n  - [stop]\n", "play.yaml:2: a step is a verb"},
		{"no arguments", "steps:\n  - join\n", "play.yaml:2: join: needs room"},
		{"short where there is none", "steps:\n  - join: Ann\n", "play.yaml:2: join: is not a map"},
		{"nobody", "steps:\n  - join: {room: 42}\n", "play.yaml:2: join: needs one of teacher"},
		{"two at once", "steps:\n  - join: {room: 42, teacher: A, student: B}\n", "play.yaml:2: join: needs one of teacher"},
		{"an argument that there is not", "steps:\n  - join:\n      room: 42\n      teacher: A\n      pasword: secret\n", `play.yaml:5: join: there is no "pasword" here; there are room, teacher`},
		{"an argument twice", "steps:\n  - join: {room: 42, room: 43}\n", "play.yaml:2"},
		{"a list for a text", "steps:\n  - join: {room: [42], teacher: A}\n", "play.yaml:2: join: room is not a text"},
		{"who has not joined", "steps:\n  - publish: Ann\n  - join: {room: 42, student: Ann}\n", `play.yaml:2: publish: nobody of the name "Ann" has joined`},
		{"a file that is not there", "steps:\n  - join: {room: 42, student: Ann}\n  - publish:\n      person: Ann\n      files: none.webm\n", "play.yaml:5: publish: "},
		{"a file that is no media", "steps:\n  - join: {room: 42, student: Ann}\n  - publish: {person: Ann, files: [scenario_test.go]}\n", "is not WebM"},
		{"a flag that is none", "steps:\n  - join: {room: 42, student: Ann}\n  - mute: {person: Ann, sound: loud}\n", "play.yaml:3: mute: sound is neither true nor false"},
		{"a format that there is not", "steps:\n  - join: {room: 42, teacher: A}\n  - begin: {person: A, format: avi}\n", "play.yaml:3: begin: format is none of mkv, webm, mp4"},
		{"nothing of the platform", "steps:\n  - platform:\n", "play.yaml:2: platform: is one of normal, absent, cut, or {slow: TIME}"},
		{"a platform that is not", "steps:\n  - platform: angry\n", "is is none of normal, absent, cut"},
		{"no call", "steps:\n  - answer: {code: 1}\n", "play.yaml:2: answer: needs call"},
		{"a call that there is not", "steps:\n  - answer: {call: chalk, code: 1}\n", "call is none of checkroom"},
		{"no answer", "steps:\n  - answer: {call: checkroom}\n", "needs one of code, status, body, with"},
		{"two answers", "steps:\n  - answer: {call: checkroom, code: 1, with: html}\n", "needs one of code, status, body, with"},
		{"an answer that cannot be", "steps:\n  - answer: {call: checkroom, with: no echo}\n", "play.yaml:2: answer: checkroom has no echo"},
		{"a code that is none", "steps:\n  - answer: {call: checkroom, code: 0}\n", "code is not a number of 1 and more"},
		{"no time to move on", "steps:\n  - advance:\n", "play.yaml:2: advance: needs a time"},
		{"time goes back", "steps:\n  - advance: -2h\n", "by is not a time"},
		{"no pause", "steps:\n  - pause:\n", "needs a time"},
		{"nothing to await", "steps:\n  - await: {within: 2s}\n", "needs one of person (with sees), room (with recording), call"},
		{"nothing to see", "steps:\n  - join: {room: 42, teacher: A}\n  - await: {person: A}\n", "play.yaml:3: await: needs sees: class begun"},
		{"no state", "steps:\n  - await: {room: 42}\n", "needs recording: STARTING, RECORDING"},
		{"two to await", "steps:\n  - await: {room: 42, recording: RECORDING, call: checkroom}\n", `there is no "call" here`},
		{"what is wrong inside", "steps:\n  - repeat:\n      steps:\n        - stop\n        - sing\n", `play.yaml:5: there is no step "sing"`},
		{"nothing repeated", "steps:\n  - repeat: {times: 2}\n", "play.yaml:2: repeat: needs steps"},
		{"nothing printed", "steps:\n  - print:\n", "print: needs text"},
		{"an argument to stop", "steps:\n  - stop: {now: true}\n", `play.yaml:2: stop: there is no "now" here`},
		{"too deep", "steps:\n" + deep(9), "more than 8 deep"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := scenario.Parse("play.yaml", []byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "play.yaml") {
				t.Errorf("%v; want %s", err, tc.want)
			}
		})
	}
}

// deep is repetitions in each other.
func deep(n int) string {
	var b strings.Builder
	indent := "  "
	for range n {
		b.WriteString(indent + "- repeat:\n" + indent + "    steps:\n")
		indent += "      "
	}
	return b.String() + indent + "- stop\n"
}

// The examples of docs/scenarios can be read.
func TestRead_Examples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../../docs/scenarios/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		if _, err := scenario.Read(file); err != nil {
			t.Error(err)
		}
	}
	if _, err := scenario.Read("none.yaml"); err == nil {
		t.Error("a file that is not there is read")
	}
}

// FuzzParse: whatever a file has in it, reading it ends, in a scenario or an error.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../../../docs/scenarios/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("steps: &a\n  - repeat: {steps: *a}\n"))
	f.Add([]byte("steps: [!!binary x, ? y, <<: z]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Contains(text, []byte("files")) {
			t.Skip("would read any file")
		}
		s, err := scenario.Parse("play.yaml", text)
		if (s == nil) == (err == nil) {
			t.Error(s, err)
		}
	})
}

// log keeps lines of log.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// stage is a server that scenarios are played on.
type stage struct {
	rehearsal *rehearsal.Rehearsal
	api       *client.Client
	log       *log
}

func newStage(t *testing.T) *stage {
	t.Helper()
	st := &stage{rehearsal: rehearsal.New(nil), log: &log{}}
	s, err := server.New(t.Context(), server.Config{
		GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0", RoomListen: "127.0.0.1:0", DataDir: t.TempDir(),
		SyncInterval: time.Hour, PollMin: 20 * time.Millisecond, PollMax: 250 * time.Millisecond, Rehearsal: st.rehearsal,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if st.api, err = client.Dial(s.GRPCAddr().String(), client.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.api.Close() })
	return st
}

// play plays a scenario until it has stopped, and returns how.
func (s *stage) play(t *testing.T, text string) error {
	t.Helper()
	play, err := scenario.Parse("play.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err = play.Play(ctx, scenario.Stage{Rehearsal: s.rehearsal, Logger: slog.New(slog.NewTextHandler(s.log, nil))})
	if ctx.Err() != nil {
		t.Fatalf("it does not end; it has done:\n%s", s.log)
	}
	return err
}

// lines are the steps that were done, by line and text.
func (l *log) lines() string {
	var lines []string
	for _, match := range regexp.MustCompile(`msg=("[^"]*"|\S+) line=(\d+)`).FindAllStringSubmatch(l.String(), -1) {
		lines = append(lines, match[2]+" "+strings.Trim(match[1], `"`))
	}
	return strings.Join(lines, "\n")
}

// A scenario with every verb does in the room what it says, in its order, and
// says what it has done.
func TestPlay(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	began := make(chan error, 1)
	go func() {
		_, err := s.api.Start(t.Context(), &classrecv1.StartRecordingRequest{Room: "42", Format: classrecv1.RecordingFormat_RECORDING_FORMAT_WEBM})
		began <- err
	}()
	err := s.play(t, `
patience: 20s
steps:
  - join: {room: 42, teacher: Ms Wang}
  - join: {room: 42, student: Ann}
  - await: {person: Ms Wang, sees: joined, from: Ann}
  - publish: Ms Wang
  - await: {person: Ann, sees: media begun, from: Ms Wang}
  - mute: Ms Wang
  - mute: {person: Ms Wang, sound: false, pictures: true}
  - publish: {person: Ann, files: ../clips/student.ogg}
  - await: {room: 42, recording: RECORDING}
  - await: {person: Ann, sees: class begun}
  - chat: {person: Ann, text: "Good morning"}
  - await: {person: Ms Wang, sees: said, text: Good morning}
  - unpublish: Ms Wang
  - await: {person: Ann, sees: media ended}
  - drop: Ann
  - await: {person: Ms Wang, sees: left, from: Ann}
  - rejoin: Ann
  - join: {room: 42, student: Bob}
  - platform: cut
  - await: {call: joinRoom, times: 2}
  - await: {person: Bob, sees: joined} # who was cut, and so does not miss the end
  - platform: {slow: 5ms}
  - advance: 10m
  - answer: {call: record list, with: html}
  - end: Ms Wang
  - await: {room: 42, recording: PROCESSING}
  - await: {call: record list}
  - answer: {call: record list, with: usual}
  - platform: normal
  - await: {room: 42, recording: AVAILABLE}
  - begin: {person: Ms Wang, format: webm, type: file, layout: portrait, chat: true}
  - await: {person: Ann, sees: class begun}
  - end: Ms Wang
  - repeat:
      times: 2
      steps:
        - join: {room: hall, student: "number {n}"}
        - leave: "number {n}"
  - pause: 1ms
  - leave: Ann
  - print: that is all
  - stop
`)
	if err != nil {
		t.Errorf("%v\n%s", err, s.log)
	}
	if err := <-began; err != nil {
		t.Error(err)
	}
	want := strings.TrimSpace(`
4 Ms Wang joins room 42 as teacher
5 Ann joins room 42 as student
6 Ms Wang sees: joined, from Ann
7 Ms Wang publishes the test pattern
8 Ann sees: media begun, from Ms Wang
9 Ms Wang mutes sound
10 Ms Wang mutes pictures
11 Ann publishes ../clips/student.ogg
12 a recording of room 42 is RECORDING
13 Ann sees: class begun
14 Ann chats: Good morning
15 Ms Wang sees: said, Good morning
16 Ms Wang stops publishing
17 Ann sees: media ended
18 Ann loses the connection
19 Ms Wang sees: left, from Ann
20 Ann joins again
21 Bob joins room 42 as student
22 the platform's connections are cut
23 joinRoom is called 2 times
24 Bob sees: joined
25 the platform is slow by 5ms
26 time moves on by 10m0s
27 record list is answered with a web page
28 Ms Wang ends the class
29 a recording of room 42 is PROCESSING
30 record list is called
31 record list is answered as usual
32 the platform is normal
33 a recording of room 42 is AVAILABLE
34 Ms Wang begins a class
35 Ann sees: class begun
36 Ms Wang ends the class
40 number 1 joins room hall as student
41 number 1 leaves
40 number 2 joins room hall as student
41 number 2 leaves
42 pause of 1ms
43 Ann leaves
44 that is all
45 stop
`)
	if got := s.log.lines(); got != want {
		t.Errorf("done was:\n%s", got)
	}
	for r, err := range s.api.List(t.Context(), &classrecv1.ListRecordingsRequest{Room: "42"}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.GetOrigin() == classrecv1.RecordingOrigin_RECORDING_ORIGIN_ROOM {
			continue // the second one
		}
		if d := r.GetStopTime().AsTime().Sub(r.GetRecordTime().AsTime()); d < 10*time.Minute {
			t.Errorf("time moved on by 10 minutes, and the class took %v", d)
		}
		if len(r.GetUrls()) == 0 {
			t.Error("nothing was recorded")
		}
	}
}

// A step that cannot be done ends the scenario with its line, and says why.
func TestPlay_Errors(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, tc := range []struct{ name, text, want string }{
		{"nothing comes", "steps:\n  - join: {room: 1, teacher: A}\n  - await: {person: A, sees: said, within: 50ms}\n", "play.yaml:3: A sees: said: A in room 1: not within 50ms"},
		{"no recording", "patience: 50ms\nsteps:\n  - await: {room: 2, recording: AVAILABLE}\n", "play.yaml:3: a recording of room 2 is AVAILABLE: not within 50ms; nothing else"},
		{"another state", "patience: 50ms\nsteps:\n  - await: {room: begun, recording: FAILED}\n", "recordings of the room were STARTING, RECORDING"},
		{"no call", "steps:\n  - await: {call: getconfig, times: 100, within: 50ms}\n", "getconfig is called 100 times: called "},
		{"who is out", "steps:\n  - join: {room: 3, teacher: A}\n  - leave: A\n  - chat: {person: A, text: hello}\n", "play.yaml:4: A chats: hello: A is not in room 3"},
		{"who is in", "steps:\n  - join: {room: 4, teacher: A}\n  - rejoin: A\n", "play.yaml:3: A joins again: A is in room 4"},
		{
			"in the third turn", "steps:\n  - join: {room: 5, teacher: A 1}\n  - repeat:\n      steps:\n        - join: {room: 5, student: A}\n        - pause: 1ms\n        - repeat: {times: 1, steps: [join: {room: 5, student: \"A {n}\"}]}\n        - chat: {person: \"A {n}\", text: hello}\n",
			`play.yaml:8: A 2 chats: hello: nobody of the name "A 2" has joined`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if strings.Contains(tc.text, "begun") {
				if _, err := s.api.Start(t.Context(), &classrecv1.StartRecordingRequest{Room: "begun"}); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.play(t, tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v; want %s", err, tc.want)
			}
		})
	}
}

// A password is not in the log.
func TestPlay_Secrets(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	if err := s.play(t, "steps:\n  - join: {room: 42, teacher: A, password: s3cret-s3cret}\n  - stop\n"); err != nil {
		t.Error(err)
	}
	if strings.Contains(s.log.String(), "s3cret") || !strings.Contains(s.log.String(), "A joins room 42") {
		t.Errorf("the log is %s", s.log)
	}
}

// When it is over, people stay until the context ends; then all is as before.
func TestPlay_Stays(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, steps := range []string{"", "  - repeat: {steps: [platform: absent]}\n"} {
		play, err := scenario.Parse("play.yaml", []byte("steps:\n  - join: {room: 42, teacher: A}\n  - platform: absent\n"+steps))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		lines := &log{}
		go func() {
			ended <- play.Play(ctx, scenario.Stage{Rehearsal: s.rehearsal, Logger: slog.New(slog.NewTextHandler(lines, nil))})
		}()
		for began := time.Now(); !strings.Contains(lines.String(), "absent"); time.Sleep(time.Millisecond) {
			if time.Since(began) > patience {
				t.Fatal("it does not begin")
			}
		}
		select {
		case err := <-ended:
			t.Errorf("it ends in %v", err)
		default:
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := s.api.Start(t.Context(), &classrecv1.StartRecordingRequest{Room: "42"}); err != nil {
			t.Errorf("the platform is not there again: %v", err)
		}
		if _, err := s.api.Stop(t.Context(), &classrecv1.StopRecordingRequest{Room: "42"}); err != nil {
			t.Error(err)
		}
	}
}
