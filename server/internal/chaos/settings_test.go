// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaos_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/classrec/classrec/server/internal/chaostest"
)

// program is the classrecd under test.
var program string

func TestMain(m *testing.M) {
	for _, tool := range []string{"ffmpeg", "ffprobe", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			fmt.Fprintf(os.Stderr, "the tests need %s; make setup-e2e installs it: %v\n", tool, err)
			os.Exit(1)
		}
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "classrec-chaos")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if program, err = chaostest.Build(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// setting is how much of something a test does: in the short form as given; in the long form as given too, or as the
// environment has it.
func setting(t *testing.T, variable string, short, otherwise int) int {
	t.Helper()
	if !long {
		return short
	}
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		t.Fatalf("%s: not a number over 0", variable)
	}
	return n
}

// workDir is a directory for a node's data and log. When the test fails, the log is kept and named.
func workDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "classrec-"+t.Name()) //nolint:usetesting // it is kept when the test fails
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("data and log are kept in %s", dir)
			return
		}
		os.RemoveAll(dir)
	})
	return dir
}
