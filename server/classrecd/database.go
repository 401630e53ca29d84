// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/classrec/classrec/server"
)

// backupCommand copies the database, also while a server uses it.
type backupCommand struct {
	File string `arg:"" type:"path" help:"The new file."`
}

// Run is called by kong.
func (c backupCommand) Run(ctx *kong.Context, flags *serverFlags) error {
	stoppable, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := server.Backup(stoppable, flags.config(), c.File); err != nil {
		return err
	}
	_, err := fmt.Fprintf(ctx.Stdout, "%s is a copy of the database. The recorded files and the keys in %s are not in it.\n", c.File, flags.DataDir)
	return err
}

// checkCommand reads the whole database, also while a server uses it.
type checkCommand struct{}

// Run is called by kong.
func (checkCommand) Run(ctx *kong.Context, flags *serverFlags) error {
	stoppable, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	damages := 0
	summary, err := server.Check(stoppable, flags.config(), func(problem string) {
		damages++
		_, _ = fmt.Fprintln(ctx.Stdout, "DAMAGED", problem)
	})
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(ctx.Stdout, summary)
	if damages > 0 {
		return errors.New("the database is damaged")
	}
	return nil
}
