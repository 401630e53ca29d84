// SPDX-License-Identifier: Apache-2.0

package apitest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// The ways to watch.
const (
	NDJSON Transport = "NDJSON"
	SSE    Transport = "SSE"
)

// Stream is a watch that is under way.
type Stream struct {
	recv  func() (*classrecv1.WatchClassBeginResponse, error)
	close func()
}

// Watch begins a watch over gRPC, NDJSON or SSE; the last resumes with
// Last-Event-ID. It ends with the test.
func (s *Server) Watch(tb testing.TB, way Transport, room string, after uint64) *Stream {
	tb.Helper()
	w, err := s.watch(tb, way, room, after)
	if err != nil {
		tb.Fatalf("watch over %s: %v", way, err)
	}
	return w
}

// AwaitWatch begins a watch, again as long as the answer is UNAVAILABLE, and
// returns it when it is synced, with the events before that.
func (s *Server) AwaitWatch(tb testing.TB, way Transport, room string) (*Stream, []*classrecv1.ClassBeginEvent) {
	tb.Helper()
	ctx := Context(tb)
	for {
		w, err := s.watch(tb, way, room, 0)
		var snapshot []*classrecv1.ClassBeginEvent
		if err == nil {
			snapshot, _, err = w.untilSynced(ctx)
		}
		switch {
		case err == nil:
			return w, snapshot
		case status.Code(err) != codes.Unavailable || ctx.Err() != nil:
			tb.Fatalf("watch over %s: %v", way, err)
		}
	}
}

