// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package socketio_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var installNode = sync.OnceValues(func() (string, error) {
	dir, err := filepath.Abs(filepath.Join("testdata", "node"))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err == nil {
		return dir, nil
	}
	cmd := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return dir, cmd.Run()
})

// nodeDir is the directory of the reference peers, with their packages installed.
func nodeDir(t testing.TB) string {
	t.Helper()
	dir, err := installNode()
	if err != nil {
		t.Fatalf("install the reference peers with npm: %v", err)
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatal(err)
	}
	return dir
}
