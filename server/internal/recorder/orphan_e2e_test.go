// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package recorder_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classrec/classrec/server/internal/recorder"
)

// orphanDir tells the test's own child process what to recover, and with which ffmpeg.
const orphanDir, orphanFFmpeg = "CLASSREC_TEST_ORPHAN_DIR", "CLASSREC_TEST_ORPHAN_FFMPEG"

// TestE2E_OrphanedConversion kills a process whose ffmpeg has begun and lives on: it must not spoil what the next one
// makes.
func TestE2E_OrphanedConversion(t *testing.T) {
	if dir := os.Getenv(orphanDir); dir != "" {
		_, err := recorder.New(recorder.Config{FFmpegPath: os.Getenv(orphanFFmpeg)}).Recover(t.Context(), dir)
		t.Fatalf("was not killed: %v", err)
	}
	t.Parallel()
	dir, tools := t.TempDir(), t.TempDir()
	begun, proceed, done := filepath.Join(tools, "begun"), filepath.Join(tools, "go"), filepath.Join(tools, "done")
	// It opens its output, and writes to it when it is told to, at most a minute later.
	script := "#!/bin/sh\nfor last; do :; done\nexec 3>\"$last\"\ntouch " + begun + "\n" +
		"for i in $(seq 600); do [ -e " + proceed + " ] && break; sleep 0.1; done\n" +
		"head -c 65536 /dev/zero >&3\ntouch " + done + "\n"
	ffmpeg := filepath.Join(tools, "ffmpeg")
	if err := os.WriteFile(ffmpeg, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		crash(t, dir, recorder.Options{Type: recorder.TypeFile, Format: recorder.MP4}, 3*time.Second)
	})
	child := exec.Command(os.Args[0], "-test.run=^TestE2E_OrphanedConversion$", "-test.timeout=1m")
	child.Env = append(os.Environ(), orphanDir+"="+dir, orphanFFmpeg+"="+ffmpeg)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	awaitFile(t, begun)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed

	files := must[[]recorder.File](t)(recorder.New(recorder.Config{}).Recover(t.Context(), dir))
	if err := os.WriteFile(proceed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	awaitFile(t, done)
	tool(t, "ffmpeg", "-v", "error", "-i", in(dir, files[0]), "-map", "0", "-f", "null", "-")
	for _, e := range must[[]os.DirEntry](t)(os.ReadDir(dir)) {
		if strings.HasPrefix(e.Name(), ".converting-") {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

func awaitFile(t *testing.T, name string) {
	t.Helper()
	for range 600 {
		if _, err := os.Stat(name); err == nil {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Fatalf("%s did not come", filepath.Base(name))
}
