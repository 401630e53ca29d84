// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/roomservertest"
)

// smallDisk is a file system of 32 MiB. It needs the right to mount one.
func smallDisk(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=32m"); err != nil {
		t.Skipf("a small file system needs the right to mount one: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	return dir
}

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
	dir := smallDisk(t)
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

// On a disk without any space, calls that change something fail, with UNAVAILABLE once the log is full, and say when to
// try again; calls that read go on, and what was acknowledged is there when there is space again, and after a restart.
func TestDiskFull_Calls(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t)
	s := apitest.New(t, func(cfg *server.Config) { cfg.DataDir, cfg.RoomLimits.MinFree = dir, 1 })
	first := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"42"}`})
	acknowledged := []string{first.GetName()}
	free := fillDisk(t, dir)
	for n, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
		roomservertest.Poll(t, "the log to be full", func() bool { // a page that it has begun takes some more
			out := s.Call(t, way, apitest.Call{Name: apitest.Start, Request: fmt.Sprintf(`{"room":"full-%d-%d"}`, n, len(acknowledged))})
			switch {
			case out.Code == codes.OK:
				started := new(classrecv1.StartRecordingResponse)
				if err := protojson.Unmarshal([]byte(out.Response), started); err != nil {
					t.Fatal(err)
				}
				acknowledged = append(acknowledged, started.GetRecording().GetName())
			case out.Code == codes.FailedPrecondition && out.Reason == "DISK_FULL": // by the room server
			case out.Code == codes.Unavailable && out.RetryAfter > 0:
				return true
			default:
				t.Fatalf("%s: start on a full disk: %+v", way, out)
			}
			return false
		})
		if out := s.Call(t, way, apitest.Call{Name: apitest.Stop, Request: `{"room":"42"}`}); out.Code != codes.Unavailable || out.RetryAfter <= 0 {
			t.Errorf("%s: stop on a full disk: %+v", way, out)
		}
		if out := s.Call(t, way, apitest.Call{Name: apitest.List, Request: `{"room":"42"}`}); out.Code != codes.OK {
			t.Errorf("%s: list on a full disk: %+v", way, out)
		}
	}

	free()
	roomservertest.Poll(t, "the stop", func() bool {
		return s.Call(t, apitest.GRPC, apitest.Call{Name: apitest.Stop, Request: `{"room":"42"}`}).Code == codes.OK
	})
	acknowledged = append(acknowledged, s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"43"}`}).GetName())
	s.Restart()
	for _, name := range acknowledged {
		if out := s.Call(t, apitest.GRPC, apitest.Call{Name: apitest.Get, Request: `{"name":"` + name + `"}`}); out.Code != codes.OK {
			t.Errorf("%s was acknowledged, and then: %+v", name, out)
		}
	}
}
