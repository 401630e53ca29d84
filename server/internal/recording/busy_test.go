// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// entries counts the spans of rooms that were entered.
type entries struct {
	trace.SpanProcessor // nil: there is nothing else to do
	n                   atomic.Int64
}

func (*entries) OnStart(context.Context, trace.ReadWriteSpan) {}
func (*entries) Shutdown(context.Context) error               { return nil }

func (e *entries) OnEnd(span trace.ReadOnlySpan) {
	if span.Name() == "enter room" {
		e.n.Add(1)
	}
}

// What happens in a room from the moment that it is joined is kept, also while the worker still has to store what was
// before.
func TestJoin_WhileStoring(t *testing.T) {
	t.Parallel()
	const classes = 20
	platform := newLister(t, "https://files.example/a.mkv")
	list, dial := make(chan struct{}), make(chan struct{})
	platform.Answer(talkcloud.PathGetUserRecordList, func(w http.ResponseWriter, _ *http.Request) {
		<-list
		_ = json.NewEncoder(w).Encode([]string{"https://files.example/a.mkv"})
	})
	var slow atomic.Bool // connecting waits for dial
	dialing := make(chan struct{}, 16)
	client := platform.NewClient(t, func(c *talkcloud.Config) {
		c.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if slow.Load() {
				dialing <- struct{}{}
				<-dial
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	entered := new(entries)
	traces := trace.NewTracerProvider(trace.WithSpanProcessor(entered))
	storing, stored := make(chan struct{}), make(chan struct{})
	cfg := config()
	cfg.RichRecordList, cfg.SkipFileCheck, cfg.Traces = false, true, traces
	cfg.Hooks.Stored = func(rec *storev1.Record) {
		if rec.GetRecording().GetState() == available && rec.GetRequestId() == "first" {
			close(storing)
			<-stored
		}
	}
	s := newLifeIn(t, storetest.New(t), client, room.Config{}, cfg)
	mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42", RequestId: "first"})
	mustStop(t, s, &classrecv1.StopRecordingRequest{Room: "42"})
	roomservertest.Poll(t, "the room to be left", func() bool { return len(platform.Members("42")) == 0 })

	slow.Store(true)
	watching := make(chan error, 1)
	go func() {
		w, err := s.Watch(testContext(t), &classrecv1.WatchClassBeginRequest{Room: "42"}, nil)
		if err == nil {
			t.Cleanup(w.Close)
		}
		watching <- err
	}()
	<-dialing // the room is being entered
	close(list)
	<-storing // and what was before is being stored
	slow.Store(false)
	close(dial)
	roomservertest.Poll(t, "the room to be entered", func() bool { return entered.n.Load() == 2 })
	m := talkcloud.ClassBegin{}.Message()
	m.FromID = "teacher"
	for range classes {
		platform.Publish("42", m)
		platform.Delete("42", talkcloud.ClassBegin{}.Message())
	}
	close(stored)
	if err := <-watching; err != nil {
		t.Error(err)
	}
	roomservertest.Poll(t, "all of them", func() bool {
		return len(mustList(t, s, &classrecv1.ListRecordingsRequest{Room: "42", PageSize: 100})) == 1+classes
	})
}
