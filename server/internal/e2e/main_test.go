// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
)

// patience bounds what has to come; only a test that fails uses it up. It is long, because browsers and ffmpeg share
// the machine with each other.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	for _, tool := range []string{"chromium", "node", "ffmpeg", "ffprobe", "curl", "go", "firefox-esr", "mkvinfo", "gst-inspect-1.0"} {
		if _, err := exec.LookPath(tool); err != nil {
			fmt.Fprintf(os.Stderr, "the end-to-end tests need %s; make setup-e2e installs it: %v\n", tool, err)
			os.Exit(1)
		}
	}
	if _, err := os.Stat(filepath.Join("testdata", "node", "node_modules", "client2")); err != nil {
		fmt.Fprintf(os.Stderr, "the end-to-end tests need the packages of testdata/node; make setup-e2e installs them: %v\n", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// newServer starts a whole classrec with its embedded platform, and with the machine's ffmpeg.
func newServer(t *testing.T) *apitest.Server {
	t.Helper()
	return apitest.New(t, func(cfg *server.Config) { cfg.FFmpeg = "" })
}

// testContext ends with our patience, or with the test.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx := testContext(t)
	for !holds() {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// must passes a value through.
func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
