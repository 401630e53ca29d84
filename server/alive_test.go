// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/classrec/classrec/server"
)

// A server that runs notes every second that it is alive, and once more when it
// stops. One that is only made notes nothing: it has recorded nothing.
func TestServer_NotesThatItIsAlive(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	path := filepath.Join(cfg.DataDir, "lives")
	s, err := server.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a server that did not run has noted that it was alive")
	}
	noted := func() time.Time {
		files, err := os.ReadDir(path)
		if err != nil || len(files) != 1 {
			return time.Time{}
		}
		info, err := files[0].Info()
		if err != nil {
			return time.Time{}
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("mode %v", mode)
		}
		return info.ModTime()
	}
	r := newRunning(t, cfg)
	for at, limit := noted(), time.Now().Add(30*time.Second); ; time.Sleep(10 * time.Millisecond) {
		if now := noted(); !at.IsZero() && now.After(at) {
			break
		} else if at.IsZero() {
			at = now
		}
		if time.Now().After(limit) {
			t.Fatal("it is not noted again")
		}
	}
	stopping := time.Now().Truncate(10 * time.Millisecond) // as coarse as a file system may be
	r.stop()
	if at := noted(); at.Before(stopping) {
		t.Errorf("last noted at %v, stopped after %v", at, stopping)
	}
}

// A server that died before it had gone on with a class is not taken for the one that recorded it.
func TestLastAlive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(second int) time.Time { return time.Unix(1795000000, 0).Add(time.Duration(second) * time.Second) }
	for began, last := range map[int]int{10: 20, 30: 31, 40: 60} {
		name := filepath.Join(dir, strconv.FormatInt(at(began).UnixNano(), 10))
		if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Chtimes(name, at(last), at(last))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "something else"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for on, want := range map[int]time.Time{5: {}, 10: at(20), 15: at(20), 30: at(31), 45: at(60), 70: at(60)} {
		if got := server.LastAlive(dir, at(on)); !got.Equal(want) {
			t.Errorf("what was on at second %d was last alive at %v, want %v", on, got, want)
		}
	}
	if got := server.LastAlive(filepath.Join(dir, "none"), at(0)); !got.IsZero() {
		t.Errorf("without a directory: %v", got)
	}
}

// Only so many lives are remembered.
func TestLastAlive_Many(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 100 {
		if err := os.WriteFile(filepath.Join(dir, strconv.FormatInt(1795000000e9+int64(i), 10)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server.LastAlive(dir, time.Now())
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 64 || files[0].Name() != strconv.FormatInt(1795000000e9+36, 10) {
		t.Errorf("%d files are left, %v", len(files), err)
	}
}
