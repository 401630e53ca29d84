// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// limitOf reads a refusal: which limit was met, its value and whose it is.
func limitOf(t *testing.T, err error) string {
	t.Helper()
	st := status.Convert(err)
	if st.Code() != codes.ResourceExhausted {
		t.Errorf("not RESOURCE_EXHAUSTED: %v", err)
		return ""
	}
	var limit string
	var retry bool
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetReason() != "LIMIT_EXCEEDED" || d.GetDomain() != "classrec.dev" {
				t.Errorf("the reason is %v", d)
			}
			limit = fmt.Sprintf("%s %s %s", d.GetMetadata()["scope"], d.GetMetadata()["limit"], d.GetMetadata()["value"])
		case *errdetails.RetryInfo:
			retry = d.GetRetryDelay().AsDuration() > 0
		}
	}
	if !retry {
		t.Errorf("does not say when to come back: %v", err)
	}
	return limit
}

// impatient is a client that does not try again.
func impatient(t *testing.T, r *running) *client.Client {
	t.Helper()
	c, err := client.Dial(r.GRPCAddr().String(), client.Config{Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func startIn(room string) *classrecv1.StartRecordingRequest {
	return &classrecv1.StartRecordingRequest{Room: room}
}

// Each limit refuses what is over it, in gRPC and REST, and says which it is; what
// only reads, what stops, and what was begun before is answered all the same.
func TestLimits(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	cfg.MaxRecordings, cfg.MaxRooms, cfg.MaxWatchers = 2, 4, 2
	r := newRunning(t, cfg)
	c := impatient(t, r)
	known := &classrecv1.StartRecordingRequest{Room: "1", RequestId: "the-first"}
	first, err := c.StartRecording(t.Context(), known)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.StartRecording(t.Context(), startIn("2")); err != nil {
		t.Fatal(err)
	}

	_, err = c.StartRecording(t.Context(), startIn("3"))
	if got := limitOf(t, err); got != "process recordings 2" {
		t.Errorf("a third recording: %s", got)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.base+"/v1/rooms/3/recordings", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err = joinClose(err, resp.Body); err != nil {
		t.Fatal(err)
	}
	if after, err := strconv.Atoi(resp.Header.Get("Retry-After")); resp.StatusCode != http.StatusTooManyRequests || err != nil || after < 1 {
		t.Errorf("REST answers %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	if !json.Valid(body) || !strings.Contains(string(body), `"LIMIT_EXCEEDED"`) || !strings.Contains(string(body), `"recordings"`) {
		t.Errorf("REST answers %s", body)
	}

	again, err := c.StartRecording(t.Context(), known)
	if err != nil || again.GetRecording().GetName() != first.GetRecording().GetName() {
		t.Errorf("a request that is known: %v, %v", again, err)
	}
	if _, err := c.StartRecording(t.Context(), startIn("2")); status.Code(err) != codes.AlreadyExists {
		t.Errorf("a class that is on: %v", err)
	}

	watch := func(room string) error {
		stream, err := c.WatchClassBegin(t.Context(), &classrecv1.WatchClassBeginRequest{Room: room})
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	for _, room := range []string{"5", "6"} {
		if err := watch(room); err != nil {
			t.Errorf("watch %s: %v", room, err)
		}
	}
	if got := limitOf(t, watch("-")); got != "process watchers 2" {
		t.Errorf("a third watcher: %s", got)
	}

	// There are as many rooms as may be: those of two recordings and two watchers.
	if _, err := c.GetRecording(t.Context(), &classrecv1.GetRecordingRequest{Name: first.GetRecording().GetName()}); err != nil {
		t.Error(err)
	}
	if _, err := c.ListRecordings(t.Context(), &classrecv1.ListRecordingsRequest{Room: "1"}); err != nil {
		t.Error(err)
	}
	if _, err := c.StopRecording(t.Context(), &classrecv1.StopRecordingRequest{Name: first.GetRecording().GetName()}); err != nil {
		t.Errorf("stop: %v", err)
	}
	if _, err := c.StopRecording(t.Context(), &classrecv1.StopRecordingRequest{Room: "7"}); status.Code(err) != codes.NotFound {
		t.Errorf("stop in a room that is one too many: %v", err)
	}
	// The rooms of what is over are left in a while; whoever comes back gets in then.
	eventually(t, "the place of the recording that is over", func() bool {
		_, err := c.StartRecording(t.Context(), startIn("3"))
		if err != nil && !strings.HasPrefix(limitOf(t, err), "process rooms 4") {
			t.Fatal(err)
		}
		return err == nil
	})
}

func joinClose(err error, c io.Closer) error {
	if closed := c.Close(); err == nil {
		return closed
	}
	return err
}

// Of many starts at once, exactly as many begin as may; after a restart, those
// count that are there.
func TestLimits_Exact(t *testing.T) {
	t.Parallel()
	const most, asked = 5, 60
	cfg := anywhere(t.TempDir())
	cfg.MaxRecordings = most
	r := newRunning(t, cfg)
	c := impatient(t, r)
	var begun atomic.Int64
	var wg sync.WaitGroup
	for n := range asked {
		wg.Go(func() {
			_, err := c.StartRecording(t.Context(), startIn(fmt.Sprint(n)))
			if err == nil {
				begun.Add(1)
			} else if got := limitOf(t, err); got != "process recordings 5" {
				t.Errorf("refused by %s", got)
			}
		})
	}
	wg.Wait()
	if begun.Load() != most {
		t.Errorf("%d have begun, %d may", begun.Load(), most)
	}
	r.stop()

	r = newRunning(t, cfg)
	_, err := impatient(t, r).StartRecording(t.Context(), startIn("another"))
	if got := limitOf(t, err); got != "process recordings 5" {
		t.Errorf("after a restart, refused by %s", got)
	}
}

// A flood of calls of one kind is refused beyond its limit; of other kinds, and
// stops and health checks, nobody is the worse off.
func TestLimits_Calls(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	cfg.MaxCallsPerSecond = 3
	r := newRunning(t, cfg)
	c := impatient(t, r)
	rec, err := c.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: "1", RequestId: "the-first"})
	if err != nil {
		t.Fatal(err)
	}
	flood, stopFlood := context.WithCancel(t.Context())
	var refused atomic.Int64
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := 0; flood.Err() == nil; i++ {
				_, err := c.StartRecording(flood, startIn(fmt.Sprintf("flood-%d-%d", n, i)))
				if flood.Err() == nil && err != nil {
					if got := limitOf(t, err); got != "process calls-per-second 3" {
						t.Errorf("refused by %s", got)
					}
					refused.Add(1)
				}
			}
		})
	}
	eventually(t, "starts to be refused", func() bool { return refused.Load() > 20 })
	if _, err := c.GetRecording(t.Context(), &classrecv1.GetRecordingRequest{Name: rec.GetRecording().GetName()}); err != nil {
		t.Error(err)
	}
	if _, err := c.ListRecordings(t.Context(), &classrecv1.ListRecordingsRequest{Room: "1"}); err != nil {
		t.Error(err)
	}
	if _, err := c.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: "1", RequestId: "the-first"}); err != nil {
		t.Errorf("a request that is known: %v", err)
	}
	for range 10 { // more than the limit
		if _, err := c.StopRecording(t.Context(), &classrecv1.StopRecordingRequest{Name: rec.GetRecording().GetName()}); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	if code := r.do(t, "GET", "/healthz", nil); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}
	stopFlood()
	wg.Wait()
}

