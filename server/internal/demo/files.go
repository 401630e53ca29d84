// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/recorder"
)

// word is a recording's state for a reader.
func word(r *classrecv1.Recording) string {
	return strings.TrimPrefix(r.GetState().String(), "RECORDING_STATE_")
}

// files downloads every file, checks it, and says where it lies.
func (s *story) files(ctx context.Context, r *classrecv1.Recording) error {
	if len(r.GetFiles()) == 0 {
		return errors.New("the recording has no files")
	}
	if err := os.MkdirAll(s.cfg.Dir, 0o750); err != nil {
		return err
	}
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		ffmpeg = ""
	}
	for _, f := range r.GetFiles() {
		name, err := s.download(ctx, f)
		if err != nil {
			return fmt.Errorf("download: %w", err)
		}
		what, err := check(ctx, name, f, s.cfg.Length, ffmpeg)
		if err != nil {
			return fmt.Errorf("check %s: %w", name, err)
		}
		s.say("%s: %s", name, what)
	}
	absolute, err := filepath.Abs(s.cfg.Dir)
	if err != nil {
		return err
	}
	s.say("all files are good; they lie in %s", absolute)
	return nil
}

func (s *story) download(ctx context.Context, f *classrecv1.RecordingFile) (name string, err error) {
	u, err := url.Parse(f.GetUrl())
	if err != nil {
		return "", errors.New("the platform listed something that is no URL")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return "", withoutURL(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", withoutURL(err)
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("HTTP %s", res.Status)
	}
	name = filepath.Join(s.cfg.Dir, path.Base(u.Path))
	file, err := os.Create(name)
	if err != nil {
		return "", err
	}
	n, err := io.Copy(file, res.Body)
	if err = errors.Join(err, file.Close()); err != nil {
		return "", err
	}
	if want := f.GetSize(); want > 0 && n != want {
		return "", fmt.Errorf("%d bytes came, %d were announced", n, want)
	}
	return name, nil
}

// withoutURL takes the URL out of an error: who has it has the recording.
func withoutURL(err error) error {
	if with := (*url.Error)(nil); errors.As(err, &with) {
		return with.Err
	}
	return err
}

// check reads a file as a player would, and wants a whole class in it. With
// ffmpeg it decodes every frame too.
func check(ctx context.Context, name string, f *classrecv1.RecordingFile, length time.Duration, ffmpeg string) (what string, err error) {
	if filepath.Ext(name) == ".vtt" {
		return checkChat(name)
	}
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	in, err := recorder.Inspect(file)
	if err != nil {
		return "", err
	}
	if in.Duration < length-time.Second || in.Duration > length+5*time.Second {
		return "", fmt.Errorf("it lasts %v; the class lasted %v", in.Duration, length)
	}
	if in.Cues == 0 {
		return "", errors.New("one cannot seek in it")
	}
	var tracks []string
	for _, t := range in.Tracks {
		if t.Frames == 0 {
			return "", fmt.Errorf("track %s is empty", t.Codec)
		}
		track := fmt.Sprintf("%s %d frames", t.Codec, t.Frames)
		if t.Width > 0 {
			track = fmt.Sprintf("%s %dx%d %d frames", t.Codec, t.Width, t.Height, t.Frames)
		}
		tracks = append(tracks, track)
	}
	how := "demuxed"
	if ffmpeg != "" {
		if err := decode(ctx, ffmpeg, name); err != nil {
			return "", err
		}
		how = "decoded by ffmpeg"
	}
	return fmt.Sprintf("%s, %.1f s, %s, %s", size(f.GetSize()), in.Duration.Seconds(), strings.Join(tracks, ", "), how), nil
}

// decode has ffmpeg decode every frame; any complaint is an error.
func decode(ctx context.Context, ffmpeg, name string) error {
	// A camera's pictures come when they come: on a time base of the mean rate, which ffmpeg would take, two may
	// fall on one time, and it would complain.
	out, err := exec.CommandContext(ctx, ffmpeg, "-v", "error", "-nostdin", "-i", name,
		"-enc_time_base:v", "1:90000", "-f", "null", "-").CombinedOutput()
	if err != nil {
		return fmt.Errorf("ffmpeg does not play it: %w: %s", err, out)
	}
	if len(out) > 0 {
		return fmt.Errorf("ffmpeg complains: %s", out)
	}
	return nil
}

func checkChat(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	lines := strings.Count(string(text), " --> ")
	if !strings.HasPrefix(string(text), "WEBVTT") || lines == 0 {
		return "", errors.New("no WebVTT with the chat in it")
	}
	return fmt.Sprintf("WebVTT with %d lines of chat", lines), nil
}

func size(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%.0f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
