// SPDX-License-Identifier: Apache-2.0

//go:build unix

package ffmpeg_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/ffmpeg"
)

// script is an ffmpeg that is a shell script, run in a directory of its own.
func script(t *testing.T, text string) (p ffmpeg.Program, dir string) {
	t.Helper()
	dir = t.TempDir()
	path := filepath.Join(dir, "ffmpeg")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return ffmpeg.Program{Path: path}, dir
}

// TestRun_Nice runs at the lowest priority, told to do what it is for.
func TestRun_Nice(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("nice"); err != nil {
		t.Fatal("nice is not installed: it is part of every Unix")
	}
	p, dir := script(t, `nice > niceness; echo "$@" > args`)
	if err := p.Run(t.Context(), dir, "-i", "x"); err != nil {
		t.Fatal(err)
	}
	niceness, err := os.ReadFile(filepath.Join(dir, "niceness"))
	if err != nil || strings.TrimSpace(string(niceness)) != "19" {
		t.Errorf("niceness %q, %v", niceness, err)
	}
	args, err := os.ReadFile(filepath.Join(dir, "args"))
	if err != nil || !strings.HasSuffix(string(args), " -i x\n") {
		t.Errorf("arguments %q, %v", args, err)
	}
}

// TestRun_Canceled kills what ffmpeg has started, too.
func TestRun_Canceled(t *testing.T) {
	t.Parallel()
	p, dir := script(t, "sleep 1000 & echo $! > child.new; mv child.new child; wait")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx, dir) }()
	child := 0
	for child == 0 {
		if data, err := os.ReadFile(filepath.Join(dir, "child")); err == nil {
			if child, err = strconv.Atoi(strings.TrimSpace(string(data))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	for begun := time.Now(); alive(child); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatal("its child lives")
		}
	}
}

// alive reports whether a process runs, and is not only waiting to be reaped.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

// TestRun_Fails says what ffmpeg has said.
func TestRun_Fails(t *testing.T) {
	t.Parallel()
	p, dir := script(t, "echo no such thing >&2; exit 3")
	if err := p.Run(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("error %v", err)
	}
}

// TestEncode_Fails says so too, when ffmpeg takes no more.
func TestEncode_Fails(t *testing.T) {
	t.Parallel()
	p, dir := script(t, "echo disk full >&2; exit 1")
	e, err := p.Encode(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = e.Write(make([]byte, 1<<20))
	}
	if err := e.Close(); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("error %v", err)
	}
}
