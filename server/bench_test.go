// SPDX-License-Identifier: Apache-2.0

//go:build bench

package server_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// benchServer runs a whole server with plain http for its room server.
func benchServer(t *testing.T) (*server.Server, *client.Client) {
	t.Helper()
	s, err := server.New(t.Context(), server.Config{
		GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0", RoomListen: "127.0.0.1:0", RoomHTTPListen: "127.0.0.1:0",
		DataDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	c, err := client.Dial(s.GRPCAddr().String(), client.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, c
}

func percentile(all []time.Duration, p float64) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// row prints one row of the table, and fails when the figure is over its limit.
func row(t *testing.T, work string, reached, limit float64, unit string) {
	t.Helper()
	fmt.Printf("BENCH %-58s %9.2f %-4s at most %9.2f %s\n", work, reached, unit, limit, unit)
	if reached > limit {
		t.Errorf("%s: %.2f %s is over %.2f", work, reached, unit, limit)
	}
}

// TestBenchStart compares StartRecording with a bare client of the wire that
// does the same: enters the room, publishes ClassBegin, and waits for the echo.
// They take turns, each in a room of its own.
func TestBenchStart(t *testing.T) {
	const rounds, warm = 400, 40
	s, c := benchServer(t)
	bare, err := talkcloud.New(talkcloud.Config{BaseURL: (&url.URL{Scheme: "http", Host: s.RoomHTTPAddr().String()}).String()})
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	var wire, api []time.Duration
	for i := range rounds + warm {
		w := bareStart(t, bare, talkcloud.RoomID(fmt.Sprintf("bare-%d", i)))
		began := time.Now()
		res, err := c.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: fmt.Sprintf("api-%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		a := time.Since(began)
		if _, err := c.StopRecording(t.Context(), &classrecv1.StopRecordingRequest{Name: res.GetRecording().GetName()}); err != nil {
			t.Fatal(err)
		}
		if i >= warm {
			wire, api = append(wire, w), append(api, a)
		}
	}
	for _, p := range []struct {
		of    float64
		limit float64
	}{{0.5, 3}, {0.99, 8}} {
		row(t, fmt.Sprintf("Start to confirmed, p%.0f, over a bare wire client's", p.of*100),
			milliseconds(percentile(api, p.of)-percentile(wire, p.of)), p.limit, "ms")
	}
	fmt.Printf("BENCH   bare %.2f / %.2f ms, StartRecording %.2f / %.2f ms (p50 / p99), %d each\n",
		milliseconds(percentile(wire, 0.5)), milliseconds(percentile(wire, 0.99)),
		milliseconds(percentile(api, 0.5)), milliseconds(percentile(api, 0.99)), rounds)
}

func bareStart(t *testing.T, c *talkcloud.Client, room talkcloud.RoomID) time.Duration {
	t.Helper()
	began := time.Now()
	conn, err := c.Join(t.Context(), talkcloud.JoinOptions{Room: room, Nickname: "bare"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Emit(t.Context(), talkcloud.EventPubMsg, talkcloud.ClassBegin{HasRecordType: true, RecordType: 1, RecordChat: true}.Message()); err != nil {
		t.Fatal(err)
	}
	for ev := range conn.Events() {
		if ev.Kind == talkcloud.Published && ev.Message.Key() == talkcloud.MessageClassBegin {
			return time.Since(began)
		}
	}
	t.Fatalf("no echo: %v", conn.Err())
	return 0
}

// TestBenchTopOfTheHour starts 2,000 classes in 2,000 rooms, spread over one
// second, and counts what came of them and what was written.
func TestBenchTopOfTheHour(t *testing.T) {
	const rooms = 2000
	_, c := benchServer(t)
	took := make([]time.Duration, rooms)
	errs := make([]error, rooms)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range rooms {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / rooms)))
		wg.Go(func() {
			asked := time.Now()
			_, errs[i] = c.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: fmt.Sprintf("hour-%d", i)})
			took[i] = time.Since(asked)
		})
	}
	wg.Wait()
	all := time.Since(began)
	lost := 0
	for _, err := range errs {
		if err != nil {
			lost++
			t.Log(err)
		}
	}
	row(t, fmt.Sprintf("%d Starts in one second: not confirmed", rooms), float64(lost), 0, "")
	row(t, fmt.Sprintf("%d Starts in one second: p99", rooms), percentile(took, 0.99).Seconds(), 4, "s")
	last := lastSequence(t, c)
	row(t, fmt.Sprintf("%d Starts in one second: messages written for each", rooms), float64(last)/rooms, 2, "")
	fmt.Printf("BENCH   p50 %.2f s, all confirmed after %.2f s; a write to the disk may hold several messages\n", percentile(took, 0.5).Seconds(), all.Seconds())
}

// lastSequence reads the log's last sequence off a watch.
func lastSequence(t *testing.T, c *client.Client) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := c.WatchClassBegin(ctx, &classrecv1.WatchClassBeginRequest{Room: "-"})
	if err != nil {
		t.Fatal(err)
	}
	for {
		res, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if s := res.GetSynced(); s != nil {
			return s.GetSequence()
		}
	}
}
