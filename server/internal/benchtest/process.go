// SPDX-License-Identifier: Apache-2.0

//go:build bench

package benchtest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// roleVariable tells a process that a benchmark has started what it is for.
const roleVariable = "CLASSREC_BENCH_ROLE"

// Process is a process that a benchmark has started. It and the benchmark
// tell each other JSON values, by its standard input and output. It has to end
// when its input does, which is when the test ends.
type Process struct {
	tb  testing.TB
	pid int
	in  *json.Encoder
	out *json.Decoder
}

// Start starts a command.
func Start(tb testing.TB, cmd *exec.Cmd) *Process {
	tb.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			tb.Errorf("%s: %v", cmd, err)
		}
	})
	return &Process{tb: tb, pid: cmd.Process.Pid, in: json.NewEncoder(in), out: json.NewDecoder(out)}
}

// Observe returns a process that somebody else has started and waits for, to ask for its RSS and its CPU alone.
func Observe(tb testing.TB, pid int) *Process {
	tb.Helper()
	return &Process{tb: tb, pid: pid}
}

// StartSelf starts the test program again, to run the named test alone, in a
// role that the test asks Role for.
func StartSelf(tb testing.TB, test, role string) *Process {
	tb.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), os.Args[0], "-test.run=^"+test+"$", "-test.timeout=30m")
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return Start(tb, cmd)
}

// StartNode starts a script of the directory, in which npm has installed what
// it needs.
func StartNode(tb testing.TB, dir, script string) *Process {
	tb.Helper()
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		tb.Fatalf("make setup-e2e installs what is missing: %v", err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), "node", "--expose-gc", script)
	cmd.Dir = dir
	return Start(tb, cmd)
}

// Role is what this process was started for by StartSelf; "" is for nothing.
func Role() string { return os.Getenv(roleVariable) }

// Tell sends a value to the process.
func (p *Process) Tell(v any) {
	p.tb.Helper()
	if err := p.in.Encode(v); err != nil {
		p.tb.Fatal(err)
	}
}

// Hear reads the next value from the process.
func (p *Process) Hear(v any) {
	p.tb.Helper()
	if err := p.out.Decode(v); err != nil {
		p.tb.Fatalf("the process said nothing more: %v", err)
	}
}

// Settle has a process of Serve, or one that speaks likewise, give back memory
// that it does not need.
func (p *Process) Settle() {
	p.tb.Helper()
	var done bool
	p.Tell("settle")
	p.Hear(&done)
	<-time.After(time.Second) // the kernel's and the runtime's bookkeeping has no event to wait for
}

// RSS is the resident memory of the process in KiB.
func (p *Process) RSS() float64 {
	p.tb.Helper()
	pages := p.number(strings.Fields(p.proc("statm"))[1])
	return float64(pages) * float64(os.Getpagesize()) / 1024
}

// CPU is the user and system time of the process so far. The kernel counts it
// in hundredths of a second.
func (p *Process) CPU() time.Duration {
	p.tb.Helper()
	stat := p.proc("stat")
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	return time.Duration(p.number(fields[11])+p.number(fields[12])) * 10 * time.Millisecond
}

func (p *Process) number(text string) int {
	p.tb.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		p.tb.Fatal(err)
	}
	return n
}

func (p *Process) proc(file string) string {
	p.tb.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.pid), file))
	if err != nil {
		p.tb.Fatal(err)
	}
	return string(text)
}

// Serve is the rest of a server's life in a process of StartSelf: it tells the
// benchmark the address, and returns when that has ended.
func Serve(tb testing.TB, address string) {
	tb.Helper()
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(address); err != nil {
		tb.Fatal(err)
	}
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	for {
		var command string
		if err := in.Decode(&command); err != nil {
			return
		}
		debug.FreeOSMemory() // there is only "settle"
		if err := out.Encode(true); err != nil {
			return
		}
	}
}

// OwnCPU is the user and system time of this process so far.
func OwnCPU(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
