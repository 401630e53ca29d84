// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"github.com/classrec/classrec/client"
)

const description = `Start, stop, show and watch recordings of a classrec server.

A NAME is rooms/ROOM/recordings/RECORDTS, as every command prints it.

Exit codes: 0 done, 1 other error, 2 wrong usage, 3 not found, 4 already exists, 5 invalid argument, 6 permission denied, 7 unavailable or out of time, 8 failed precondition, 9 exhausted, 130 interrupted.`

// cli is the command line.
type cli struct {
	Server  string        `short:"s" default:"127.0.0.1:9090" env:"CLASSREC_SERVER" placeholder:"HOST:PORT" help:"The server's gRPC address (${default})."`
	TLS     bool          `env:"CLASSREC_TLS" help:"Talk TLS to the server."`
	CAFile  string        `name:"ca-file" env:"CLASSREC_CA_FILE" placeholder:"FILE" help:"PEM certificates to trust for --tls, instead of the system's."`
	Timeout time.Duration `default:"1m" placeholder:"DURATION" help:"How long a call may take (${default}); watch takes as long as it is let."`
	Output  string        `short:"o" enum:"table,json,yaml,name" default:"table" placeholder:"FORMAT" help:"How to print: ${enum} (${default})."`

	Start startCommand `cmd:"" help:"Start recording a room."`
	Stop  stopCommand  `cmd:"" help:"Stop the recording of a room, or the one with a name."`
	Get   getCommand   `cmd:"" help:"Show one recording."`
	List  listCommand  `cmd:"" help:"List recordings, newest first."`
	Watch watchCommand `cmd:"" help:"Show classes as they begin and end, until interrupted."`
}

// app is what commands work with.
type app struct {
	ctx     context.Context // ends with an interrupt
	client  *client.Client
	timeout time.Duration
	out     printer
	stderr  io.Writer
}

// call returns the context of one call.
func (a *app) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(a.ctx, a.timeout)
}

// run is the program: it returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, now func() time.Time) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("classrec"),
		kong.Description(description),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)
	if err != nil {
		return fail(stderr, err)
	}
	command, err := parser.Parse(args)
	if exited >= 0 { // --help has been printed
		return exited
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "classrec: %v\nSee classrec --help.\n", err)
		return exitUsage
	}
	cfg, err := c.clientConfig()
	if err != nil {
		return fail(stderr, err)
	}
	conn, err := client.Dial(c.Server, cfg)
	if err != nil {
		return fail(stderr, err)
	}
	defer func() { _ = conn.Close() }() // nothing is left to be lost
	a := &app{ctx: ctx, client: conn, timeout: c.Timeout, out: printer{w: stdout, format: c.Output, now: now}, stderr: stderr}
	if err := command.Run(a); err != nil {
		if ctx.Err() != nil {
			return exitInterrupted
		}
		return failCall(stderr, c.Server, err)
	}
	return 0
}

func (c *cli) clientConfig() (client.Config, error) {
	if !c.TLS {
		if c.CAFile != "" {
			return client.Config{}, errors.New("--ca-file is for --tls")
		}
		return client.Config{}, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		text, err := os.ReadFile(c.CAFile)
		if err != nil {
			return client.Config{}, fmt.Errorf("--ca-file: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(text) {
			return client.Config{}, fmt.Errorf("--ca-file: %s has no PEM certificate", c.CAFile)
		}
	}
	return client.Config{TLS: cfg}, nil
}
