// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/classrec/classrec/client/internal/clienttest"
)

// newTerminal opens a pseudo-terminal; screen ends it and returns all that came.
func newTerminal(t *testing.T, width uint16) (tty *os.File, screen func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	var number, unlock uint32
	for request, value := range map[uintptr]*uint32{syscall.TIOCSPTLCK: &unlock, syscall.TIOCGPTN: &number} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, master.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
			t.Fatal(errno)
		}
	}
	size := [4]uint16{24, width}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, master.Fd(), syscall.TIOCSWINSZ, uintptr(unsafe.Pointer(&size))); errno != 0 {
		t.Fatal(errno)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	read := make(chan string)
	go func() {
		text, _ := io.ReadAll(master) // an error is how it ends
		read <- string(text)
	}()
	return tty, func() string {
		_ = tty.Close()
		text := <-read
		_ = master.Close()
		return text
	}
}

// On a terminal there are colors, unless they are not wanted, and a bar.
func TestTerminal(t *testing.T) {
	server, s := newServer(t)
	for noColor, want := range map[string]bool{"": true, "1": false} {
		t.Setenv("NO_COLOR", noColor)
		tty, screen := newTerminal(t, 140)
		exit := run(t.Context(), []string{"list", "--room", "42", "-s", server}, tty, io.Discard, clock)
		text := screen()
		if exit != 0 || strings.Contains(text, "\x1b[32mAVAILABLE\x1b[0m") != want || strings.Contains(text, "\x1b") != want {
			t.Errorf("NO_COLOR=%q: exit %d: %q", noColor, exit, text)
		}
		for len(s.asked) > 0 {
			<-s.asked
		}
		// Colors take no place: the columns stand where they do without.
		var plain strings.Builder
		run(t.Context(), []string{"list", "--room", "42", "-s", server}, &plain, io.Discard, clock)
		text = strings.NewReplacer("\x1b[32m", "", "\x1b[31m", "", "\x1b[1m", "", "\x1b[0m", "", "\r\n", "\n").Replace(text)
		if text != plain.String() {
			t.Errorf("NO_COLOR=%q:\n%s, want\n%s", noColor, text, plain.String())
		}
		for len(s.asked) > 0 {
			<-s.asked
		}
	}

	// A narrow one breaks no line.
	tty, screen := newTerminal(t, 80)
	exit := run(t.Context(), []string{"list", "--room", "42", "-s", server}, tty, io.Discard, clock)
	text := strings.ReplaceAll(screen(), "\r\n", "\n")
	if exit != 0 || !strings.Contains(text, "NAME  ") || strings.Contains(text, "FORMAT") {
		t.Errorf("exit %d: %s", exit, text)
	}
	for line := range strings.Lines(text) {
		if places(strings.TrimSpace(line)) > 80 {
			t.Errorf("too wide: %s", line)
		}
	}

	server, _, _ = newFiles(t)
	tty, screen = newTerminal(t, 100)
	var stdout strings.Builder
	dir := t.TempDir()
	exit = run(clienttest.Context(t), []string{"download", "rooms/42/recordings/17", "-d", dir, "-s", server, "-o", "name"}, &stdout, tty, time.Now)
	text = screen()
	if exit != 0 || stdout.String() != filepath.Join(dir, "a.webm")+"\n"+filepath.Join(dir, "b.webm")+"\n" {
		t.Errorf("exit %d: %s", exit, &stdout)
	}
	if !strings.Contains(text, "] 100%  2.0 MiB of 2.0 MiB") || !strings.Contains(text, "2 of 2 files") || strings.Contains(text, "done (") {
		t.Errorf("the screen: %q", text)
	}
}
