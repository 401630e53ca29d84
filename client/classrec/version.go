// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

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
		return a.out.line(fmt.Sprintf("classrec %s (%s, %s)", v.Version, v.Go, v.Platform))
	}
}
