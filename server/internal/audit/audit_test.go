// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/classrec/classrec/server/internal/audit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run opens a log and writes it until stop is called.
func run(t *testing.T, path string, logger *slog.Logger) (l *audit.Log, stop func()) {
	t.Helper()
	l, err := audit.Open(path, logger)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return l, stop
}

// lines are those of a file, each of which has to be JSON.
func lines(t *testing.T, path string) []audit.Entry {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []audit.Entry
	scan := bufio.NewScanner(bytes.NewReader(text))
	for scan.Scan() {
		var e audit.Entry
		if err := json.Unmarshal(scan.Bytes(), &e); err != nil {
			t.Fatalf("%v: %q", err, scan.Text())
		}
		all = append(all, e)
	}
	return all
}

// await waits until holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("%s: it does not come", what)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

// A call is one line, whatever it has in it, in a file that only its owner reads;
// a log that is opened again goes on where it was.
func TestLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	nasty := "a\n{\"call\":\"forged\"}\r\x00\x1b[31m\u2028<b>\xff"
	for i := range 2 {
		l, stop := run(t, path, nil)
		l.Record(audit.Entry{
			Time: time.Now(), Principal: &audit.Principal{Kind: "token", Name: nasty}, Tenant: "t", Call: "Start",
			Room: nasty, RequestID: strings.Repeat("é", 10_000), Code: "OK", Duration: 1.5,
		})
		stop()
		if got := l.Stats(); got != (audit.Stats{Written: 1}) {
			t.Errorf("%+v", got)
		}
		all := lines(t, path)
		if len(all) != i+1 {
			t.Fatalf("%d lines", len(all))
		}
		if e := all[i]; !strings.HasPrefix(e.Room, "a\n{") || e.Principal.Name != e.Room || len(e.RequestID) > 300 || e.Duration != 1.5 || e.Time.Location() != time.UTC {
			t.Errorf("%+v", e)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// A file that is renamed away or removed is made anew, and nothing is lost.
func TestLog_Rotation(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	l, stop := run(t, path, nil)
	record := func(call string) {
		n := l.Stats().Written
		l.Record(audit.Entry{Call: call, Code: "OK"})
		await(t, call, func() bool { return l.Stats().Written == n+1 })
	}
	record("first")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	record("second")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	record("third")
	stop()
	if all := lines(t, path+".1"); len(all) != 1 || all[0].Call != "first" {
		t.Errorf("%+v", all)
	}
	if all := lines(t, path); len(all) != 1 || all[0].Call != "third" {
		t.Errorf("%+v", all)
	}
}

// While the file cannot be written, nobody waits; what does not fit is lost,
// counted, told in the log once, and in the file when it can be written again.
func TestLog_Refused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "logs", "audit.log")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	l, stop := run(t, path, slog.New(slog.NewTextHandler(&said, nil)))
	if err := os.Rename(filepath.Dir(path), filepath.Join(dir, "away")); err != nil { // rotated, and no new one can be made
		t.Fatal(err)
	}
	const calls = 20_000
	begun := time.Now()
	for i := range calls {
		l.Record(audit.Entry{Call: fmt.Sprint(i), Code: "OK"})
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("callers waited: %v for all", took)
	}
	lost := l.Stats().Lost
	if lost == 0 || lost >= calls {
		t.Errorf("%d lines of %d are lost", lost, calls)
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	await(t, "the lines that fit", func() bool { return l.Stats().Written == calls-lost })
	stop()
	all := lines(t, path)
	if len(all) != int(calls-lost)+1 || all[0].Call != "audit.lost" || all[0].Lost != lost || all[1].Call != "0" {
		t.Errorf("%d lines, the first is %+v", len(all), all[0])
	}
	if n := strings.Count(said.String(), "takes no lines"); n != 1 {
		t.Errorf("it is said %d times: %s", n, &said)
	}
}

// A disk that takes half a line gets the whole of it on a line of its own.
func TestLog_Torn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	l, err := audit.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if left, err := audit.Tear(l, []byte("one\ntwo\nthree\n"), 6); err != nil || string(left) != "two\nthree\n" {
		t.Errorf("left is %q: %v", left, err)
	}
	if left, err := audit.Put(l, []byte("two\nthree\n")); err != nil || len(left) != 0 {
		t.Errorf("left is %q: %v", left, err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "one\ntw\ntwo\nthree\n" {
		t.Errorf("%q %v", text, err)
	}
}

// A log that cannot be opened is an error, and no log takes nothing.
func TestOpen_Fails(t *testing.T) {
	t.Parallel()
	if _, err := audit.Open(t.TempDir(), nil); err == nil {
		t.Error("a directory is opened")
	}
	var none *audit.Log
	none.Record(audit.Entry{Call: "x"})
	if none.Stats() != (audit.Stats{}) {
		t.Error("none has counted")
	}
}
