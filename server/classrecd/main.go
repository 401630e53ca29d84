// SPDX-License-Identifier: Apache-2.0

// Program classrecd is the classrec server. See `classrecd --help`.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/scenario"
)

func main() {
	flags, ctx, exit := parse(os.Args[1:], os.Stdout, os.Stderr)
	if ctx == nil {
		os.Exit(exit)
	}
	if err := ctx.Run(&flags.serverFlags); err != nil {
		fmt.Fprintln(os.Stderr, "classrecd:", err)
		os.Exit(1)
	}
}

// serveCommand runs the server until SIGINT or SIGTERM; a second one kills it.
type serveCommand struct{}

// Run is called by kong.
func (serveCommand) Run(flags *serverFlags) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return serve(ctx, flags, os.Stderr)
}

func serve(ctx context.Context, flags *serverFlags, stderr *os.File) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // from the beginning: it ends nothing
	cfg := flags.config()
	cfg.Logger = flags.logger(stderr)
	play, err := flags.rehearse(&cfg)
	if err != nil {
		return err
	}
	s, err := server.New(ctx, cfg)
	if err != nil {
		return err
	}
	if flags.LogFormat == "text" && isTerminal(stderr) {
		_, _ = io.WriteString(stderr, s.Banner())
	} else {
		s.LogStart(flags.loudLogger(stderr))
	}
	defer reloadAtHangup(s, hangups)()
	if play == nil {
		err = s.Run(ctx)
	} else {
		err = runScenario(ctx, s, play, scenario.Stage{Rehearsal: cfg.Rehearsal, Logger: flags.loudLogger(stderr).With("part", "scenario")})
	}
	cfg.Logger.Info("classrec is down")
	return err
}

// reloadAtHangup has the server read its files again at each SIGHUP, which ends
// nothing, until stop is called.
func reloadAtHangup(s *server.Server, hangups chan os.Signal) (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range hangups {
			s.Reload()
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
		<-done
	}
}

func (f *serverFlags) logger(w io.Writer) *slog.Logger {
	return newLogger(w, f.LogFormat, f.LogLevel)
}

// loudLogger is for what is said at every --log-level.
func (f *serverFlags) loudLogger(w io.Writer) *slog.Logger {
	return newLogger(w, f.LogFormat, min(f.LogLevel, slog.LevelInfo))
}

func newLogger(w io.Writer, format string, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
