// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// startNode runs a script of testdata/node, until the test ends. environ is added to the environment.
func startNode(t *testing.T, name string, environ []string, script ...string) *remote {
	t.Helper()
	cmd := exec.Command("node", script...)
	cmd.Dir = filepath.Join("testdata", "node")
	cmd.Env = append(os.Environ(), environ...)
	return startScript(t, name, cmd)
}

// startScript runs a program that takes calls on its standard input and answers on its output, until the test ends.
func startScript(t *testing.T, name string, cmd *exec.Cmd) *remote {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := newRemote(name, func(line []byte) error {
		_, err := stdin.Write(append(line, '\n'))
		return err
	})
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		defer r.end()
		lines := bufio.NewScanner(stdout)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if err := r.hear(lines.Bytes()); err != nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() {
		_ = stdin.Close()
		<-heard
		err := cmd.Wait()
		if err != nil || t.Failed() {
			t.Logf("%s: %v\n%s", name, err, stderr.String())
		}
	})
	return r
}
