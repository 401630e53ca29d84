// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
)

// configCommand prints a file for --config in which nothing is set.
type configCommand struct{}

// Run is called by kong.
func (configCommand) Run(k *kong.Kong) error { return printSample(k.Stdout, k.Model) }

// printSample writes each flag of the server as a key that is commented out, with its help above it and its default,
// under the title of its group.
func printSample(w io.Writer, model *kong.Application) error {
	var b strings.Builder
	b.WriteString("# Configuration of classrecd: the keys are its flags, each with its default. The environment\n" +
		"# (CLASSREC_GRPC_LISTEN and so on) and the command line go before this file.\n")
	for _, group := range groups() {
		fmt.Fprintf(&b, "\n# %s\n", group.Title)
		for _, flag := range model.Flags {
			if flag.Group == nil || flag.Group.Key != group.Key || flag.Hidden || flag.Name == "config" {
				continue
			}
			sample, err := sampleOf(flag)
			if err != nil {
				return fmt.Errorf("--%s: %w", flag.Name, err)
			}
			fmt.Fprintf(&b, "\n# %s\n#%s\n", strings.ReplaceAll(flag.Help, "\n", "\n# "), sample)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// sampleOf is a flag as a line of YAML, with its default where it has one.
func sampleOf(flag *kong.Flag) (string, error) {
	value := flag.Default
	if !flag.HasDefault && flag.IsBool() {
		value = "false"
	}
	if value == "" {
		return flag.Name + ":", nil
	}
	line, err := yaml.Marshal(map[string]string{flag.Name: value})
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(line), "\n"), nil
}
