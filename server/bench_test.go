// SPDX-License-Identifier: Apache-2.0

//go:build bench

package server_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/benchtest"
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

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// TestBenchTopOfTheHour starts 2,000 classes in 2,000 rooms, spread over one
// second, and counts what came of them and what was written. It is the first test
// of the package, and the file system new to it: ext4 makes files many times
// more slowly where many have been removed in the last minutes.
func TestBenchTopOfTheHour(t *testing.T) {
	const rooms = 2000
	files := makeFiles(t, rooms)
	_, c := benchServer(t)
	took := make([]time.Duration, rooms)
	errs := make([]error, rooms)
	var wg sync.WaitGroup
	cpu, began := benchtest.OwnCPU(t), time.Now()
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
	cpu = benchtest.OwnCPU(t) - cpu
	lost := 0
	for _, err := range errs {
		if err != nil {
			if lost++; lost == 1 {
				t.Log(err)
			}
		}
	}
	benchtest.AtMost(t, fmt.Sprintf("%d Starts in one second: not confirmed", rooms), float64(lost), 0, "")
	benchtest.AtMost(t, fmt.Sprintf("%d Starts in one second: p99", rooms), benchtest.Quantile(took, 0.99).Seconds(), 4, "s")
	written := lastSequence(t, c) - 1 // the first sequence is 2
	benchtest.AtMost(t, fmt.Sprintf("%d Starts in one second: messages written for each", rooms), float64(written)/rooms, 2, "")
	benchtest.Info(t, "making the directories and files of as many recordings and nothing else: %.2f s", files.Seconds())
	benchtest.Info(t, "p50 %.2f s, all confirmed after %.2f s, %.2f ms of CPU each with client, service and room server in one process",
		benchtest.Quantile(took, 0.5).Seconds(), all.Seconds(), milliseconds(cpu)/rooms)
}

// makeFiles makes what the beginning of a recording makes on the disk, many
// times, and returns how long it takes.
func makeFiles(t *testing.T, recordings int) time.Duration {
	t.Helper()
	dir, began := t.TempDir(), time.Now()
	for i := range recordings {
		recording := filepath.Join(dir, fmt.Sprint(i), "1511860322")
		if err := os.MkdirAll(recording, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"class.json", "recording.json"} {
			if err := os.WriteFile(filepath.Join(recording, name), []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return time.Since(began)
}

// TestBenchStart compares StartRecording with a bare client of the wire that
// does the same: enters the room, publishes ClassBegin, and waits for the echo.
// They take turns, each in a room of its own, and the classes go on until the
// test ends, so that the disk is not busy with finishing the ones before. In a
// round of 300 the three slowest are beyond p99, so the median of the rounds
// counts.
func TestBenchStart(t *testing.T) {
	const rounds, starts, warm = 5, 300, 40
	s, c := benchServer(t)
	bare, err := talkcloud.New(talkcloud.Config{BaseURL: (&url.URL{Scheme: "http", Host: s.RoomHTTPAddr().String()}).String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bare.Close() })
	next := 0
	round := func(n int) (wire, api []time.Duration) {
		for range n {
			next++
			wire = append(wire, bareStart(t, bare, talkcloud.RoomID(fmt.Sprintf("bare-%d", next))))
			api = append(api, apiStart(t, c, fmt.Sprintf("api-%d", next)))
		}
		return wire, api
	}
	round(warm)
	over := map[float64][]float64{}
	for range rounds {
		wire, api := round(starts)
		for _, p := range []float64{0.5, 0.99} {
			over[p] = append(over[p], milliseconds(benchtest.Quantile(api, p)-benchtest.Quantile(wire, p)))
		}
		benchtest.Info(t, "bare %.2f / %.2f ms, StartRecording %.2f / %.2f ms (p50 / p99), %d each",
			milliseconds(benchtest.Quantile(wire, 0.5)), milliseconds(benchtest.Quantile(wire, 0.99)),
			milliseconds(benchtest.Quantile(api, 0.5)), milliseconds(benchtest.Quantile(api, 0.99)), starts)
	}
	benchtest.AtMost(t, "Start to confirmed, p50, over a bare wire client's", benchtest.Quantile(over[0.5], 0.5), 3, "ms")
	benchtest.AtMost(t, "Start to confirmed, p99, over a bare wire client's", benchtest.Quantile(over[0.99], 0.5), 8, "ms")
	benchtest.Info(t, "rounds, p50 %.2f and p99 %.2f ms", over[0.5], over[0.99])
}

// apiStart is how long StartRecording takes.
func apiStart(t *testing.T, c *client.Client, room string) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := c.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: room}); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

func bareStart(t *testing.T, c *talkcloud.Client, room talkcloud.RoomID) time.Duration {
	t.Helper()
	began := time.Now()
	conn, err := c.Join(t.Context(), talkcloud.JoinOptions{Room: room, Nickname: "bare"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.Emit(t.Context(), talkcloud.EventPubMsg, talkcloud.ClassBegin{HasRecordType: true, RecordType: 1, RecordChat: true}.Message()); err != nil {
		t.Fatal(err)
	}
	for raw := range conn.Incoming() {
		ev, ok := talkcloud.ParseEvent(raw)
		if ok && ev.Kind == talkcloud.Published && ev.Message.Key() == talkcloud.MessageClassBegin {
			return time.Since(began)
		}
	}
	t.Fatalf("no echo: %v", conn.Err())
	return 0
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

// TestBenchOverload offers ten times the rate of starts that is taken to a server
// that has as many recordings as it may. All of those have to come out whole; a
// watcher of another room is told in at most twice the time, or within 20 ms.
func TestBenchOverload(t *testing.T) {
	o := overload(t, 20, 50, 500, 200, starts)
	benchtest.AtMost(t, "ten times the starts that are taken: p99 of a watch", milliseconds(o.loaded), max(2*milliseconds(o.idle), 20), "ms")
	benchtest.Info(t, "p99 of the watch without that: %.1f ms; 20 recordings of picture and sound, every frame in them, the longest pause %.0f ms", milliseconds(o.idle), milliseconds(o.hole))
}
