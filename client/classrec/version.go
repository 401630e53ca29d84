// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
)

// version is what this program was built of.
type version struct {
	Version  string `json:"version" yaml:"version"`
	Revision string `json:"revision,omitempty" yaml:"revision,omitempty"`
	Go       string `json:"go" yaml:"go"`
	Platform string `json:"platform" yaml:"platform"`
}

func buildVersion() version {
	v := version{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if is := info.Main.Version; is != "" && is != "(devel)" {
		v.Version = is
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			v.Revision = setting.Value
		}
	}
	return v
}

type versionCommand struct{}

// Help has the examples.
func (versionCommand) Help() string {
	return `Examples:

    classrec version
    classrec version -o json`
}

// Run prints the version.
func (versionCommand) Run(a *app) error {
	v := buildVersion()
	switch a.out.format {
	case "json":
		text, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return err
		}
		return a.out.line(string(text))
	case "yaml":
		text, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		_, err = a.out.w.Write(text)
		return err
	case "name":
		return a.out.line(v.Version)
	default:
		return a.out.line(v.String())
	}
}

func (v version) String() string {
	return fmt.Sprintf("classrec %s (%s, %s)", v.Version, v.Go, v.Platform)
}

// versionFlag prints the version and exits.
type versionFlag bool

// BeforeApply is called by kong when the flag is given.
func (versionFlag) BeforeApply(k *kong.Kong) error {
	if _, err := fmt.Fprintln(k.Stdout, buildVersion()); err != nil {
		return err
	}
	k.Exit(0)
	return nil
}
