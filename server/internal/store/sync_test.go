// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

const syncChild = "CLASSREC_STORE_TEST_SYNC"

// TestSync_Child appends until it is killed, and never syncs: for
// TestSync_KilledProcessLosesNothing.
func TestSync_Child(t *testing.T) {
	dir := os.Getenv(syncChild)
	if dir == "" {
		t.SkipNow() // TestSync_KilledProcessLosesNothing runs it
	}
	s := storetest.OpenConfig(t, store.Config{Dir: dir, SyncInterval: time.Hour})
	for {
		fmt.Fprintln(os.Stdout, mustAppend(t, s, newRecord("room", "id", available)).Revision)
	}
}

// With an interval, nothing waits for the disk, and yet a process that is killed
// loses nothing that was acknowledged: the kernel has it.
func TestSync_KilledProcessLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSync_Child$")
	cmd.Env = append(os.Environ(), syncChild+"="+dir)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	lines := bufio.NewScanner(pipe)
	for n := 0; lines.Scan(); n++ {
		if last, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			t.Fatalf("the child says %q", lines.Text())
		}
		if n == 300 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child has ended by itself")
	}
	s := storetest.Open(t, dir)
	if got := s.RoomRevision(tenant, "room"); got < last {
		t.Errorf("the room is at %d, %d was acknowledged", got, last)
	}
	w := mustWatch(t, s, everything, 0)
	for want := uint64(1); want <= last; want++ {
		if got := mustReceive(t, w); got != want {
			t.Fatalf("got %d, want %d", got, want)
		}
	}
}

// With an interval, writes are not synced one by one, before and after the
// server has recovered its files.
func TestSync_Interval(t *testing.T) {
	t.Parallel()
	s := storetest.OpenConfig(t, store.Config{Dir: t.TempDir(), SyncInterval: 200 * time.Millisecond})
	for range 2 {
		if store.Syncs(s) {
			t.Fatal("each write is synced")
		}
		if got := store.SyncInterval(s); got != 200*time.Millisecond {
			t.Fatalf("it syncs every %v", got)
		}
		mustAppend(t, s, newRecord("room", "id", available))
		if err := store.Recover(s); err != nil {
			t.Fatal(err)
		}
	}
}
