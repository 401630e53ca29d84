// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/classrec/classrec/server"
)

// A data directory that cannot be used is one line that names the flag and
// where it is, and nothing is left running.
func TestNew_DataDirUnusable(t *testing.T) {
	t.Parallel()
	mustWrite := func(t *testing.T, path string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"is a file":            func(t *testing.T, dir string) { mustWrite(t, dir) },
		"is under a file":      func(t *testing.T, dir string) { mustWrite(t, filepath.Dir(dir)) },
		"its store is a file":  func(t *testing.T, dir string) { mustWrite(t, filepath.Join(dir, "store")) },
		"its database is none": func(t *testing.T, dir string) { mustWrite(t, filepath.Join(dir, "store", "classrec.db")) },
		"is locked away": func(t *testing.T, dir string) {
			if err := os.MkdirAll(filepath.Join(dir, "store", "lock"), 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"is not writable": func(t *testing.T, dir string) {
			if os.Getuid() == 0 {
				t.Skip("root may write everywhere")
			}
			if err := os.MkdirAll(dir, 0o500); err != nil {
				t.Fatal(err)
			}
		},
		"is in use": func(t *testing.T, dir string) {
			s, err := server.New(t.Context(), anywhere(dir))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "parent", "data")
			spoil(t, dir)
			s, err := server.New(t.Context(), anywhere(dir))
			if err == nil {
				_ = s.Close()
				t.Fatal("it starts")
			}
			if text := err.Error(); !strings.HasPrefix(text, "--data-dir: ") || !strings.Contains(text, filepath.Dir(dir)) || strings.Contains(text, "\n") {
				t.Errorf("it says:\n%s", text)
			}
		})
	}
}
