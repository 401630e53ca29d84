// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"github.com/classrec/classrec/server/internal/auth"
)

// tokenCommand is about API tokens. A server that runs takes notice by itself.
type tokenCommand struct {
	Create tokenCreate `cmd:"" help:"Make a token and print it, once: only its hash is kept, in --tokens-file."`
	List   tokenList   `cmd:"" help:"List the tokens that were made, without their secrets."`
	Revoke tokenRevoke `cmd:"" help:"End a token, at once and for good."`
}

type tokenCreate struct {
	Name    string        `arg:"" help:"Whose it is, for logs: letters, digits and signs."`
	Tenant  string        `env:"-" placeholder:"NAME" help:"The tenant whose rooms exist for it (default); *: all, for an operator, with the scope admin alone."`
	Scope   []string      `env:"-" placeholder:"SCOPE" required:"" help:"What it may do: start, stop, list, watch, admin. Repeatable, or separated by commas."`
	Room    []string      `env:"-" placeholder:"PATTERN" help:"The rooms that exist for it: 42, class-*, [0-9]*. Repeatable, or separated by commas; without: all."`
	Expires time.Duration `env:"-" placeholder:"DURATION" help:"After how long it ends, as 720h; without: never."`
}

// Run is called by kong.
func (c tokenCreate) Run(ctx *kong.Context, flags *serverFlags) error {
	now := time.Now()
	t := auth.Token{Name: c.Name, Tenant: c.Tenant, Rooms: c.Room}
	for _, s := range c.Scope {
		t.Scopes = append(t.Scopes, auth.Scope(s))
	}
	if c.Expires < 0 {
		return errors.New("--expires: is negative")
	}
	if c.Expires > 0 {
		t.Expires = now.Add(c.Expires)
	}
	file := flags.tokenFile()
	_, first := os.Stat(file.Path)
	t, secret, err := file.Create(t, now)
	if err != nil {
		return err
	}
	if first != nil {
		_, _ = fmt.Fprintf(ctx.Stderr, "%s is new: from now on, a server with this file asks every caller for a token.\n", file.Path)
	}
	_, _ = fmt.Fprintf(ctx.Stderr, "Token %s (%s). It is shown this once:\n", t.Name, t.ID)
	_, err = fmt.Fprintln(ctx.Stdout, secret)
	return err
}

type tokenList struct{}

// Run is called by kong.
func (tokenList) Run(ctx *kong.Context, flags *serverFlags) error {
	all, err := flags.tokenFile().List()
	if err != nil {
		return err
	}
	return printTokens(ctx.Stdout, all, time.Now())
}

func printTokens(w io.Writer, all []auth.Token, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tNAME\tTENANT\tSCOPES\tROOMS\tCREATED\tEXPIRES\tSTATE")
	for _, t := range all {
		scopes := make([]string, 0, len(t.Scopes))
		for _, s := range t.Scopes {
			scopes = append(scopes, string(s))
		}
		rooms, expires := "all", "never"
		if len(t.Rooms) > 0 {
			rooms = strings.Join(t.Rooms, ",")
		}
		if !t.Expires.IsZero() {
			expires = t.Expires.Format(time.RFC3339)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, t.Tenant,
			strings.Join(scopes, ","), rooms, t.Created.Format(time.RFC3339), expires, t.State(now))
	}
	return table.Flush()
}

type tokenRevoke struct {
	Token string `arg:"" help:"Its id or its name."`
}

// Run is called by kong.
func (c tokenRevoke) Run(ctx *kong.Context, flags *serverFlags) error {
	t, err := flags.tokenFile().Revoke(c.Token, time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(ctx.Stdout, "%s (%s) is revoked. Servers refuse it within a second.\n", t.Name, t.ID)
	return err
}

// tokenFile is the file that the server reads too.
func (f *serverFlags) tokenFile() auth.TokenFile {
	if f.TokensFile != "" {
		return auth.TokenFile{Path: f.TokensFile}
	}
	return auth.TokenFile{Path: filepath.Join(f.DataDir, "tokens.json")}
}
