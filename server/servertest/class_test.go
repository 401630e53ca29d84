// SPDX-License-Identifier: Apache-2.0

package servertest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/recorder"
	"github.com/classrec/classrec/server/servertest"
)

const (
	recording  = classrecv1.RecordingState_RECORDING_STATE_RECORDING
	stopping   = classrecv1.RecordingState_RECORDING_STATE_STOPPING
	processing = classrecv1.RecordingState_RECORDING_STATE_PROCESSING
	available  = classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
	failed     = classrecv1.RecordingState_RECORDING_STATE_FAILED
)

// start starts a recording that has to start.
func start(t *testing.T, s *servertest.Server, req *classrecv1.StartRecordingRequest) *classrecv1.Recording {
	t.Helper()
	r, err := s.Client().Start(t.Context(), req)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	return r
}

// stop stops a recording that has to stop.
func stop(t *testing.T, s *servertest.Server, name string) *classrecv1.Recording {
	t.Helper()
	r, err := s.Client().Stop(t.Context(), &classrecv1.StopRecordingRequest{Name: name})
	if err != nil {
		t.Fatalf("stop: %v", err)
	}
	return r
}

// fetch gets a file as a browser would.
func fetch(t *testing.T, url string) (status int, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

// media lets a recording have something in it.
func media(t *testing.T) {
	t.Helper()
	select {
	case <-time.After(500 * time.Millisecond): // media are real
	case <-t.Context().Done():
	}
}

// filesOf are the codecs of a recording's files, by who is in them.
func filesOf(t *testing.T, r *classrecv1.Recording) map[string][]string {
	t.Helper()
	codecs := map[string][]string{}
	for _, f := range r.GetFiles() {
		status, body := fetch(t, f.GetUrl())
		if status != http.StatusOK || int64(len(body)) != f.GetSize() {
			t.Errorf("%s: status %d, %d bytes of %d", path.Base(f.GetUrl()), status, len(body), f.GetSize())
			continue
		}
		if strings.HasPrefix(f.GetMediaType(), "text/vtt") {
			codecs["chat"] = append(codecs["chat"], string(body))
			continue
		}
		in, err := recorder.Inspect(strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		for _, track := range in.Tracks {
			if track.Frames == 0 {
				t.Errorf("%s of %s is empty", track.Codec, f.GetUserId())
			}
			codecs[f.GetUserId()] = append(codecs[f.GetUserId()], track.Codec)
		}
		slices.Sort(codecs[f.GetUserId()])
	}
	return codecs
}

// Two people, their media from files and a pattern, chat, and an API that sees
// it all: what they publish is in the files, who sees what is told.
func TestClass(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	room := s.Room("42")
	teacher := room.Teacher("Ms Wang")
	clip := func(name string) string { return filepath.Join("..", "internal", "clips", name) }
	teacher.Publish(servertest.File(clip("teacher.ivf"), clip("teacher.ogg")))
	ann := room.Student("Ann")
	stream := ann.Publish(servertest.Pattern())
	if ev := teacher.Await(servertest.Joined); ev.From != "Ann" {
		t.Errorf("joined: %+v", ev)
	}
	if ev := teacher.AwaitFunc("Ann's media", func(ev servertest.Event) bool {
		return ev.Kind == servertest.MediaBegun && ev.From == "Ann"
	}); ev.Text == "" {
		t.Errorf("media: %+v", ev)
	}

	r := start(t, s, &classrecv1.StartRecordingRequest{Room: "42", Format: classrecv1.RecordingFormat_RECORDING_FORMAT_WEBM})
	begun := ann.Await(servertest.ClassBegun)
	if !begun.Time.Equal(r.GetRecordTime().AsTime()) || !strings.Contains(begun.Data, "recordtype") {
		t.Errorf("class begun: %+v; record_time %v", begun, r.GetRecordTime().AsTime())
	}
	ann.Chat("你好")
	if ev := teacher.Await(servertest.Said); ev.From != "Ann" || ev.Text != "你好" {
		t.Errorf("said: %+v", ev)
	}
	media(t)
	stream.Stop()
	teacher.Await(servertest.MediaEnded)
	stop(t, s, r.GetName())
	if ev := ann.Await(servertest.ClassEnded); ev.Time.Before(begun.Time) {
		t.Errorf("class ended: %+v", ev)
	}

	r = s.Await(r.GetName(), available)
	files := filesOf(t, r)
	for _, who := range []string{"Ms Wang", "Ann"} {
		if !slices.Equal(files[who], []string{"A_OPUS", "V_VP8"}) {
			t.Errorf("of %s there is %v", who, files[who])
		}
	}
	if len(files["chat"]) != 1 || !strings.Contains(files["chat"][0], "你好") {
		t.Errorf("chat: %q", files["chat"])
	}

	// What was recorded can be published: a WebM file.
	var webm string
	for _, f := range r.GetFiles() {
		if f.GetUserId() == "Ann" {
			_, body := fetch(t, f.GetUrl())
			webm = filepath.Join(t.TempDir(), "ann.webm")
			if err := os.WriteFile(webm, body, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	again := start(t, s, &classrecv1.StartRecordingRequest{Room: "43"})
	s.Room("43").Teacher("Mr Li").Publish(servertest.File(webm))
	media(t)
	stop(t, s, again.GetName())
	if files := filesOf(t, s.Await(again.GetName(), available)); !slices.Equal(files["Mr Li"], []string{"A_OPUS", "V_VP8"}) {
		t.Errorf("of the published file there is %v", files)
	}
}

// A muted stream brings nothing into the recording.
func TestStream_Mute(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	stream := s.Room("42").Teacher("Ms Wang").Publish(servertest.Pattern())
	stream.Mute(false, true)
	r := start(t, s, &classrecv1.StartRecordingRequest{Room: "42", RecordType: classrecv1.RecordType_RECORD_TYPE_LIST})
	media(t)
	stop(t, s, r.GetName())
	if files := filesOf(t, s.Await(r.GetName(), available)); !slices.Equal(files["Ms Wang"], []string{"A_OPUS"}) {
		t.Errorf("recorded: %v", files)
	}
}

// A class that the teacher begins and ends, seen by who watches the room.
func TestPerson_BeginEnd(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch, err := classrecv1.NewRecordingServiceClient(s.Conn()).WatchClassBegin(ctx, &classrecv1.WatchClassBeginRequest{Room: "42"})
	if err != nil {
		t.Fatal(err)
	}
	next := func() *classrecv1.ClassBeginEvent {
		t.Helper()
		for {
			m, err := watch.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if m.GetEvent() != nil {
				return m.GetEvent()
			}
			if m.GetSynced() != nil {
				return nil
			}
		}
	}
	if ev := next(); ev != nil {
		t.Fatalf("%v; want synced", ev)
	}
	teacher := s.Room("42").Teacher("Ms Wang")
	at := teacher.Begin(servertest.Class{Format: classrecv1.RecordingFormat_RECORDING_FORMAT_WEBM, Type: classrecv1.RecordType_RECORD_TYPE_FILE, Chat: true})
	r := next().GetRecording()
	if !r.GetRecordTime().AsTime().Equal(at) || r.GetUserId() != "Ms Wang" || r.GetOrigin() != classrecv1.RecordingOrigin_RECORDING_ORIGIN_ROOM ||
		r.GetFormat() != classrecv1.RecordingFormat_RECORDING_FORMAT_WEBM || r.GetRecordType() != classrecv1.RecordType_RECORD_TYPE_FILE || !r.GetRecordChat() {
		t.Errorf("begun at %v: %v", at, r)
	}
	end := teacher.End()
	if r = next().GetRecording(); r.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED_IN_ROOM || !r.GetStopTime().AsTime().Equal(end) {
		t.Errorf("ended at %v: %v", end, r)
	}
	if got := s.AwaitRecording("42", func(r *classrecv1.Recording) bool { return r.GetState() == available }); got.GetName() != r.GetName() {
		t.Errorf("the newest is %s; want %s", got.GetName(), r.GetName())
	}
}

// Somebody loses the connection: others see it, the class goes on, and it comes
// back when it is told to.
func TestPerson_Drop(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	room := s.Room("42")
	teacher, ann := room.Teacher("Ms Wang"), room.Student("Ann")
	r := start(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
	teacher.Await(servertest.ClassBegun)
	teacher.Publish(servertest.Pattern())

	teacher.Drop()
	if ev := ann.Await(servertest.Left); ev.From != "Ms Wang" {
		t.Errorf("left: %+v", ev)
	}
	if kinds := kindsOf(teacher.Seen()); kinds[len(kinds)-1] != servertest.Out {
		t.Errorf("the teacher has seen %v", kinds)
	}
	if r, err := s.Client().Get(t.Context(), r.GetName()); err != nil || r.GetState() != recording {
		t.Errorf("%v, %v", r, err)
	}
	teacher.Rejoin()
	teacher.Await(servertest.ClassBegun) // it is still on
	ann.Await(servertest.Joined)
	teacher.Publish(servertest.Pattern())
	teacher.End()
	s.Await(r.GetName(), processing)

	ann.Leave()
	teacher.AwaitFunc("Ann leaves", func(ev servertest.Event) bool { return ev.Kind == servertest.Left && ev.From == "Ann" })
}

func kindsOf(events []servertest.Event) []servertest.Kind {
	var kinds []servertest.Kind
	for _, ev := range events {
		kinds = append(kinds, ev.Kind)
	}
	return kinds
}

// Who joins under the name of somebody in the room puts that one out.
func TestRoom_SameName(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	first := s.Room("42").Student("Ann")
	second := s.Room("42").Student("Ann")
	first.Await(servertest.Evicted)
	first.AwaitFunc("being out", func(ev servertest.Event) bool { return ev.Kind == servertest.Out })
	second.Chat("it is me")
}

func TestRoom_Passwords(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "rooms.yaml")
	if err := os.WriteFile(file, []byte("rooms: {'42': {passwords: {teacher: chalk, student: apple}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := servertest.New(t, servertest.Configure(func(c *server.Config) { c.RoomsFile, c.StrictRooms = file, true }))
	s.Room("42").Teacher("Ms Wang", servertest.Password("chalk"))
	if _, err := s.Room("42").TryJoin(servertest.Student, "Ann", servertest.Password("pear")); err == nil || !strings.Contains(err.Error(), "4008") && !strings.Contains(err.Error(), "password") {
		t.Errorf("a wrong password: %v", err)
	}
	if _, err := s.Room("43").TryJoin(servertest.Student, "Ann"); err == nil {
		t.Error("a room that is not there is entered")
	}
	_, err := s.Client().Start(t.Context(), &classrecv1.StartRecordingRequest{Room: "42", RoomPassword: "pear"})
	if !errors.Is(err, client.ErrPermissionDenied) {
		t.Errorf("start: %v", err)
	}
	start(t, s, &classrecv1.StartRecordingRequest{Room: "42", RoomPassword: "chalk"})
}

// The addresses are those of the server and of its platform.
func TestServer_Addresses(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	for _, url := range []string{s.URL() + "/readyz", s.PlatformURL() + "/where.html"} {
		if status, _ := fetch(t, url); status != http.StatusOK {
			t.Errorf("%s: %d", url, status)
		}
	}
	other, err := client.Dial(s.Addr(), client.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Get(t.Context(), "rooms/1/recordings/1"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
	if _, err := other.GetRecording(t.Context(), &classrecv1.GetRecordingRequest{}, grpc.WaitForReady(true)); !errors.Is(err, client.ErrInvalidArgument) && client.Details(err).Code.String() != "InvalidArgument" {
		t.Errorf("get nothing: %v", err)
	}
}
