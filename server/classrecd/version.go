// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/alecthomas/kong"

	"github.com/classrec/classrec/server"
)

// versionCommand prints what the program was built of.
type versionCommand struct {
	JSON bool `name:"json" env:"-" help:"As JSON."`
}

// Run is called by kong.
func (c versionCommand) Run(k *kong.Kong) error {
	return c.print(k.Stdout, server.Version())
}

// versionFlag prints the version, as the command does, and exits.
type versionFlag bool

// BeforeApply is called by kong when the flag is given.
func (versionFlag) BeforeApply(k *kong.Kong) error {
	if err := (versionCommand{}).Run(k); err != nil {
		return err
	}
	k.Exit(0)
	return nil
}

func (c versionCommand) print(w io.Writer, b server.Build) error {
	if c.JSON {
		text, err := json.MarshalIndent(b, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", text)
		return err
	}
	revision := b.Revision
	if b.Modified {
		revision += ", modified"
	}
	if revision != "" {
		revision = ", " + revision
	}
	_, err := fmt.Fprintf(w, "classrecd %s (%s, %s%s)\n", b.Version, b.Go, b.Platform, revision)
	return err
}
