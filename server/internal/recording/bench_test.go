// SPDX-License-Identifier: Apache-2.0

//go:build bench

package recording_test

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/benchtest"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

const (
	benchSessions = 2000
	limitIdleKiB  = 48.0
)

// TestBenchIdleSession measures what a room costs that the service only stays
// in: its worker, session, connection, and the watch that keeps it. The room
// server is a process of its own.
func TestBenchIdleSession(t *testing.T) {
	if benchtest.Role() != "" {
		servePlatform(t)
		return
	}
	var url string
	benchtest.StartSelf(t, "TestBenchIdleSession", "platform").Hear(&url)
	client, err := talkcloud.New(talkcloud.Config{BaseURL: url, EnterpriseKey: roomservertest.Key})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s := newLife(t, storetest.New(t), client, config())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watch := func(roomID string) {
		w, err := s.Watch(ctx, &classrecv1.WatchClassBeginRequest{Room: roomID}, nil)
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
	benchtest.AtMost(t, fmt.Sprintf("idle room session in the service, of %d, heap and stacks", benchSessions), perSession, limitIdleKiB, "KiB")
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

// servePlatform is the room server in its own process.
func servePlatform(t *testing.T) {
	benchtest.Serve(t, roomservertest.New(t, roomservertest.Plain()).URL)
}
