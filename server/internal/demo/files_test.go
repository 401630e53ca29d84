// SPDX-License-Identifier: Apache-2.0

package demo_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/demo"
)

// fakeFFmpeg makes the test's own program an ffmpeg that succeeds or fails, and
// says its value.
const fakeFFmpeg = "CLASSREC_TEST_FFMPEG"

func TestMain(m *testing.M) {
	if says, ok := os.LookupEnv(fakeFFmpeg); ok {
		_, _ = os.Stderr.WriteString(says)
		if strings.HasPrefix(says, "fatal") {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestDecode(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for says, want := range map[string]string{
		"":            "",
		"bad frame":   "ffmpeg complains: bad frame",
		"fatal: none": "ffmpeg does not play it: exit status 1: fatal: none",
	} {
		t.Setenv(fakeFFmpeg, says)
		got := ""
		if err := demo.Decode(t.Context(), self, "a.webm"); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s", says, got)
		}
	}
}

// The URL of a file opens it: an error does not tell it.
func TestDownload_WithoutURL(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, base := range []string{gone.URL, "nothing://x", "http://[::1", "http://host\x7f"} {
		_, err := demo.Download(t.Context(), t.TempDir(), &classrecv1.RecordingFile{Url: base + "/files/hunter2/a.webm"})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}
