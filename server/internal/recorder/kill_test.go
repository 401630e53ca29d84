// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

// killDir tells the test's own child process where to record.
const killDir = "CLASSREC_TEST_KILL_DIR"

// TestRecover_RealKill kills a process that records, in real time, with signal 9.
func TestRecover_RealKill(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		recordForEver(t, dir)
		return
	}
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestRecover_RealKill$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	out := must[interface{ Read([]byte) (int, error) }](t)(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var sent time.Duration
	lines := bufio.NewScanner(out)
	for sent < 3*time.Second && lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "sent "); ok {
			sent = must[time.Duration](t)(time.ParseDuration(text))
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "sent "); ok {
			sent = must[time.Duration](t)(time.ParseDuration(text))
		}
	}
	_ = cmd.Wait() // killed
	if sent < 3*time.Second {
		t.Fatalf("the child had sent %v", sent)
	}
	files := must[[]recorder.File](t)(recorder.New(recorder.Config{}).Recover(t.Context(), dir))
	if len(files) != 1 {
		t.Fatalf("files %v", names(files))
	}
	m := demux(t, in(dir, files[0]))
	for _, codec := range []string{"V_VP8", "A_OPUS"} {
		blocks := m.track(t, codec)
		if last := blocks[len(blocks)-1].at; last < sent-time.Second {
			t.Errorf("%s ends at %v, but %v had been sent", codec, last, sent)
		}
	}
}

// recordForEver records and says how far it has come, until it is killed.
func recordForEver(t *testing.T, dir string) {
	t.Helper()
	rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
	v, a := addFeed(t, rec, newSource(t, "u", clips.TeacherVideo)), addFeed(t, rec, newSource(t, "u", clips.TeacherAudio))
	begin := time.Now()
	for time.Since(begin) < 30*time.Second {
		play(t, 20*time.Millisecond, v, a)
		fmt.Fprintln(os.Stdout, "sent", time.Since(begin))
	}
}
