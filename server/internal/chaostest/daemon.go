// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaostest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Build builds classrecd into a directory, and returns the program.
func Build(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "classrecd")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/classrec/classrec/server/classrecd")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build classrecd: %w\n%s", err, out)
	}
	return program, nil
}

// Addresses are where a process says that it listens; "" where it does not. Replica is its name among replicas.
type Addresses struct{ GRPC, HTTP, Room, Replica string }

// Daemon is one run of a classrecd.
type Daemon struct {
	cmd    *exec.Cmd
	up     chan Addresses // gets one when it serves
	exited chan struct{}  // closed when it is gone
	err    error          // of Wait; set before exited is closed
}

// Start runs a program. What it logs is appended to log.
func Start(program string, args []string, log io.Writer) (*Daemon, error) {
	d := &Daemon{
		cmd: exec.Command(program, append([]string{"--log-format", "json"}, args...)...),
		up:  make(chan Addresses, 1), exited: make(chan struct{}),
	}
	d.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CLASSREC_") })
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that its ffmpeg can be found when it is gone
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	var reading sync.WaitGroup
	reading.Go(func() { d.read(stderr, log) })
	go func() {
		defer close(d.exited)
		reading.Wait()
		d.err = d.cmd.Wait()
	}()
	return d, nil
}

// read copies the log, and takes from it where the process listens.
func (d *Daemon) read(from io.Reader, log io.Writer) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		_, _ = log.Write(line)
		var entry struct{ Msg, GRPC, HTTP, Room, Replica string }
		if json.Unmarshal(line, &entry) == nil && entry.Msg == "classrec is up" {
			d.up <- Addresses{GRPC: entry.GRPC, HTTP: entry.HTTP, Room: entry.Room, Replica: entry.Replica} // it is said once
		}
		if err != nil {
			return
		}
	}
}

// Up waits until the process serves. It fails when it ends instead, as it does when it is killed.
func (d *Daemon) Up(ctx context.Context) (Addresses, error) {
	select {
	case a := <-d.up:
		return a, nil
	case <-d.exited:
		return Addresses{}, errors.New("it ended before it served")
	case <-ctx.Done():
		return Addresses{}, ctx.Err()
	}
}

// Kill ends the process with SIGKILL, and waits until it is gone. What it started lives on.
func (d *Daemon) Kill() {
	_ = d.cmd.Process.Kill() // may be gone
	<-d.exited
}

// Terminate ends the process in order, with SIGTERM. The error is its exit's; or the context's, and then it is not gone
// yet.
func (d *Daemon) Terminate(ctx context.Context) error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM) // may be gone
	select {
	case <-d.exited:
		return d.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Freeze stops the process where it stands; Thaw lets it go on.
func (d *Daemon) Freeze() { _ = d.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw is the reverse of Freeze.
func (d *Daemon) Thaw() { _ = d.cmd.Process.Signal(syscall.SIGCONT) }

// Exited is closed when the process is gone.
func (d *Daemon) Exited() <-chan struct{} { return d.exited }

// destroy ends the process and all that it started.
func (d *Daemon) destroy() {
	_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
	<-d.exited
}

// logFile is where the logs of processes go: beside the data, and kept when the test fails.
func logFile(tb testing.TB, name string) *os.File {
	tb.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.Close() })
	return f
}
