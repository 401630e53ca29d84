// SPDX-License-Identifier: Apache-2.0

package server

import (
	"runtime"
	"runtime/debug"
)

// Build is what the program was built of.
type Build struct {
	Version  string `json:"version"`            // of the module; "devel" when it was built from a checkout without a tag
	Revision string `json:"revision,omitempty"` // of git; "" when it is not known
	Modified bool   `json:"modified,omitempty"` // the checkout had changes that the revision has not
	Go       string `json:"go"`
	Platform string `json:"platform"` // os/architecture
}

// Version returns what this program was built of.
func Version() Build {
	b := Build{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}
