// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

const (
	// childVariable makes a test run as the process that another test kills: its
	// value is the directory.
	childVariable = "CLASSREC_STORE_TEST_DIR"
	// intervalVariable is that process's Config.SyncInterval.
	intervalVariable = "CLASSREC_STORE_TEST_SYNC"
	limitVariable    = "CLASSREC_STORE_TEST_LIMIT"
)

// TestStore_Child changes recordings of many rooms at once until it is killed,
// and prints "room sequence" for each change that was acknowledged.
func TestStore_Child(t *testing.T) {
	dir := os.Getenv(childVariable)
	if dir == "" {
		t.SkipNow() // others run it
	}
	interval, err := time.ParseDuration(os.Getenv(intervalVariable))
	if err != nil {
		t.Fatal(err)
	}
	s := storetest.OpenConfig(t, store.Config{Dir: dir, SyncInterval: interval})
	var out sync.Mutex
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for rec := newRecord(fmt.Sprint("room", i), "id", available); ; {
				e, err := s.Append(context.Background(), rec, revisionOf(t, s, rec))
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				out.Lock()
				fmt.Fprintln(os.Stdout, rec.GetRecording().GetRoom(), e.Revision)
				out.Unlock()
			}
		})
	}
	wg.Wait()
}

func startChild(t *testing.T, dir, interval string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStore_Child$")
	cmd.Env = append(os.Environ(), childVariable+"="+dir, intervalVariable+"="+interval)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

func TestStore_KilledProcessLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	killed(t, "0s")
}

// With an interval, nothing waits for the disk, and yet a process that is killed
// loses nothing that was acknowledged: the kernel has it.
func TestSync_KilledProcessLosesNothing(t *testing.T) {
	t.Parallel()
	killed(t, "1h")
}

