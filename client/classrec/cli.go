// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/alecthomas/kong"
	mangokong "github.com/alecthomas/mango-kong"
	"golang.org/x/term"

	"github.com/classrec/classrec/client"
)

const description = `Start, stop, show, watch and fetch recordings of a classrec server.

A NAME is rooms/ROOM/recordings/RECORDTS, as every command prints it.

Flags may be given in the environment ($CLASSREC_…, as named with each) and in a file: see --config. The command line goes before the environment, and that before the file.

Exit codes: 0 done, 1 other error, 2 wrong usage, 3 not found, 4 already exists, 5 invalid argument, 6 permission denied or not authenticated, 7 unavailable or out of time, 8 failed precondition, 9 exhausted, 10 the recording has failed, 11 files could not be fetched, 130 interrupted.`

// cli is the command line.
type cli struct {
	connection

	Config  string        `env:"CLASSREC_CONFIG" placeholder:"FILE" help:"YAML file of flags; without: $$XDG_CONFIG_HOME/classrec/config.yaml or ~/.config/classrec/config.yaml, where there is one."`
	Timeout time.Duration `default:"1m" env:"CLASSREC_TIMEOUT" placeholder:"DURATION" help:"How long a call may take (${default}); watching, waiting and fetching take as long as they are let."`
	Output  string        `short:"o" enum:"table,json,yaml,name" default:"table" env:"CLASSREC_OUTPUT" placeholder:"FORMAT" help:"How to print: ${enum} (${default})."`

	ShowVersion versionFlag       `name:"version" help:"Print the version and exit."`
	Man         mangokong.ManFlag `hidden:"" help:"Print the manual page and exit."`

	Start      startCommand      `cmd:"" help:"Start recording a room."`
	Stop       stopCommand       `cmd:"" help:"Stop the recording of a room, or the one with a name."`
	Get        getCommand        `cmd:"" help:"Show one recording."`
	Explain    explainCommand    `cmd:"" help:"Tell why a recording is in its state, as its story (for the operator)."`
	List       listCommand       `cmd:"" help:"List recordings, newest first."`
	Watch      watchCommand      `cmd:"" help:"Show classes as they begin and end, until interrupted."`
	Wait       waitCommand       `cmd:"" help:"Wait until the files of a recording are there."`
	Download   downloadCommand   `cmd:"" help:"Fetch the files of a recording."`
	Version    versionCommand    `cmd:"" help:"Show the version of this program."`
	Completion completionCommand `cmd:"" help:"Print a script that completes commands in a shell."`
}

// app is what commands work with.
type app struct {
	ctx     context.Context // ends with an interrupt
	model   *kong.Application
	server  connection
	flag    string         // that named the server's address
	address string         // of the server that was asked
	client  *client.Client // nil for commands that need no server
	timeout time.Duration
	out     printer
	stderr  io.Writer
	now     func() time.Time
}

// call returns the context of one call.
func (a *app) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(a.ctx, a.timeout)
}

// say tells the user something that is no result.
func (a *app) say(format string, args ...any) {
	_, _ = fmt.Fprintln(a.stderr, clean(fmt.Sprintf(format, args...)))
}

// newParser reads command lines into c.
func newParser(c *cli, stdout, stderr io.Writer, exited func(int), options ...kong.Option) (*kong.Kong, error) {
	return kong.New(c, append([]kong.Option{
		kong.Name("classrec"),
		kong.Description(description),
		kong.Writers(stdout, stderr),
		kong.Exit(exited),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.ExplicitGroups([]kong.Group{{Key: "connection", Title: "Flags of the connection:"}}),
	}, options...)...)
}

// run is the program: it returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, now func() time.Time) int {
	var c cli
	exited := -1
	file, err := readConfig(args)
	if err != nil {
		return failUsage(stderr, err)
	}
	parser, err := newParser(&c, stdout, stderr, func(code int) { exited = code }, kong.Resolvers(file))
	if err != nil {
		return fail(stderr, err)
	}
	command, err := parser.Parse(args)
	if exited >= 0 { // --help has been printed
		return exited
	}
	if err != nil {
		return failUsage(stderr, err)
	}
	a := &app{
		ctx: ctx, model: parser.Model, server: c.connection, timeout: c.Timeout, stderr: stderr, now: now,
		out: printer{w: stdout, format: c.Output, now: now, colors: colors(stdout), width: screen(stdout)},
	}
	if name := command.Selected().Name; name != "version" && name != "completion" && name != "explain" {
		if a.client, err = a.dial("--server", c.Server); err != nil {
			return a.exit(err)
		}
		defer func() { _ = a.client.Close() }() // nothing is left to be lost
	}
	if err := command.Run(a); err != nil {
		return a.exit(err)
	}
	return 0
}

// terminal says whether a writer is one.
func terminal(w io.Writer) (*os.File, bool) {
	f, ok := w.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// screen is how many places wide a terminal is; 0 for what is none.
func screen(w io.Writer) int {
	f, ok := terminal(w)
	if !ok {
		return 0
	}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
		return width
	}
	return 80
}

// colors says whether a writer takes colors: see https://no-color.org.
func colors(w io.Writer) bool {
	_, ok := terminal(w)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
