// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/apitest"
)

// available waits until the files of a recording are there, or the recording has failed.
func available(t *testing.T, s *apitest.Server, name string) *classrecv1.Recording {
	t.Helper()
	var r *classrecv1.Recording
	eventually(t, name+" is there", func() bool {
		r = s.Must(t, apitest.Call{Name: apitest.Get, Request: fmt.Sprintf(`{"name": %q}`, name)})
		return r.GetState() >= classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
	})
	if r.GetState() != classrecv1.RecordingState_RECORDING_STATE_AVAILABLE {
		t.Fatalf("%s is %v: %v", name, r.GetState(), r.GetFailure())
	}
	return r
}

// nameOf is the last element of a file's URL, which is signed.
func nameOf(t *testing.T, f *classrecv1.RecordingFile) string {
	t.Helper()
	return path.Base(must[*url.URL](t)(url.Parse(f.GetUrl())).Path)
}

// fileNamed finds a file of a recording by its name.
func fileNamed(t *testing.T, r *classrecv1.Recording, name string) *classrecv1.RecordingFile {
	t.Helper()
	i := slices.IndexFunc(r.GetFiles(), func(f *classrecv1.RecordingFile) bool { return nameOf(t, f) == name })
	if i < 0 {
		var names []string
		for _, f := range r.GetFiles() {
			names = append(names, nameOf(t, f))
		}
		t.Fatalf("%s has no %s, but %v", r.GetName(), name, names)
	}
	return r.GetFiles()[i]
}

// download fetches a file and returns where it lies.
func download(t *testing.T, client *http.Client, f *classrecv1.RecordingFile) string {
	t.Helper()
	req := must[*http.Request](t)(http.NewRequestWithContext(testContext(t), http.MethodGet, f.GetUrl(), http.NoBody))
	resp := must[*http.Response](t)(client.Do(req))
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", nameOf(t, f), resp.Status)
	}
	name := filepath.Join(t.TempDir(), nameOf(t, f))
	file := must[*os.File](t)(os.Create(name))
	if _, err := io.Copy(file, resp.Body); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// tool runs a program, which must succeed and have nothing to complain about.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(testContext(t), name, args...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String()
}

// probed is what ffprobe says of a file.
type probed struct {
	duration time.Duration
	codecs   []string
}

func probe(t *testing.T, file string) probed {
	t.Helper()
	var p struct {
		Format  struct{ Duration string }
		Streams []struct {
			Codec string `json:"codec_name"`
		}
	}
	out := tool(t, "ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", file)
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatalf("ffprobe %s: %v", file, err)
	}
	seconds, err := strconv.ParseFloat(p.Format.Duration, 64)
	if err != nil {
		t.Errorf("ffprobe %s: duration %q", file, p.Format.Duration)
	}
	var codecs []string
	for _, s := range p.Streams {
		codecs = append(codecs, s.Codec)
	}
	return probed{time.Duration(seconds * float64(time.Second)), codecs}
}

// checkFile downloads a file, and wants ffprobe to find these codecs, in any order, and the announced duration, and
// ffmpeg to decode all of it.
func checkFile(t *testing.T, client *http.Client, f *classrecv1.RecordingFile, codecs ...string) {
	t.Helper()
	file := download(t, client, f)
	if info := must[os.FileInfo](t)(os.Stat(file)); info.Size() != f.GetSize() {
		t.Errorf("%s: %d bytes, %d announced", filepath.Base(file), info.Size(), f.GetSize())
	}
	p := probe(t, file)
	slices.Sort(p.codecs)
	if slices.Sort(codecs); !slices.Equal(p.codecs, codecs) {
		t.Errorf("%s: streams %v, want %v", filepath.Base(file), p.codecs, codecs)
	}
	if d := p.duration - f.GetDuration().AsDuration(); d.Abs() > 150*time.Millisecond {
		t.Errorf("%s: lasts %v, announced are %v", filepath.Base(file), p.duration, f.GetDuration().AsDuration())
	}
	// On a time base of the mean rate, which ffmpeg would take, two of a camera's pictures may fall on one time.
	tool(t, "ffmpeg", "-v", "error", "-nostdin", "-i", file, "-enc_time_base:v", "1:90000", "-f", "null", "-")
}

// picture is what Chromium shows.
type picture struct {
	Time   float64 // in the file, s; -1 where there is no picture
	Colors int     // how many different ones, coarsely
}

// played is what Chromium saw of a file.
type played struct {
	Duration, End float64 // s
	Width, Height int
	First         picture
	Seeks         []struct {
		Target, Time float64
		Picture      picture
	}
	Cues []struct {
		Start, End float64
		Text       string
	}
}

// size is that of a picture. Sound has none.
type size struct{ width, height int }

// play plays a file in a page, captions beside it, and checks that it is played and can be sought in. Its picture has to
// have one of the sizes.
func play(t *testing.T, page *remote, f *classrecv1.RecordingFile, sizes []size, captions string) played {
	t.Helper()
	var subtitles any
	if captions != "" {
		subtitles = captions
	}
	name := nameOf(t, f)
	p := callInto[played](t, page, "play", f.GetUrl(), subtitles)
	if want := f.GetDuration().AsDuration().Seconds(); math.Abs(p.Duration-want) > 0.15 {
		t.Errorf("%s: Chromium sees %.3f s, announced are %.3f s", name, p.Duration, want)
	}
	if !slices.Contains(sizes, size{p.Width, p.Height}) {
		t.Errorf("%s: Chromium sees %dx%d, want %v", name, p.Width, p.Height, sizes)
	}
	pictures := sizes[0] != size{}
	if pictures && p.First.Colors < 3 {
		t.Errorf("%s: Chromium shows a picture of %d colors", name, p.First.Colors)
	}
	if len(p.Seeks) != 2 {
		t.Fatalf("%s: %d seeks", name, len(p.Seeks))
	}
	for _, s := range p.Seeks {
		if math.Abs(s.Time-s.Target) > 0.1 {
			t.Errorf("%s: a seek to %.3f s came to %.3f s", name, s.Target, s.Time)
		}
		if pictures && (math.Abs(s.Picture.Time-s.Target) > 0.3 || s.Picture.Colors < 3) {
			t.Errorf("%s: the picture after a seek to %.3f s is %+v", name, s.Target, s.Picture)
		}
	}
	if math.Abs(p.End-p.Duration) > 0.15 {
		t.Errorf("%s: played to %.3f s of %.3f s", name, p.End, p.Duration)
	}
	return p
}
