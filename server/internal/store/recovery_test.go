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
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

// childVariable makes the test binary run as the process that a test kills:
// its value is the directory.
const childVariable = "CLASSREC_STORE_TEST_DIR"

// childMain appends to a few rooms, alone and in crowds, until it is killed,
// and prints "room sequence" for each change that was acknowledged.
func childMain(dir string) {
	s, err := store.Open(context.Background(), store.Config{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	var out sync.Mutex
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			room := fmt.Sprint("room", i)
			for {
				e, err := s.Append(context.Background(), newRecord(room, "id", available), s.RoomRevision(tenant, room))
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				out.Lock()
				fmt.Fprintln(os.Stdout, room, e.Revision)
				out.Unlock()
			}
		})
	}
	wg.Wait()
}

// startChild starts this binary on dir and returns its output.
func startChild(t *testing.T, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+dir)
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
	dir := t.TempDir()
	acknowledged := make(map[uint64]string) // all that any of the processes was told
	revisions := make(map[string]uint64)
	for round, lines := range []int{1, 60, 300} {
		cmd, out := startChild(t, dir)
		for n := 0; out.Scan(); n++ {
			room, sequence, _ := strings.Cut(out.Text(), " ")
			revision, err := strconv.ParseUint(sequence, 10, 64)
			if err != nil {
				t.Fatalf("the child says %q", out.Text())
			}
			acknowledged[revision] = room
			revisions[room] = max(revisions[room], revision)
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
		for room, revision := range revisions {
			if s.RoomRevision(tenant, room) < revision {
				t.Errorf("round %d: %s is at %d, %d was acknowledged", round, room, s.RoomRevision(tenant, room), revision)
			}
		}
		w := mustWatch(t, s, everything, 0)
		kept := make(map[uint64]string)
		for last := s.LastSequence(); last > 0; {
			e, ok := <-w.C()
			if !ok {
				t.Fatalf("watch: %v", w.Err())
			}
			kept[e.Revision] = e.Record.GetRecording().GetRoom()
			if e.Revision == last {
				break
			}
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

func TestStore_RestartKeepsAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := storetest.Open(t, dir)
	for i := range 40 {
		room, id := fmt.Sprint("room", i%7), fmt.Sprintf("id%02d", i)
		mustAppend(t, s, newRecord(room, id, starting))
		if i < 38 {
			mustAppend(t, s, newRecord(room, id, available))
		}
	}
	state := func(s *store.Store) string {
		var b strings.Builder
		page, _, more := s.List(tenant, store.Filter{}, store.Cursor{}, 100)
		fmt.Fprintln(&b, s.LastSequence(), len(page), more)
		for _, e := range append(page, s.Unfinished()...) {
			fmt.Fprintln(&b, e.Revision, e.Record.GetId(), e.Record.GetRecording().GetState())
		}
		for i := range 7 {
			fmt.Fprintln(&b, s.RoomRevision(tenant, fmt.Sprint("room", i)))
		}
		return b.String()
	}
	want := state(s)
	w := mustWatch(t, s, everything, 10)
	for i := uint64(11); i <= 20; i++ {
		mustReceive(t, w)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storetest.OpenConfig(t, store.Config{Dir: dir, History: 20})
	if got := state(s); got != want {
		t.Fatalf("before:\n%s\nafter:\n%s", want, got)
	}
	w = mustWatch(t, s, everything, 20)
	for i := uint64(21); i <= s.LastSequence(); i++ {
		if got := mustReceive(t, w); got != i {
			t.Fatalf("resumed after the restart: got %d, want %d", got, i)
		}
	}
	mustAppend(t, s, newRecord("room0", "new", starting))
	if got := mustReceive(t, w); got != s.LastSequence() {
		t.Fatalf("the first live one is %d", got)
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
	s, err := store.Open(t.Context(), store.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
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
	if err := storetest.Open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpen_Refuses(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]store.Config{
		"nothing":     {},
		"two places":  {Dir: t.TempDir(), NATSURL: "nats://127.0.0.1:1"},
		"a file":      {Dir: file},
		"nobody home": {NATSURL: "nats://127.0.0.1:1"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // it waits for a NATS server
		if s, err := store.Open(ctx, cfg); err == nil {
			t.Errorf("%s: it opens", name)
			_ = s.Close()
		}
		cancel()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.Open(ctx, store.Config{Dir: t.TempDir()}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v", err)
	}
}

// Messages that cannot be understood, and those that belong elsewhere, are
// skipped, when the store is opened and when they come while it is open. They
// move their room all the same, so that a compare-and-set stays right.
func TestStore_SkipsWhatItCannotUnderstand(t *testing.T) {
	t.Parallel()
	n := newNATS(t)
	s := n.open(t)
	w := mustWatch(t, s, everything, 0)
	mustAppend(t, s, newRecord("room", "good", starting))
	js := n.connect(t)
	for subject, data := range map[string][]byte{
		store.Subject(tenant, "room", "bad"):      []byte("\xff garbage"),
		store.Subject(tenant, "room", "empty"):    nil,
		store.Subject(tenant, "room", "stranger"): store.Encode(newRecord("room", "good", available)),
		"classrec.log.odd":                        []byte("x"),
	} {
		if _, err := js.Publish(t.Context(), subject, data); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { return s.Skipped() == 4 && s.LastSequence() == 5 })
	check := func(s *store.Store) {
		t.Helper()
		if live, ok := s.Live(tenant, "room"); !ok || live.Revision != 1 {
			t.Errorf("live is %v", live)
		}
		if e := mustAppend(t, s, newRecord("room", "good", starting)); e.Revision != s.LastSequence() {
			t.Errorf("appended %d, last is %d", e.Revision, s.LastSequence())
		}
	}
	again := n.open(t)
	if again.Skipped() != 11 { // four as last messages, three of recordings when looking for what was before, four as history
		t.Errorf("%d were skipped at open", again.Skipped())
	}
	check(again)
	for _, want := range []uint64{1, 6} {
		if got := mustReceive(t, w); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
}

// A recording whose newest message cannot be understood is in the state of the
// one before, also for a process that comes later, and can be changed.
func TestStore_NewestCannotBeUnderstood(t *testing.T) {
	t.Parallel()
	n := newNATS(t)
	s := n.open(t)
	mustAppend(t, s, newRecord("room", "id", starting))
	mustAppend(t, s, newRecord("room", "id", recording))
	if _, err := n.connect(t).Publish(t.Context(), store.Subject(tenant, "room", "id"), []byte("\xff garbage")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return s.LastSequence() == 3 })
	for _, s := range []*store.Store{s, n.open(t)} {
		e, err := s.Get(tenant, "room", "id")
		if err != nil || e.Revision != 2 || s.RoomRevision(tenant, "room") != 3 {
			t.Fatalf("it is %v, %v; its room is at %d", e, err, s.RoomRevision(tenant, "room"))
		}
		if list, _, _ := s.List(tenant, store.Filter{Room: "room"}, store.Cursor{}, 10); len(list) != 1 {
			t.Errorf("listed are %v", list)
		}
	}
	mustAppend(t, n.open(t), newRecord("room", "id", available))
}

func TestStore_ServerGoesAndComes(t *testing.T) {
	t.Parallel()
	n := newNATS(t)
	s := n.open(t)
	w := mustWatch(t, s, everything, 0)
	mustAppend(t, s, newRecord("room", "id", starting))
	if s.Err() != nil {
		t.Errorf("err: %v", s.Err())
	}
	n.restart(t, func() {
		if _, err := s.Append(t.Context(), newRecord("room", "id", recording), 1); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("append without a server: %v", err)
		}
		if !errors.Is(s.Err(), store.ErrUnavailable) {
			t.Errorf("err: %v", s.Err())
		}
		if _, ok := s.Live(tenant, "room"); !ok {
			t.Error("reads need the server")
		}
	})
	// What was sent while it was away may have been stored after all.
	appendSome(t, s)
	if s.Err() != nil {
		t.Errorf("err: %v", s.Err())
	}
	for i := uint64(1); i <= s.LastSequence(); i++ {
		if got := mustReceive(t, w); got != i {
			t.Errorf("got %d, want %d", got, i)
		}
	}
}

func TestStore_FullIsUnavailable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := storetest.OpenConfig(t, store.Config{Dir: dir, MaxBytes: 64 << 10})
	stored := fill(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storetest.Open(t, dir) // and no bound
	if s.LastSequence() != stored {
		t.Errorf("%d are there, %d were acknowledged", s.LastSequence(), stored)
	}
	mustAppend(t, s, newRecord("room", "id", available))
}

// fill appends until the store refuses, and returns the last sequence.
func fill(t testing.TB, s *store.Store) uint64 {
	t.Helper()
	rec := sized("room", 4<<10)
	for range 1000 {
		stored := s.LastSequence()
		begin := time.Now()
		_, err := s.Append(t.Context(), rec, s.RoomRevision(tenant, "room"))
		if err == nil {
			continue
		}
		if !errors.Is(err, store.ErrUnavailable) || !errors.Is(s.Err(), store.ErrUnavailable) {
			t.Fatalf("append to a full store: %v; err: %v", err, s.Err())
		}
		if took := time.Since(begin); took > 8*time.Second { // of the ten that an answer is waited for
			t.Errorf("it took %v to say so", took)
		}
		if s.LastSequence() != stored {
			t.Errorf("it shows %d after %d", s.LastSequence(), stored)
		}
		return stored
	}
	t.Fatal("it is never full")
	return 0
}

// It syncs each write, and goes on so when it has recovered its files; a
// watcher does not notice.
func TestStore_SyncsBeforeAndAfterRecovery(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	w := mustWatch(t, s, everything, 0)
	for range 3 {
		if !store.Syncs(s) {
			t.Fatal("writes are not synced")
		}
		e := mustAppend(t, s, newRecord("room", "id", available))
		if got := mustReceive(t, w); got != e.Revision {
			t.Fatalf("got %d, want %d", got, e.Revision)
		}
		if err := store.Recover(s); err != nil {
			t.Fatal(err)
		}
	}
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

// sized makes a record of about so many bytes.
func sized(room string, bytes int) *storev1.Record {
	rec := newRecord(room, "id", available)
	rec.ClassBeginData = strings.Repeat("x", bytes)
	return rec
}

// appendSome appends as soon as it can.
func appendSome(t testing.TB, s *store.Store) {
	t.Helper()
	waitFor(t, func() bool {
		_, err := s.Append(t.Context(), newRecord("room", "id", available), s.RoomRevision(tenant, "room"))
		if err != nil && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrConflict) {
			t.Fatalf("append: %v", err)
		}
		return err == nil
	})
}

const limitVariable = "CLASSREC_STORE_TEST_LIMIT"

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
	small.Cur = 100 << 10
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		t.Fatal(err)
	}
	stored := fill(t, s)
	if _, err := s.Append(t.Context(), sized("more", 4<<10), 0); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("append to a full disk: %v", err)
	}
	// Some room again, which a shared write uses up.
	small.Cur += 30 << 10
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		t.Fatal(err)
	}
	appendSome(t, s)
	var wg sync.WaitGroup
	var refused atomic.Int64
	for i := range 60 {
		wg.Go(func() {
			_, err := s.Append(t.Context(), sized(fmt.Sprint("crowd", i), 1<<10), 0)
			if errors.Is(err, store.ErrUnavailable) {
				refused.Add(1)
			} else if err != nil {
				t.Errorf("append to a full disk: %v", err)
			}
		})
	}
	wg.Wait()
	if refused.Load() == 0 {
		t.Error("all of the crowd found room")
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	appendSome(t, s)
	if s.Err() != nil {
		t.Errorf("err: %v", s.Err())
	}
	if s.LastSequence() <= stored {
		t.Errorf("last %d, acknowledged before %d", s.LastSequence(), stored)
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
