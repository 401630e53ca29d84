// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

// forgetAll forgets all history of a server that is stopped.
func forgetAll(t *testing.T, s *apitest.Server) {
	t.Helper()
	log := storetest.OpenConfig(t, store.Config{
		Dir:       filepath.Join(s.Dir(), "store"),
		Retention: store.Retention{Age: time.Nanosecond, Interval: 300 * time.Millisecond},
	})
	last := log.LastSequence()
	roomservertest.Poll(t, "forgetting", func() bool { return log.Forgotten() == last-1 }) // the last event stays
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

// A watcher that was away for longer than events are kept is told the oldest
// that is left, resumes there, and gets all from there; recordings are all
// listed, and their rooms can be recorded again.
func TestWatch_TooOld(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	classes := func(w *apitest.Stream) []*classrecv1.ClassBeginEvent {
		for range 2 {
			for _, room := range []string{"a", "b"} {
				rec := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"` + room + `"}`})
				s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"name":"` + rec.GetName() + `"}`})
			}
		}
		return w.Events(t, 8)
	}
	w := s.Watch(t, apitest.GRPC, "-", 0)
	w.Synced(t)
	old := classes(w)
	s.Stop()
	forgetAll(t, s)
	s.Start()
	w = s.Watch(t, apitest.GRPC, "-", 0)
	w.Synced(t)
	kept := classes(w)

	out := s.Call(t, apitest.GRPC, apitest.Call{Name: apitest.List, Request: `{"room":"a"}`})
	if n := strings.Count(out.Response, `"rooms/a/recordings/`); out.Code != codes.OK || n != 4 {
		t.Errorf("%d are listed: %v %s", n, out.Code, out.Response)
	}
	for _, way := range watchWays() {
		for _, room := range []string{"-", "a"} {
			oldest := refusedTooOld(t, s, way, room, old[len(old)-3].GetSequence())
			if oldest > kept[0].GetSequence() || oldest < old[len(old)-1].GetSequence() {
				t.Errorf("%s %s: the oldest is said to be %d; the first kept is %d", way, room, oldest, kept[0].GetSequence())
			}
			var want []*classrecv1.ClassBeginEvent
			for _, ev := range slices.Concat(old, kept) {
				if ev.GetSequence() >= oldest && (room == "-" || ev.GetRoom() == room) {
					want = append(want, ev)
				}
			}
			got, _ := s.Watch(t, way, room, oldest-1).Synced(t)
			if !slices.EqualFunc(got, want, func(a, b *classrecv1.ClassBeginEvent) bool { return proto.Equal(a, b) }) {
				t.Errorf("%s %s: resumed with %v, want %v", way, room, got, want)
			}
		}
	}
}

// refusedTooOld watches after a sequence that is not kept, and returns the
// oldest that it is told.
func refusedTooOld(t *testing.T, s *apitest.Server, way apitest.Transport, room string, after uint64) uint64 {
	t.Helper()
	text := strconv.FormatUint(after, 10)
	var metadata map[string]string
	if way == apitest.SSE {
		metadata = refusedSSE(t, s, room, text)
	} else {
		transport := apitest.GRPC
		if way == apitest.NDJSON {
			transport = apitest.REST
		}
		out := s.Call(t, transport, apitest.Call{Name: apitest.Watch, Request: `{"room":"` + room + `","after_sequence":"` + text + `"}`})
		if out.Code != codes.OutOfRange || out.Reason != "SEQUENCE_TOO_OLD" {
			t.Fatalf("%s %s: after %d it is %v %s: %s", way, room, after, out.Code, out.Reason, out.Message)
		}
		metadata = out.Metadata
	}
	oldest, err := strconv.ParseUint(metadata["oldest_sequence"], 10, 64)
	if err != nil {
		t.Fatalf("%s %s: told %v", way, room, metadata)
	}
	return oldest
}

// refusedSSE is what a browser's EventSource meets when it comes back.
func refusedSSE(t *testing.T, s *apitest.Server, room, after string) map[string]string {
	t.Helper()
	r, err := http.NewRequestWithContext(apitest.Context(t), http.MethodGet, s.URL()+"/v1/rooms/"+room+"/classBegin:watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Last-Event-ID", after)
	resp, err := s.HTTP().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var st struct {
		Code    codes.Code
		Details []struct {
			Reason   string
			Metadata map[string]string
		}
	}
	if err := json.Unmarshal(body, &st); err != nil {
		t.Fatalf("status %d: %v: %s", resp.StatusCode, err, body)
	}
	if resp.StatusCode != http.StatusBadRequest || st.Code != codes.OutOfRange {
		t.Fatalf("after %s, SSE gives %d: %s", after, resp.StatusCode, body)
	}
	for _, d := range st.Details {
		if d.Reason == "SEQUENCE_TOO_OLD" {
			return d.Metadata
		}
	}
	t.Fatalf("after %s, SSE gives %s", after, body)
	return nil
}