func killed(t *testing.T, interval string) {
	t.Helper()
	dir := t.TempDir()
	acknowledged := make(map[uint64]string) // all that any of the processes was told
	for round, lines := range []int{1, 60, 300} {
		cmd, out := startChild(t, dir, interval)
		for n := 0; out.Scan(); n++ {
			room, sequence, _ := strings.Cut(out.Text(), " ")
			revision, err := strconv.ParseUint(sequence, 10, 64)
			if err != nil {
				t.Fatalf("the child says %q", out.Text())
			}
			acknowledged[revision] = room
			if n == lines {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child has ended by itself")
		}
		s := storetest.Open(t, dir)
		kept := make(map[uint64]string)
		w := mustWatch(t, s, everything, 0)
		for last := s.LastSequence(); len(kept) < int(last); { //nolint:gosec // it is small
			e, ok := <-w.C()
			if !ok {
				t.Fatalf("watch: %v", w.Err())
			}
			kept[e.Revision] = e.Record.GetRecording().GetRoom()
		}
		for revision, room := range acknowledged {
			if kept[revision] != room {
				t.Errorf("round %d: %d of %s was acknowledged and is lost", round, revision, room)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A child that a process was just starting when it ended holds a copy of the lock's descriptor for a moment.
func TestOpen_LockHeldForAMoment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := storetest.Open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	held, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }() // a second time, when the test fails before
	if err := syscall.Flock(int(held.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	release := time.AfterFunc(200*time.Millisecond, func() { _ = held.Close() })
	defer release.Stop()
	storetest.Open(t, dir)
}

func TestOpen_OneProcessPerDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/made/here"
	s := storetest.Open(t, dir)
	if _, err := store.Open(t.Context(), store.Config{Dir: dir}); !errors.Is(err, store.ErrLocked) {
		t.Fatalf("second: %v", err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	mustAppend(t, s, newRecord("room", "id", starting))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	storetest.Open(t, dir)
}

func TestOpen_Refuses(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]store.Config{
		"nothing":     {},
		"two places":  {Dir: t.TempDir(), URL: "postgres://127.0.0.1:1/db"},
		"a file":      {Dir: file},
		"no URL":      {URL: "postgres://u:hunter2%zz@127.0.0.1:1/db"},
		"nobody home": {URL: "postgres://u:hunter2@127.0.0.1:1/db"},
	} {
		s, err := store.Open(t.Context(), cfg)
		if err == nil {
			t.Errorf("%s: it opens", name)
			_ = s.Close()
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the password is told: %v", name, err)
		}
	}
}

// A database that was made with another sealing key is refused.
func TestOpen_OtherKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := storetest.OpenConfig(t, store.Config{Dir: dir, Fingerprint: []byte("a")}).Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := store.Open(t.Context(), store.Config{Dir: dir, Fingerprint: []byte("b")}); !errors.Is(err, store.ErrOtherKey) {
		t.Errorf("it opens: %v", err)
		if err == nil {
			_ = s.Close()
		}
	}
}

// sized makes a record of about so many bytes.
func sized(room string, bytes int) *storev1.Record {
	rec := newRecord(room, "id", available)
	rec.ClassBeginData = strings.Repeat("x", bytes)
	return rec
}

// fill appends until the store refuses, and returns the last sequence.
func fill(t testing.TB, s *store.Store) uint64 {
	t.Helper()
	rec := sized("room", 4<<10)
	for range 1000 {
		stored := s.LastSequence()
		_, err := s.Append(t.Context(), rec, revisionOf(t, s, rec))
		if err == nil {
			continue
		}
		if !errors.Is(err, store.ErrUnavailable) || !errors.Is(s.Err(), store.ErrUnavailable) {
			t.Fatalf("append to a full store: %v; err: %v", err, s.Err())
		}
		if s.LastSequence() != stored {
			t.Errorf("it shows %d after %d", s.LastSequence(), stored)
		}
		return stored
	}
	t.Fatal("it is never full")
	return 0
}

func TestStore_FullIsUnavailable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := storetest.OpenConfig(t, store.Config{Dir: dir, MaxBytes: 512 << 10})
	stored := fill(t, s)
	if _, err := s.Get(t.Context(), tenant, "room", "id"); err != nil {
		t.Errorf("get from a full store: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storetest.Open(t, dir) // and no bound
	if s.LastSequence() != stored {
		t.Errorf("%d are there, %d were acknowledged", s.LastSequence(), stored)
	}
	mustAppend(t, s, newRecord("room", "id", available))
}

// The disk has no more room, and then has: a limit on the size of files stands
// for the disk, in a process of its own. TestStore_DiskChild runs there.
func TestStore_DiskFullAndFreed(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStore_DiskChild$", "-test.v")
	cmd.Env = append(os.Environ(), limitVariable+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestStore_DiskChild") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestStore_DiskChild(t *testing.T) {
	if os.Getenv(limitVariable) == "" {
		t.SkipNow() // it limits the whole process: TestStore_DiskFullAndFreed runs it
	}
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := storetest.Open(t, dir)
	w := mustWatch(t, s, everything, 0)
	mustAppend(t, s, newRecord("other", "id", starting))
	small := limit
	small.Cur = 600 << 10
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		t.Fatal(err)
	}
	stored := fill(t, s)
	if _, err := s.Append(t.Context(), sized("more", 4<<10), 0); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("append to a full disk: %v", err)
	}
	if _, err := s.Get(t.Context(), tenant, "room", "id"); err != nil {
		t.Errorf("get from a full disk: %v", err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, newRecord("room", "id", available))
	if s.Err() != nil || s.LastSequence() != stored+1 {
		t.Errorf("last %d, acknowledged before %d; err: %v", s.LastSequence(), stored, s.Err())
	}
	for i := uint64(1); i <= s.LastSequence(); i++ {
		if got := mustReceive(t, w); got != i {
			t.Fatalf("got %d, want %d", got, i)
		}
	}
	last := s.LastSequence()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s = storetest.Open(t, dir); s.LastSequence() != last {
		t.Errorf("after a restart the last is %d, not %d", s.LastSequence(), last)
	}
}
