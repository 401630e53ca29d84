// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaostest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/at-wat/ebml-go"
	"github.com/at-wat/ebml-go/webm"
)

// Media is what a recorded file holds.
type Media struct {
	// Begin is the zero of the file's times, on the server's clock; zero where the file does not say.
	Begin  time.Time
	Tracks []Track
}

// Track is one track of a file.
type Track struct {
	Codec  string // Matroska's id; for a file that is not Matroska, V_ or A_ and ffmpeg's name
	Name   string // whose it is, where the file says so
	Frames int
	// First and End are when the first frame begins to be shown, and when the last one ends.
	First, End time.Duration
	// Hole is the longest time from the end of a frame to the beginning of the next.
	Hole time.Duration
}

// ReadMedia reads a Matroska or WebM file as a player does; whatever makes no sense in it is an error. So are times that
// go back within a track, and a head that promises another length than there is.
func ReadMedia(data []byte) (*Media, error) {
	var doc struct {
		Header  webm.EBMLHeader `ebml:"EBML"`
		Segment struct {
			Info    webm.Info      `ebml:"Info"`
			Tracks  webm.Tracks    `ebml:"Tracks"`
			Cluster []webm.Cluster `ebml:"Cluster"`
			Cues    *webm.Cues     `ebml:"Cues"`
		} `ebml:"Segment"`
	}
	if err := ebml.Unmarshal(bytes.NewReader(data), &doc, ebml.WithIgnoreUnknown(true)); err != nil {
		return nil, err
	}
	seg := &doc.Segment
	m := &Media{Begin: seg.Info.DateUTC}
	scale := time.Duration(seg.Info.TimecodeScale)
	at := map[uint64]int{}
	last := map[uint64]time.Duration{}
	lasts := map[uint64]time.Duration{}
	for i, e := range seg.Tracks.TrackEntry {
		at[e.TrackNumber] = i
		m.Tracks = append(m.Tracks, Track{Codec: e.CodecID, Name: e.Name})
		if lasts[e.TrackNumber] = time.Second / 15; e.Audio != nil { // the rates of the clips
			lasts[e.TrackNumber] = 20 * time.Millisecond
		}
	}
	var end time.Duration
	for _, c := range seg.Cluster {
		blocks := append([]ebml.Block(nil), c.SimpleBlock...)
		for _, g := range c.BlockGroup {
			blocks = append(blocks, g.Block)
		}
		for _, b := range blocks {
			i, ok := at[b.TrackNumber]
			if !ok {
				return nil, fmt.Errorf("a frame of track %d, which there is not", b.TrackNumber)
			}
			t := &m.Tracks[i]
			ts := time.Duration(int64(c.Timecode)+int64(b.Timecode)) * scale
			switch {
			case t.Frames == 0:
				t.First = ts
			case ts <= last[b.TrackNumber]:
				return nil, fmt.Errorf("a frame of %s at %v comes after one at %v", t.Codec, ts, last[b.TrackNumber])
			default:
				t.Hole = max(t.Hole, ts-t.End)
			}
			t.Frames++
			last[b.TrackNumber], t.End = ts, ts+lasts[b.TrackNumber]
			end = max(end, t.End)
		}
	}
	if len(m.Tracks) == 0 || end == 0 {
		return nil, errors.New("there is nothing in it")
	}
	if seg.Cues == nil || len(seg.Cues.CuePoint) == 0 {
		return nil, errors.New("one cannot seek in it")
	}
	if d := time.Duration(seg.Info.Duration * float64(scale)); (d - end).Abs() > 200*time.Millisecond {
		return nil, fmt.Errorf("its head says %v, its media end at %v", d, end)
	}
	return m, nil
}

// Probe reads any file with ffprobe. Frames, Hole and Begin are not told.
func Probe(ctx context.Context, file string) (*Media, error) {
	out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-of", "json",
		"-show_entries", "stream=codec_type,codec_name,start_time,duration:format=duration", file).Output()
	if err != nil {
		return nil, fmt.Errorf("ffprobe: %w", err)
	}
	var probed struct {
		Streams []struct {
			Type     string `json:"codec_type"`
			Codec    string `json:"codec_name"`
			Start    string `json:"start_time"`
			Duration string `json:"duration"`
		} `json:"streams"`
	}
	if err := json.Unmarshal(out, &probed); err != nil {
		return nil, fmt.Errorf("ffprobe: %w", err)
	}
	m := new(Media)
	for _, s := range probed.Streams {
		start, length := seconds(s.Start), seconds(s.Duration)
		kind := map[string]string{"video": "V_", "audio": "A_"}[s.Type]
		m.Tracks = append(m.Tracks, Track{Codec: kind + s.Codec, First: start, End: start + length})
	}
	if len(m.Tracks) == 0 {
		return nil, errors.New("ffprobe: there is nothing in it")
	}
	return m, nil
}

func seconds(text string) time.Duration {
	s, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}

// Decode has ffmpeg decode every frame; any complaint is an error.
func Decode(ctx context.Context, file string) error {
	// A camera's pictures come when they come: on a time base of the mean rate, which ffmpeg would take, two may fall on
	// one time, and it would complain.
	out, err := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-nostdin", "-i", file,
		"-enc_time_base:v", "1:90000", "-f", "null", "-").CombinedOutput()
	switch {
	case err != nil:
		return fmt.Errorf("ffmpeg: %w: %s", err, out)
	case len(out) > 0:
		return fmt.Errorf("ffmpeg complains: %s", out)
	}
	return nil
}

// File is a file's place in its platform: /files/{room}/{recordts}/{name}.
type File struct {
	RecordTS int64
	Name     string
}

// ParseFile reads the URL of a file. The error does not repeat it.
func ParseFile(text string) (File, error) {
	u, err := url.Parse(text)
	if err != nil {
		return File{}, errors.New("a file's URL is none")
	}
	ts, err := strconv.ParseInt(path.Base(path.Dir(u.Path)), 10, 64)
	if err != nil || !strings.HasPrefix(u.Path, "/files/") {
		return File{}, errors.New("a file's URL is not of the embedded platform")
	}
	return File{RecordTS: ts, Name: path.Base(u.Path)}, nil
}

// Fetch downloads a file, which has to be of the given size. An *AnswerError says that there is something else; other
// errors are the connection's. None repeats the URL.
func Fetch(ctx context.Context, client *http.Client, from string, size int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, http.NoBody)
	if err != nil {
		return nil, errors.New("a file's URL is none")
	}
	resp, err := client.Do(req)
	if err != nil {
		if with := (*url.Error)(nil); errors.As(err, &with) {
			err = with.Err
		}
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, &AnswerError{Text: resp.Status}
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != size {
		return nil, &AnswerError{Text: fmt.Sprintf("%d bytes came, %d are listed", len(data), size)}
	}
	return data, nil
}

// AnswerError is an answer that came whole, and is not the file.
type AnswerError struct{ Text string }

func (e *AnswerError) Error() string { return e.Text }
