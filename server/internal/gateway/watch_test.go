// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/gateway"
)

type watchStream = grpc.ServerStreamingServer[classrecv1.WatchClassBeginResponse]

func added(sequence uint64) *classrecv1.WatchClassBeginResponse {
	return event(sequence, classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD)
}

func removed(sequence uint64) *classrecv1.WatchClassBeginResponse {
	return event(sequence, classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE)
}

func event(sequence uint64, action classrecv1.ClassBeginAction) *classrecv1.WatchClassBeginResponse {
	return &classrecv1.WatchClassBeginResponse{Payload: &classrecv1.WatchClassBeginResponse_Event{Event: &classrecv1.ClassBeginEvent{
		Sequence: sequence, Action: action, Room: "42", Data: "{\"a\":\n1}",
	}}}
}

func synced(sequence uint64) *classrecv1.WatchClassBeginResponse {
	return &classrecv1.WatchClassBeginResponse{Payload: &classrecv1.WatchClassBeginResponse_Synced{Synced: &classrecv1.WatchSynced{Sequence: sequence}}}
}

func heartbeat(sequence uint64) *classrecv1.WatchClassBeginResponse {
	return &classrecv1.WatchClassBeginResponse{Payload: &classrecv1.WatchClassBeginResponse_Heartbeat{Heartbeat: &classrecv1.WatchHeartbeat{Sequence: sequence}}}
}

