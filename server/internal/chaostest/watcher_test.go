// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaostest_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/chaostest"
)

// TestCompare sees to it that what the watchers are checked by can fail.
func TestCompare(t *testing.T) {
	t.Parallel()
	log := func(sequences ...uint64) (events []chaostest.Event) {
		for _, n := range sequences {
			events = append(events, chaostest.Event{Sequence: n})
		}
		return events
	}
	other := []chaostest.Event{{Sequence: 2}, {Sequence: 3, Room: "another"}, {Sequence: 5}}
	for name, tc := range map[string]struct {
		got                  []chaostest.Event
		missed, twice, wrong int
	}{
		"all":          {got: log(2, 3, 5)},
		"one missing":  {got: log(2, 5), missed: 1},
		"the last":     {got: log(2, 3), missed: 1},
		"one twice":    {got: log(2, 3, 3, 5), twice: 1},
		"out of order": {got: log(3, 2, 5), wrong: 1},
		"another":      {got: other, wrong: 1},
		"one too many": {got: log(2, 3, 4, 5), wrong: 1},
	} {
		missed, twice, wrong := chaostest.Compare(log(2, 3, 5), tc.got)
		if missed != tc.missed || twice != tc.twice || wrong != tc.wrong {
			t.Errorf("%s: %d missed, %d twice, %d wrong", name, missed, twice, wrong)
		}
	}
}

// TestProxy carries, holds back, cuts and refuses.
func TestProxy(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn) }() // ends with the connection
		}
	}()
	p := chaostest.NewProxy(t)
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	echo := func(conn net.Conn, within time.Duration) error {
		if _, err := conn.Write([]byte("x")); err != nil {
			return err
		}
		_ = conn.SetReadDeadline(time.Now().Add(within))
		_, err := conn.Read(make([]byte, 8))
		return err
	}
	if conn, err := net.Dial("tcp", p.Addr()); err == nil { // else it was reset at once
		t.Cleanup(func() { _ = conn.Close() })
		if err := echo(conn, time.Minute); err == nil {
			t.Error("somebody answers before there is a target")
		}
	}
	p.Target(l.Addr().String())
	conn := dial()
	if err := echo(conn, time.Minute); err != nil {
		t.Fatal(err)
	}
	p.Hold()
	if err := echo(conn, 100*time.Millisecond); err == nil {
		t.Error("what is held back comes through")
	}
	p.Release()
	if err := echo(conn, time.Minute); err != nil {
		t.Errorf("after Release: %v", err)
	}
	p.Cut()
	if err := echo(conn, time.Minute); err == nil {
		t.Error("a cut connection goes on")
	}
	if err := echo(dial(), time.Minute); err != nil {
		t.Errorf("a new one after the cut: %v", err)
	}
}