func (s *Server) watch(tb testing.TB, way Transport, room string, after uint64) (w *Stream, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	if way == GRPC {
		w, err = s.watchGRPC(ctx, room, after)
	} else {
		w, err = s.watchHTTP(ctx, way, room, after)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	release := w.close
	w.close = func() { cancel(); release() }
	tb.Cleanup(w.close)
	return w, nil
}

func (s *Server) watchGRPC(ctx context.Context, room string, after uint64) (*Stream, error) {
	stream, err := s.API().WatchClassBegin(ctx, &classrecv1.WatchClassBeginRequest{Room: room, AfterSequence: after})
	if err != nil {
		return nil, err
	}
	return &Stream{recv: stream.Recv, close: func() {}}, nil
}

func (s *Server) watchHTTP(ctx context.Context, way Transport, room string, after uint64) (*Stream, error) {
	path := s.URL() + "/v1/rooms/" + escape(room) + "/classBegin:watch"
	if way == NDJSON && after > 0 {
		path += "?after_sequence=" + strconv.FormatUint(after, 10)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	if way == SSE {
		r.Header.Set("Accept", "text/event-stream")
		if after > 0 {
			r.Header.Set("Last-Event-ID", strconv.FormatUint(after, 10))
		}
	}
	resp, err := s.life.http.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if _, err := decode(nil, body); status.Code(err) != codes.Unknown {
			return nil, err
		}
		return nil, fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	lines := bufio.NewReader(resp.Body)
	recv := func() (*classrecv1.WatchClassBeginResponse, error) { return readNDJSON(lines) }
	if way == SSE {
		recv = func() (*classrecv1.WatchClassBeginResponse, error) { return readSSE(lines) }
	}
	return &Stream{recv: recv, close: func() { _ = resp.Body.Close() }}, nil
}

func readNDJSON(r *bufio.Reader) (*classrecv1.WatchClassBeginResponse, error) {
	text, err := r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	var line struct{ Result, Error json.RawMessage }
	if err := json.Unmarshal(text, &line); err != nil {
		return nil, err
	}
	return decode(line.Result, line.Error)
}

// readSSE reads an event, and checks that it is named and numbered for what it
// holds.
func readSSE(r *bufio.Reader) (*classrecv1.WatchClassBeginResponse, error) {
	var id, event, data string
	for {
		text, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		text = strings.TrimSuffix(text, "\n")
		if text == "" {
			break
		}
		key, value, _ := strings.Cut(text, ": ")
		switch key {
		case "id":
			id = value
		case "event":
			event = value
		case "data":
			data += value
		}
	}
	if event == "error" {
		return decode(nil, []byte(data))
	}
	m, err := decode([]byte(data), nil)
	if err != nil {
		return nil, err
	}
	if want := strconv.FormatUint(Sequence(m), 10); id != want {
		return nil, fmt.Errorf("event %s has id %q, want %s", event, id, want)
	}
	if want := kind(m); event != want {
		return nil, fmt.Errorf("event is named %s, want %s", event, want)
	}
	return m, nil
}

func decode(result, failure []byte) (*classrecv1.WatchClassBeginResponse, error) {
	if failure != nil {
		var st statuspb.Status
		if err := protojson.Unmarshal(failure, &st); err != nil {
			return nil, err
		}
		return nil, status.ErrorProto(&st)
	}
	m := new(classrecv1.WatchClassBeginResponse)
	return m, protojson.Unmarshal(result, m)
}

// Sequence is the place in the log that a message stands for.
func Sequence(m *classrecv1.WatchClassBeginResponse) uint64 {
	return max(m.GetEvent().GetSequence(), m.GetSynced().GetSequence(), m.GetHeartbeat().GetSequence())
}

// kind is add, remove, synced or heartbeat.
func kind(m *classrecv1.WatchClassBeginResponse) string {
	switch {
	case m.GetSynced() != nil:
		return "synced"
	case m.GetHeartbeat() != nil:
		return "heartbeat"
	case m.GetEvent().GetAction() == classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE:
		return "remove"
	}
	return "add"
}

// Close ends the watch.
func (w *Stream) Close() { w.close() }

// Next waits for the next message.
func (w *Stream) Next(tb testing.TB) *classrecv1.WatchClassBeginResponse {
	tb.Helper()
	return w.next(Context(tb), tb)
}

func (w *Stream) next(ctx context.Context, tb testing.TB) *classrecv1.WatchClassBeginResponse {
	tb.Helper()
	m, err := w.receive(ctx)
	if err != nil {
		tb.Fatalf("watch: %v", err)
	}
	return m
}

// End waits for the end of the stream, passing over heartbeats, and returns
// what it ended in.
func (w *Stream) End(tb testing.TB) Outcome {
	tb.Helper()
	ctx := Context(tb)
	for {
		m, err := w.receive(ctx)
		switch {
		case err == nil && m.GetHeartbeat() != nil:
		case err == nil:
			tb.Fatalf("watch: got %v instead of the end", m)
		case errors.Is(err, io.EOF):
			return Outcome{}
		default:
			return outcomeOf(status.Convert(err))
		}
	}
}

// receive receives until ctx ends; then the stream ends too. Whoever waits
// for more than one message does so within one context: heartbeats come for
// ever.
func (w *Stream) receive(ctx context.Context) (*classrecv1.WatchClassBeginResponse, error) {
	stop := context.AfterFunc(ctx, w.close)
	defer stop()
	return w.recv()
}

// Events waits for so many events, and fails the test when anything but
// heartbeats comes between.
func (w *Stream) Events(tb testing.TB, n int) []*classrecv1.ClassBeginEvent {
	tb.Helper()
	var list []*classrecv1.ClassBeginEvent
	ctx := Context(tb)
	for len(list) < n {
		m := w.next(ctx, tb)
		switch {
		case m.GetEvent() != nil:
			list = append(list, m.GetEvent())
		case m.GetHeartbeat() == nil:
			tb.Fatalf("watch: got %v after %d of %d events", m, len(list), n)
		}
	}
	return list
}

// Synced waits for the end of the snapshot and returns the events before it,
// and where to resume from.
func (w *Stream) Synced(tb testing.TB) (snapshot []*classrecv1.ClassBeginEvent, sequence uint64) {
	tb.Helper()
	snapshot, sequence, err := w.untilSynced(Context(tb))
	if err != nil {
		tb.Fatalf("watch: %v", err)
	}
	return snapshot, sequence
}

func (w *Stream) untilSynced(ctx context.Context) (snapshot []*classrecv1.ClassBeginEvent, sequence uint64, err error) {
	for {
		m, err := w.receive(ctx)
		switch {
		case err != nil:
			return nil, 0, err
		case m.GetEvent() != nil:
			snapshot = append(snapshot, m.GetEvent())
		case m.GetSynced() != nil:
			return snapshot, m.GetSynced().GetSequence(), nil
		}
	}
}
