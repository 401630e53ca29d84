// SPDX-License-Identifier: Apache-2.0

//go:build bench

package recording_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

const (
	platformRole  = "CLASSREC_BENCH_PLATFORM"
	benchSessions = 2000
	limitIdleKiB  = 48.0
)

// TestBenchIdleSession measures what a room costs that the service only stays
// in: its worker, session, connection, and the watch that keeps it. The room
// server is a process of its own.
func TestBenchIdleSession(t *testing.T) {
	url := platformProcess(t)
	client, err := talkcloud.New(talkcloud.Config{BaseURL: url, EnterpriseKey: roomservertest.Key})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s := newLife(t, storetest.New(t), client, config())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watch := func(roomID string) {
		w, err := s.Watch(ctx, &classrecv1.WatchClassBeginRequest{Room: roomID})
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(w.Close)
	}
	watch("warm")
	before := inUse()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 64)
	for i := range benchSessions {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			watch(fmt.Sprint(i))
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	perSession := float64(inUse()-before) / 1024 / benchSessions
	fmt.Printf("BENCH %-58s %9.2f %-4s at most %9.2f %s\n", fmt.Sprintf("idle room session in the service, of %d", benchSessions), perSession, "KiB", limitIdleKiB, "KiB")
	if perSession > limitIdleKiB {
		t.Errorf("%.2f KiB is over %.2f KiB", perSession, limitIdleKiB)
	}
}

// inUse is the memory of heap and stacks, after the garbage is gone.
func inUse() uint64 {
	for range 3 {
		runtime.GC()
		debug.FreeOSMemory()
		time.Sleep(100 * time.Millisecond) // goroutines that have just ended give back their stacks
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// platformProcess runs TestBenchPlatform in a process of its own.
func platformProcess(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBenchPlatform$")
	cmd.Env = append(os.Environ(), platformRole+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); _ = cmd.Wait() })
	line := make([]byte, 256)
	n, err := stdout.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	return strings.TrimSpace(string(line[:n]))
}

// TestBenchPlatform is the room server of TestBenchIdleSession; by itself it
// does nothing.
func TestBenchPlatform(t *testing.T) {
	if os.Getenv(platformRole) == "" {
		return
	}
	platform := roomservertest.New(t, roomservertest.Plain())
	fmt.Println(platform.URL)
	_, _ = io.Copy(io.Discard, os.Stdin)
}
