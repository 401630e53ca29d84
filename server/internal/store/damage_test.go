// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

const damageRooms = 20

// fillForDamage makes a database with recordings of some rooms in it, one of
// each unfinished, and returns its bytes.
func fillForDamage(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	s := storetest.Open(t, dir)
	for i := range 200 {
		rec := newRecord(fmt.Sprint("room", i%damageRooms), fmt.Sprintf("id%03d", i), starting)
		rec.ClassBeginData = strings.Repeat("x", 300)
		mustAppend(t, s, rec)
		if i < 200-damageRooms {
			rec = newRecord(rec.GetRecording().GetRoom(), rec.GetId(), available)
			rec.RequestId = "request" + rec.GetId()
			mustAppend(t, s, rec)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, store.DatabaseName))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// readAll reads everything that a database should have, and says whether
// anything was missing, and whether anything was told: by an error, by an entry
// that is damaged, or in the log.
func readAll(t *testing.T, dir string) (missing []string, told bool) {
	t.Helper()
	var log bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := store.Open(ctx, store.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		return nil, true
	}
	defer func() { _ = s.Close() }()
	known := func(err error) {
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			told = true
		}
	}
	listed := map[string]bool{}
	page, _, _, err := s.List(ctx, tenant, store.Filter{}, store.Cursor{}, 1000)
	known(err)
	for _, e := range page {
		listed[e.Record.GetId()] = true
		told = told || e.Damaged
	}
	for i := range 200 {
		id, room := fmt.Sprintf("id%03d", i), fmt.Sprint("room", i%damageRooms)
		if _, err := s.Get(ctx, tenant, room, id); err != nil {
			known(err)
			missing = append(missing, "get "+id)
		}
		if i < 200-damageRooms && !listed[id] {
			missing = append(missing, "list "+id)
		}
		if i < 200-damageRooms {
			if _, err := s.ByRequestID(ctx, tenant, "request"+id); err != nil {
				known(err)
				missing = append(missing, "request "+id)
			}
		}
	}
	w, err := s.Watch(ctx, everything, 0)
	known(err)
	if err == nil {
		for read := true; read; {
			select {
			case _, read = <-w.C():
			case <-w.CaughtUp():
				read = false
			}
		}
		w.Close()
	}
	return missing, told || s.Damages() > 0 || strings.Contains(log.String(), "level=ERROR")
}

// damage changes a database at random.
func damage(r *rand.Rand, data []byte) (damaged []byte, what string) {
	damaged = bytes.Clone(data)
	at := r.IntN(len(data))
	switch r.IntN(10) {
	case 0:
		return damaged[:at], fmt.Sprintf("cut at %d", at)
	case 1:
		return nil, "emptied"
	case 2:
		n := min(1+r.IntN(5000), len(data)-at)
		clear(damaged[at : at+n])
		return damaged, fmt.Sprintf("%d zeros at %d", n, at)
	default:
		bit := byte(1) << r.IntN(8)
		damaged[at] ^= bit
		return damaged, fmt.Sprintf("bit %d at %d", bit, at)
	}
}

// Whatever is damaged in the database, nothing is lost without a word: either
// all can be read as before, or reading it or the check tells. And it never hangs.
func TestDamage_IsNeverSilent(t *testing.T) {
	t.Parallel()
	data := fillForDamage(t)
	harmless, told, byCheck := 0, 0, 0
	for round := range damageRounds {
		r := rand.New(rand.NewPCG(1, uint64(round)))
		damaged, what := damage(r, data)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, store.DatabaseName), damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, store.MarkerName), []byte("x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		found := 0
		_, errCheck := store.Check(t.Context(), store.Config{Dir: dir}, func(string) { found++ })
		missing, noticed := readAll(t, dir)
		switch {
		case noticed:
			told++
		case found > 0 || errCheck != nil:
			byCheck++ // the server finds it soon, since it checks itself
		case len(missing) > 0:
			t.Errorf("round %d, %s: lost without a word: %v", round, what, missing)
		default:
			harmless++
		}
	}
	t.Logf("%d damages: %d told when read, %d by the check, %d harmless", damageRounds, told, byCheck, harmless)
}

