// SPDX-License-Identifier: Apache-2.0

//go:build bench

package ingest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/benchtest"
	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/ingest"
	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/recorder"
)

// roleStreams is a process that records many streams, each into a file of its own.
const roleStreams = "streams"

// streamsResult is what it reports about its window.
type streamsResult struct {
	CPU              time.Duration
	Packets, Mallocs uint64
	Lost             uint64
	Resident         float64 // MiB, at the window's end
}

const (
	// residentLimit is what one stream may add to the process, in MiB.
	residentLimit = 0.5
	allocsLimit   = 0.2
)

// TestBench_Streams records 1, 20 and 100 streams of 720p video and sound, and prints the CPU and the memory of each, and
// the allocations of a packet.
func TestBench_Streams(t *testing.T) {
	if benchtest.Role() == roleStreams {
		recordStreams(t)
		return
	}
	base := benchStreams(t, 0).Resident
	for _, n := range []int{1, 20, 100} {
		r := benchStreams(t, n)
		cpu := 100 * r.CPU.Seconds() / benchWindow.Seconds() / float64(n)
		resident := (r.Resident - base) / float64(n)
		allocs := float64(r.Mallocs) / float64(max(r.Packets, 1))
		benchtest.Info(t, "%d streams: %.3f %% of a core, %.2f MiB resident each; %.2f allocations and %.1f µs a packet; %d packets, %d lost",
			n, cpu, resident, allocs, float64(r.CPU.Microseconds())/float64(max(r.Packets, 1)), r.Packets, r.Lost)
		if n == 100 {
			benchtest.AtMost(t, "recording 100 streams, resident memory of each", resident, residentLimit, "MiB")
			benchtest.AtMost(t, "recording 100 streams, allocations of a packet", allocs, allocsLimit, "")
		}
	}
}

// benchStreams has one process record n publishers of this one.
func benchStreams(t *testing.T, n int) streamsResult {
	t.Helper()
	video, audio := mustClip(t, clips.Bench720p), mustClip(t, clips.TeacherAudio)
	c := benchtest.StartSelf(t, "TestBench_Streams", roleStreams)
	c.Tell(n)
	for i := range n {
		pub, err := publisher.Publish(t.Context(), publisher.Config{Video: video, Audio: audio}, func(_ context.Context, offer string) (answer string, err error) {
			c.Tell(offer)
			c.Hear(&answer)
			return answer, nil
		})
		if err != nil {
			t.Fatalf("publisher %d: %v", i, err)
		}
		defer func() { _ = pub.Close() }()
	}
	<-time.After(benchWarmUp)
	c.Tell("start")
	<-time.After(benchWindow)
	c.Tell("stop")
	var r streamsResult
	c.Hear(&r)
	r.Resident = c.RSS() / 1024
	return r
}

// recordStreams is the life of the process that records.
func recordStreams(t *testing.T) {
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	decode := func(v any) {
		if err := in.Decode(v); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	decode(&n)
	s := newServer(t, ingest.Config{})
	rec := recorder.New(recorder.Config{})
	var packets atomic.Uint64
	for i := range n {
		r, err := rec.Start(recorder.Options{Dir: fmt.Sprintf("%s/%d", t.TempDir(), i), Begin: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = r.Stop(context.Background()) })
		var offer string
		decode(&offer)
		_, answer, err := s.Accept(t.Context(), offer, &benchHandler{packets: &packets, recording: r})
		if err != nil {
			t.Fatal(err)
		}
		if err := out.Encode(answer); err != nil {
			t.Fatal(err)
		}
	}
	var command string
	decode(&command)
	if name := os.Getenv("BENCH_PROFILE"); name != "" {
		f, err := os.Create(fmt.Sprintf("%s.%d", name, n))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		if err := pprof.StartCPUProfile(f); err != nil {
			t.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, got := benchtest.OwnCPU(t), packets.Load()
	decode(&command)
	r := streamsResult{CPU: benchtest.OwnCPU(t) - cpu, Packets: packets.Load() - got, Lost: s.Stats().Lost}
	runtime.ReadMemStats(&after)
	r.Mallocs = after.Mallocs - before.Mallocs
	if name := os.Getenv("BENCH_PROFILE"); name != "" {
		f, err := os.Create(fmt.Sprintf("%s.heap.%d", name, n))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		_ = pprof.Lookup("allocs").WriteTo(f, 0)
	}
	if err := out.Encode(r); err != nil {
		t.Fatal(err)
	}
	_ = in.Decode(&command) // the end, when the memory has been looked at
}
