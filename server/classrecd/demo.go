// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/classrec/classrec/server/internal/demo"
)

// demoCommand shows the main job in one go.
type demoCommand struct {
	Room   string        `env:"-" placeholder:"ID" help:"The room; without: one of its own."`
	Length time.Duration `env:"-" placeholder:"DURATION" help:"How long the class lasts (6s)."`
	Dir    string        `env:"-" placeholder:"DIR" help:"Where the files are downloaded to; without: demo in --data-dir."`
}

// Run is called by kong.
func (d demoCommand) Run(flags *serverFlags) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	if flags.LogLevel == slog.LevelInfo {
		flags.LogLevel = slog.LevelWarn // the demo tells its story itself
	}
	if flags.Scenario != "" {
		return errors.New("--scenario: the demo has its own")
	}
	cfg := flags.config()
	cfg.Logger = flags.logger(os.Stderr)
	return demo.Run(ctx, demo.Config{Out: os.Stdout, Server: cfg, Room: d.Room, Length: d.Length, Dir: d.Dir})
}
