// SPDX-License-Identifier: Apache-2.0

//go:build bench

package service_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/benchtest"
	"github.com/classrec/classrec/server/internal/recording"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/service"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

const (
	benchWatchers = 10000
	benchEvents   = 50 // in one burst; fewer than a watcher may leave unread
	benchRounds   = 9
	benchConns    = 20
)

// rawCodec hands out received bytes without decoding, so that both servers are
// measured with the same, cheap client.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, err := proto.Marshal(v.(proto.Message))
	return mem.BufferSlice{mem.SliceBuffer(b)}, err
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*int) = data.Len()
	return nil
}

// TestBenchFanOut compares the delivery of class events to 10,000 watchers with
// a bare grpc-go server that streams the same bytes to as many. They take turns.
func TestBenchFanOut(t *testing.T) {
	ours := newWatched(t)
	bare := newBare(t, ours.sample(t))
	var ratios, oursRates, bareRates []float64
	for round := range benchRounds {
		var a, b float64
		if round%2 == 0 {
			a, b = ours.crowd.burst(t, ours.publish), bare.crowd.burst(t, bare.publish)
		} else {
			b, a = bare.crowd.burst(t, bare.publish), ours.crowd.burst(t, ours.publish)
		}
		ratios, oursRates, bareRates = append(ratios, a/b), append(oursRates, a), append(bareRates, b)
	}
	benchtest.AtLeast(t, fmt.Sprintf("one event to %d watchers, rate of a bare grpc-go server's", benchWatchers), benchtest.Quantile(ratios, 0.5), 0.8, "")
	benchtest.Info(t, "%.0f and %.0f deliveries a second, bursts of %d events, synced writes included; rounds %.2f",
		benchtest.Quantile(oursRates, 0.5), benchtest.Quantile(bareRates, 0.5), benchEvents, ratios)
}

// crowd is many streams that count what they get.
type crowd struct {
	got  atomic.Int64
	want atomic.Int64
	done chan struct{}
}

func newCrowd(t *testing.T, addr, method string, req proto.Message, ready int) *crowd {
	t.Helper()
	c := &crowd{done: make(chan struct{}, 1)}
	c.want.Store(int64(ready) * benchWatchers)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	for range benchConns {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		for range benchWatchers / benchConns {
			stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.SendMsg(req); err != nil {
				t.Fatal(err)
			}
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				var n int
				for stream.RecvMsg(&n) == nil {
					if c.got.Add(1) == c.want.Load() {
						c.done <- struct{}{}
					}
				}
			})
		}
	}
	if ready > 0 {
		c.wait(t)
	}
	return c
}

func (c *crowd) wait(t *testing.T) {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(2 * time.Minute):
		t.Fatalf("%d of %d messages came", c.got.Load(), c.want.Load())
	}
}

// burst returns deliveries a second.
func (c *crowd) burst(t *testing.T, publish func(t *testing.T)) float64 {
	t.Helper()
	runtime.GC()
	c.want.Add(benchEvents * benchWatchers)
	began := time.Now()
	publish(t)
	c.wait(t)
	return benchEvents * benchWatchers / time.Since(began).Seconds()
}

// watched is the real service, over a log into which the bench writes events.
type watched struct {
	store *store.Store
	crowd *crowd
	round int
}

func newWatched(t *testing.T) *watched {
	t.Helper()
	w := &watched{store: storetest.New(t)}
	client, err := talkcloud.New(talkcloud.Config{BaseURL: "https://127.0.0.1:1"}) // never asked: the watch is of all rooms
	if err != nil {
		t.Fatal(err)
	}
	rooms := room.NewManager(client, room.Config{})
	rec := recording.New(w.store, rooms, client, recording.Config{Heartbeat: time.Hour})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- rec.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; rooms.Close(); client.Close() })

	options, err := service.ServerOptions(service.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(options...)
	service.New(map[string]*recording.Service{auth.DefaultTenant: rec}).Register(s)
	addr := serve(t, s)
	w.crowd = newCrowd(t, addr, classrecv1.RecordingService_WatchClassBegin_FullMethodName, &classrecv1.WatchClassBeginRequest{Room: "-"}, 1)
	return w
}

func (w *watched) record(i int) *storev1.Record {
	at := timestamppb.New(time.Unix(1511860322, 0))
	roomID := fmt.Sprintf("room-%04d-%04d", w.round, i)
	return &storev1.Record{
		Tenant: "default", Id: fmt.Sprintf("%04d-%04d", w.round, i),
		Recording: &classrecv1.Recording{
			Name: recording.Name(roomID, 1511860322, 1), Room: roomID, UserId: "aa37d39d-3426-0541-c23e-06e9e5a29287",
			State: classrecv1.RecordingState_RECORDING_STATE_RECORDING, RecordTime: at, CreateTime: at, UpdateTime: at,
		},
		Event: &classrecv1.ClassBeginEvent{
			Action: classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD, Room: roomID, MessageId: "ClassBegin", Time: at,
			Data: `{"recordtype":"1","convert":0,"layout":0,"recordchat":true}`,
		},
	}
}

func (w *watched) publish(t *testing.T) {
	w.round++
	var wg sync.WaitGroup
	for i := range benchEvents {
		wg.Go(func() {
			if _, err := w.store.Append(t.Context(), w.record(i), 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// sample is an event as it goes over the wire.
func (w *watched) sample(t *testing.T) []byte {
	t.Helper()
	rec := w.record(0)
	ev := rec.GetEvent()
	ev.Sequence, ev.Recording = 1000, rec.GetRecording()
	raw, err := proto.Marshal(&classrecv1.WatchClassBeginResponse{Payload: &classrecv1.WatchClassBeginResponse_Event{Event: ev}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// bare is a grpc-go server that does nothing but send the same bytes to all its
// streams, each of which waits on a channel.
type bare struct {
	crowd *crowd
	bytes []byte
	mu    sync.Mutex
	all   []chan struct{}
}

type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }
func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error { return nil }

func newBare(t *testing.T, raw []byte) *bare {
	t.Helper()
	b := &bare{bytes: raw}
	s := grpc.NewServer(grpc.ForceServerCodecV2(bytesCodec{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		var req []byte
		if err := stream.RecvMsg(&req); err != nil {
			return err
		}
		events := make(chan struct{}, 2*benchEvents)
		b.mu.Lock()
		b.all = append(b.all, events)
		b.mu.Unlock()
		if err := stream.SendMsg(b.bytes); err != nil {
			return err
		}
		for {
			select {
			case <-events:
				if err := stream.SendMsg(b.bytes); err != nil {
					return err
				}
			case <-stream.Context().Done():
				return nil
			}
		}
	}))
	b.crowd = newCrowd(t, serve(t, s), "/bare/Watch", &classrecv1.WatchClassBeginRequest{}, 1)
	return b
}

func (b *bare) publish(*testing.T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range benchEvents {
		for _, events := range b.all {
			events <- struct{}{}
		}
	}
}

func serve(t *testing.T, s *grpc.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l.Addr().String()
}