// A recording whose row is damaged costs that recording alone, and is shown as
// such; where its event is whole, it is read from that.
func TestDamage_OneRow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := storetest.Open(t, dir)
	for _, id := range []string{"a", "b", "c"} {
		mustAppend(t, s, newRecord("room", id, available))
	}
	mustAppend(t, s, newRecord("other", "live", recording))
	if err := store.Spoil(t.Context(), s, "a", "live"); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Get(t.Context(), tenant, "room", "a"); err != nil || e.Damaged || s.Damages() != 1 {
		t.Fatalf("with its event: %v, %v; %d damages", e, err, s.Damages())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storetest.Open(t, dir)
	if live, ok := s.Live(tenant, "other"); !ok || live.Record.GetId() != "live" || s.Damages() != 1 {
		t.Errorf("opened again, %v is live; %d damages", live, s.Damages())
	}

	// Without events, it is lost, and said.
	if err := store.Spoil(t.Context(), s, "b", "live"); err != nil {
		t.Fatal(err)
	}
	if err := store.Forget(s, s.LastSequence()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), tenant, "room", "b"); !errors.Is(err, store.ErrDataLoss) {
		t.Errorf("get: %v", err)
	}
	page, _, _, err := s.List(t.Context(), tenant, store.Filter{Room: "room"}, store.Cursor{}, 10)
	if err != nil || len(page) != 3 || page[0].Damaged || !page[1].Damaged || page[2].Damaged {
		t.Fatalf("listed are %v, %v", page, err)
	}
	if r := page[1].Record.GetRecording(); r.GetName() != "rooms/room/recordings/b" || r.GetFailure().GetCode() != 15 {
		t.Errorf("it is listed as %v", r)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// The room of the one that was live can have another.
	s = storetest.Open(t, dir)
	mustAppend(t, s, newRecord("other", "next", starting))
}

// A backup is made while the store is written, is whole, and has a history of
// its own; what is damaged makes none.
func TestBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := storetest.Open(t, dir)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ctx.Err() == nil; i++ {
			_, _ = s.Append(ctx, newRecord("room", fmt.Sprint("id", i), available), 0)
		}
	}()
	waitFor(t, func() bool { return s.LastSequence() > 100 })
	before := s.LastSequence()
	file := filepath.Join(t.TempDir(), "copy.db")
	if err := store.Backup(t.Context(), store.Config{Dir: dir}, file); err != nil {
		t.Fatal(err)
	}
	stop()
	<-ended
	if err := store.Backup(t.Context(), store.Config{Dir: dir}, file); err == nil {
		t.Error("it overwrites a file")
	}
	restored := t.TempDir()
	if err := os.Rename(file, filepath.Join(restored, store.DatabaseName)); err != nil {
		t.Fatal(err)
	}
	sum, err := store.Check(t.Context(), store.Config{Dir: restored}, func(problem string) { t.Error(problem) })
	if err != nil || sum.Last < before || sum.Recordings < int(before) || sum.History == s.HistoryID() {
		t.Errorf("it has %+v, %v; %d were stored", sum, err, before)
	}
	again := storetest.Open(t, restored)
	if again.HistoryID() == s.HistoryID() || again.LastSequence() < before {
		t.Errorf("restored, it is %s at %d", again.HistoryID(), again.LastSequence())
	}

	if err := store.Spoil(t.Context(), s, "id1"); err != nil {
		t.Fatal(err)
	}
	if err := store.Backup(t.Context(), store.Config{Dir: dir}, file); !errors.Is(err, store.ErrDataLoss) {
		t.Errorf("of a damaged one: %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a copy of a damaged one is left: %v", err)
	}
}
