// SPDX-License-Identifier: Apache-2.0

// Package ffmpeg runs the ffmpeg program without disturbing live media: at the lowest priority, in its own process
// group, with a bounded number of threads, and killed when its context ends. Raw video and audio pass through pipes as
// Matroska (RFC 9559), which carries the time of each frame.
//
// Callers decide what ffmpeg does, and how many processes run at a time.
package ffmpeg

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// killWait is how long a canceled ffmpeg may take to go.
const killWait = 5 * time.Second

// niceness is the lowest priority that there is (nice(1)).
const niceness = 19

// Program is an ffmpeg to run. Path is required.
type Program struct {
	Path string
	// Threads bounds the threads of each decoder and encoder; 0 means 2.
	Threads int
}

// Bounded are the options that bound the threads of an output's encoders.
func (p Program) Bounded() []string {
	n := p.Threads
	if n <= 0 {
		n = 2
	}
	return []string{"-threads", strconv.Itoa(n)}
}

// Command returns ffmpeg with these arguments, which runs at the lowest priority of processor and disk where nice and
// ionice are installed, and is killed with all of its group when ctx ends.
func (p Program) Command(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{p.Path, "-hide_banner", "-nostdin", "-loglevel", "error"}, args...)
	if path, err := exec.LookPath("ionice"); err == nil {
		args = append([]string{path, "-c", "3", "-t"}, args...)
	}
	if path, err := exec.LookPath("nice"); err == nil {
		args = append([]string{path, "-n", strconv.Itoa(niceness)}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = killWait
	isolate(cmd)
	return cmd
}

// Run runs ffmpeg in dir until it ends. The error has the end of what ffmpeg said, or is that of ctx.
func (p Program) Run(ctx context.Context, dir string, args ...string) error {
	process, err := p.start(ctx, dir, nil, nil, args)
	if err != nil {
		return err
	}
	return process.wait()
}

// process is an ffmpeg that runs.
type process struct {
	ctx    context.Context //nolint:containedctx // of the process, which it kills
	cmd    *exec.Cmd
	stderr tail
}

func (p Program) start(ctx context.Context, dir string, stdin, stdout *os.File, args []string) (*process, error) {
	run := &process{ctx: ctx, cmd: p.Command(ctx, args...)}
	run.cmd.Dir, run.cmd.Stderr = dir, &run.stderr
	if stdin != nil {
		run.cmd.Stdin = stdin
	}
	if stdout != nil {
		run.cmd.Stdout = stdout
	}
	if err := run.cmd.Start(); err != nil {
		return nil, fmt.Errorf("ffmpeg: %w", err)
	}
	return run, nil
}

// wait waits for the end of the process.
func (p *process) wait() error {
	err := p.cmd.Wait()
	switch {
	case p.ctx.Err() != nil:
		return fmt.Errorf("ffmpeg: %w", p.ctx.Err())
	case err != nil:
		return fmt.Errorf("ffmpeg: %w: %s", err, p.stderr.String())
	}
	return nil
}

// tail keeps the last of what is written to it.
type tail struct{ buf []byte }

const tailSize = 2 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if n := len(t.buf); n > tailSize {
		t.buf = append(t.buf[:0], t.buf[n-tailSize:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(bytes.TrimSpace(t.buf)) }