// A class that is begun in a room is recorded whatever the limits are, and counts.
func TestLimits_ClassBegunInTheRoom(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	cfg.MaxRecordings = 1
	r := newRunning(t, cfg)
	c := impatient(t, r)
	if _, err := c.StartRecording(t.Context(), startIn("1")); err != nil {
		t.Fatal(err)
	}
	stream, err := c.WatchClassBegin(t.Context(), &classrecv1.WatchClassBeginRequest{Room: "2"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil { // in the room, and in its place
		t.Fatal(err)
	}
	beginInRoom(t, r.Server, "2")
	for {
		msg, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if got := msg.GetEvent().GetRecording(); got.GetRoom() == "2" && got.GetState() == classrecv1.RecordingState_RECORDING_STATE_RECORDING {
			break
		}
	}
	if _, err := c.StopRecording(t.Context(), &classrecv1.StopRecordingRequest{Room: "1"}); err != nil {
		t.Fatal(err)
	}
	_, err = c.StartRecording(t.Context(), startIn("3"))
	if got := limitOf(t, err); got != "process recordings 1" {
		t.Errorf("while the teacher's class is on: %s", got)
	}
}

// beginInRoom begins a class as a teacher's client does; it is there until the
// test ends.
func beginInRoom(t *testing.T, s *server.Server, room talkcloud.RoomID) {
	t.Helper()
	if err := joinAs(t, s, room).Emit(t.Context(), talkcloud.EventPubMsg, talkcloud.ClassBegin{HasRecordType: true, RecordType: 1, RecordChat: true}.Message()); err != nil {
		t.Fatal(err)
	}
}

// joinAs enters a room of the embedded platform, until the test ends.
func joinAs(t *testing.T, s *server.Server, room talkcloud.RoomID) *talkcloud.Conn {
	t.Helper()
	guest, err := talkcloud.New(talkcloud.Config{BaseURL: (&url.URL{Scheme: "http", Host: s.RoomHTTPAddr().String()}).String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { guest.Close() })
	conn, err := guest.Join(t.Context(), talkcloud.JoinOptions{Room: room, Nickname: "guest"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