// tooSlow is an error that ends a stream.
func tooSlow(t *testing.T) error {
	t.Helper()
	st, err := status.New(codes.ResourceExhausted, "too slow").WithDetails(
		&errdetails.ErrorInfo{Reason: "WATCHER_TOO_SLOW", Domain: "classrec.dev", Metadata: map[string]string{"resume_sequence": "9"}})
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

// sends is a watch that sends messages and ends in err.
func sends(err error, messages ...*classrecv1.WatchClassBeginResponse) *service {
	return &service{watch: func(_ *classrecv1.WatchClassBeginRequest, stream watchStream) error {
		for _, m := range messages {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		return err
	}}
}

const watch42 = "/v1/rooms/42/classBegin:watch"

func TestWatch_NDJSON(t *testing.T) {
	t.Parallel()
	base := newGateway(t, sends(tooSlow(t), added(7), synced(8), heartbeat(9)), gateway.Config{})
	a := send(t, "GET", base+watch42, "")
	if a.status != 200 || a.header.Get("Content-Type") != "application/x-ndjson" || a.header.Get("X-Accel-Buffering") != "no" {
		t.Fatalf("%d %v", a.status, a.header)
	}
	lines := strings.Split(strings.TrimSuffix(string(a.body), "\n"), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines: %s", len(lines), a.body)
	}
	var first struct {
		Result struct {
			Event struct{ Sequence, Action, Data string }
		}
	}
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil {
		t.Fatal(err)
	}
	if e := first.Result.Event; e.Sequence != "7" || e.Action != "CLASS_BEGIN_ACTION_ADD" || e.Data != "{\"a\":\n1}" {
		t.Errorf("first line: %s", lines[0])
	}
	var last struct{ Error failure }
	if err := json.Unmarshal([]byte(lines[3]), &last); err != nil {
		t.Fatal(err)
	}
	if last.Error.Code != 8 || last.Error.reason() != "WATCHER_TOO_SLOW" {
		t.Errorf("last line: %s", lines[3])
	}
}

// sent is one Server-Sent Event.
type sent struct{ id, event, data string }

func parseEvents(t *testing.T, text string) []sent {
	t.Helper()
	var events []sent
	for block := range strings.SplitSeq(strings.TrimSuffix(text, "\n\n"), "\n\n") {
		var e sent
		for line := range strings.SplitSeq(block, "\n") {
			field, value, ok := strings.Cut(line, ": ")
			switch {
			case !ok:
				t.Errorf("not a field: %q", line)
			case field == "id":
				e.id = value
			case field == "event":
				e.event = value
			case field == "data":
				e.data = value
				if !json.Valid([]byte(value)) {
					t.Errorf("data is not JSON: %s", value)
				}
			default:
				t.Errorf("unknown field: %q", line)
			}
		}
		events = append(events, e)
	}
	return events
}

func TestWatch_SSE(t *testing.T) {
	t.Parallel()
	base := newGateway(t, sends(tooSlow(t), added(5), synced(6), removed(8), heartbeat(9)), gateway.Config{})
	a := send(t, "GET", base+watch42, "", "Accept", "text/html;q=0.5, text/event-stream")
	if a.status != 200 || a.header.Get("Content-Type") != "text/event-stream" ||
		a.header.Get("X-Accel-Buffering") != "no" || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", a.status, a.header)
	}
	events := parseEvents(t, string(a.body))
	want := []sent{{"5", "add", `"sequence"`}, {"6", "synced", `"synced"`}, {"8", "remove", `"REMOVE`}, {"9", "heartbeat", `"heartbeat"`}, {"", "error", `"WATCHER_TOO_SLOW"`}}
	if len(events) != len(want) {
		t.Fatalf("%d events: %s", len(events), a.body)
	}
	for i, w := range want {
		if e := events[i]; e.id != w.id || e.event != w.event || !strings.Contains(strings.ReplaceAll(e.data, "CLASS_BEGIN_ACTION_", ""), w.data) {
			t.Errorf("event %d is %+v", i, e)
		}
	}
}

// Whoever does not ask for Server-Sent Events does not get them.
func TestWatch_Accept(t *testing.T) {
	t.Parallel()
	base := newGateway(t, sends(nil, synced(1)), gateway.Config{})
	for accept, want := range map[string]string{
		"text/event-stream":               "text/event-stream",
		"Text/Event-Stream; charset=utf8": "text/event-stream",
		"*/*":                             "application/x-ndjson",
		"application/x-ndjson":            "application/x-ndjson",
		"text/event-stream;q=0":           "application/x-ndjson",
	} {
		if got := send(t, "GET", base+watch42, "", "Accept", accept).header.Get("Content-Type"); got != want {
			t.Errorf("Accept: %s gives %s", accept, got)
		}
	}
}

// An error before the first message is an ordinary error, also for SSE.
func TestWatch_RefusedAtOnce(t *testing.T) {
	t.Parallel()
	base := newGateway(t, sends(tooSlow(t)), gateway.Config{})
	for _, accept := range []string{"text/event-stream", "*/*"} {
		a := send(t, "GET", base+watch42, "", "Accept", accept)
		if f := a.failure(t); a.status != 429 || f.reason() != "WATCHER_TOO_SLOW" {
			t.Errorf("%s: %d %s", accept, a.status, a.body)
		}
	}
}

func TestWatch_Request(t *testing.T) {
	t.Parallel()
	requests := make(chan *classrecv1.WatchClassBeginRequest, 1)
	s := &service{watch: func(r *classrecv1.WatchClassBeginRequest, stream watchStream) error {
		requests <- r
		return stream.Send(synced(1))
	}}
	base := newGateway(t, s, gateway.Config{})
	for _, tc := range []struct {
		name, method, path, body, lastID string
		want                             *classrecv1.WatchClassBeginRequest
	}{
		{"plain", "GET", watch42, "", "", &classrecv1.WatchClassBeginRequest{Room: "42"}},
		{"every room", "GET", "/v1/rooms/-/classBegin:watch", "", "", &classrecv1.WatchClassBeginRequest{Room: "-"}},
		{"Chinese", "GET", "/v1/rooms/%E8%AF%BE/classBegin:watch", "", "", &classrecv1.WatchClassBeginRequest{Room: "课"}},
		{"query", "GET", watch42 + "?after_sequence=18446744073709551615", "", "", &classrecv1.WatchClassBeginRequest{Room: "42", AfterSequence: 1<<64 - 1}},
		{"resumed", "GET", watch42, "", "12", &classrecv1.WatchClassBeginRequest{Room: "42", AfterSequence: 12}},
		// An EventSource reconnects to the URL that it began with.
		{"resumed from elsewhere", "GET", watch42 + "?afterSequence=3", "", "12", &classrecv1.WatchClassBeginRequest{Room: "42", AfterSequence: 12}},
		{"body", "POST", watch42, `{"roomPassword":"p","afterSequence":"4"}`, "", &classrecv1.WatchClassBeginRequest{Room: "42", RoomPassword: "p", AfterSequence: 4}},
		{"no body", "POST", watch42, "", "", &classrecv1.WatchClassBeginRequest{Room: "42"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var headers []string
			if tc.lastID != "" {
				headers = []string{"Last-Event-ID", tc.lastID}
			}
			if a := send(t, tc.method, base+tc.path, tc.body, headers...); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			got := <-requests
			if got.GetRoom() != tc.want.GetRoom() || got.GetAfterSequence() != tc.want.GetAfterSequence() || got.GetRoomPassword() != tc.want.GetRoomPassword() {
				t.Errorf("asked for %v", got)
			}
		})
	}
	for _, tc := range []struct{ name, method, path, body, lastID, field string }{
		{"bad id", "GET", watch42, "", "x", "after_sequence"},
		{"bad number", "GET", watch42 + "?after_sequence=-1", "", "", "after_sequence"},
		{"bad body", "POST", watch42, `{"after":1}`, "", "after"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var headers []string
			if tc.lastID != "" {
				headers = []string{"Last-Event-ID", tc.lastID}
			}
			a := send(t, tc.method, base+tc.path, tc.body, headers...)
			if f := a.failure(t); a.status != 400 || f.field() != tc.field {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

// Each message goes out as it comes, and a caller that goes away ends the call.
func TestWatch_LiveAndCanceled(t *testing.T) {
	t.Parallel()
	messages, ended := make(chan *classrecv1.WatchClassBeginResponse), make(chan error, 1)
	s := &service{watch: func(_ *classrecv1.WatchClassBeginRequest, stream watchStream) error {
		for {
			select {
			case m := <-messages:
				if err := stream.Send(m); err != nil {
					ended <- err
					return err
				}
			case <-stream.Context().Done():
				ended <- stream.Context().Err()
				return stream.Context().Err()
			}
		}
	}}
	base := newGateway(t, s, gateway.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+watch42, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		messages <- synced(1)
	}()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-answered
	lines := bufio.NewScanner(resp.Body)
	for sequence := uint64(2); sequence < 5; sequence++ {
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		messages <- added(sequence)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("the call went on")
	}
}

// A caller that reads nothing is cut off, and its call with it.
func TestWatch_ReadsNothing(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	big := added(1)
	big.GetEvent().Data = strings.Repeat("x", 256<<10)
	s := &service{watch: func(_ *classrecv1.WatchClassBeginRequest, stream watchStream) error {
		for {
			if err := stream.Send(big); err != nil {
				ended <- err
				return err
			}
		}
	}}
	conn := dial(t, newGateway(t, s, gateway.Config{WriteTimeout: 50 * time.Millisecond}))
	write(t, conn, "GET "+watch42+" HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := <-ended; errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// A stream that ends long after its last message ends well, and its connection
// serves further requests.
func TestWatch_EndsLate(t *testing.T) {
	t.Parallel()
	const timeout = 5 * time.Millisecond
	s := &service{get: echo().get, watch: func(_ *classrecv1.WatchClassBeginRequest, stream watchStream) error {
		if err := stream.Send(synced(1)); err != nil {
			return err
		}
		<-time.After(4 * timeout) // past the time that the message had to be written
		return nil
	}}
	conn := dial(t, newGateway(t, s, gateway.Config{WriteTimeout: timeout}))
	in := bufio.NewReader(conn)
	for _, path := range []string{watch42, "/v1/rooms/42/recordings/17", watch42} {
		write(t, conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		resp.Body.Close()
	}
}
