// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/classrec/classrec/server/internal/apitest"
)

// fillDisk takes all that is left on the file system of a directory; what it
// returns gives it back.
func fillDisk(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for some := bytes.Repeat([]byte("x"), 1<<20); err == nil; {
		_, err = f.Write(some)
	}
	if err := errors.Join(f.Close(), ignore(err, syscall.ENOSPC)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// A file system without any space makes the server not ready, and says why; it
// stays alive, and is ready again when there is space. The system's own word for
// it is needed, so it is a real one.
func TestReady_DiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=32m"); err != nil {
		t.Skipf("a small file system needs the right to mount one: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	cfg := apitest.Config(dir)
	cfg.AdminListen = "127.0.0.1:0"
	r := newRunning(t, cfg)
	r.awaitReadiness(t, true)
	free := fillDisk(t, dir)
	body := r.awaitReadiness(t, false)
	if !strings.Contains(body, "not ready: the data directory cannot be written: no space left on device") || strings.Contains(body, dir) {
		t.Errorf("/readyz says %q", body)
	}
	if left := scrape(t, r.base)[`classrec_data_free_bytes`]; left > 16<<10 {
		t.Errorf("%v bytes are free", left)
	}
	if code, body, _ := r.get(t, "/healthz"); code != 200 {
		t.Errorf("/healthz: %d %q", code, body)
	}
	free()
	r.awaitReadiness(t, true)
}
