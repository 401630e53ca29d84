// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// conclude turns the recorded files into the wanted ones and returns these. It may be repeated until the
// manifest says that it is done, and does not convert twice; nothing is removed before that.
func (r *Recorder) conclude(ctx context.Context, dir string, m *manifest) ([]File, error) {
	if m.State != stateDone {
		var files []File
		var err error
		if _, ok := m.options(dir).converts(); ok && m.hasMedia() {
			files, err = r.convert(ctx, dir, m)
			if ctx.Err() != nil {
				return recorded(m), err
			}
			if err != nil {
				m.ConvertError, m.cause = err.Error(), errors.Join(m.cause, err)
			}
		}
		if len(files) == 0 {
			files = recorded(m)
		}
		if m.Files, err = withChat(dir, m, files); err != nil {
			return files, err
		}
		if err := r.digest(ctx, dir, m.Files); err != nil {
			if ctx.Err() != nil {
				return m.Files, err
			}
			r.cfg.Logger.Warn("recording: a file has no digest", "dir", dir, "error", err)
		}
		m.State, m.unsaved = stateDone, true
	}
	if m.unsaved {
		if err := m.save(dir); err != nil {
			return m.Files, fmt.Errorf("%w: %w: %w", ErrUnsaved, ErrWrite, err)
		}
		m.unsaved = false
	}
	r.sweep(dir, m)
	return m.Files, m.err()
}

// err is what the recording is to be blamed for.
func (m *manifest) err() error {
	switch {
	case m.cause != nil:
		return m.cause
	case m.WriteError != "":
		return fmt.Errorf("%w: %s", ErrWrite, m.WriteError)
	case m.ConvertError != "":
		return fmt.Errorf("%w: %s", ErrConvert, m.ConvertError)
	}
	return nil
}

// sweep removes what was only material: converted files, files without a frame, and what
// killed conversions have begun.
func (r *Recorder) sweep(dir string, m *manifest) {
	keep := map[string]bool{}
	for _, f := range m.Files {
		keep[f.Name] = true
	}
	names := []string{chatName, statesName}
	for i := range m.Outputs {
		names = append(names, m.Outputs[i].Name)
	}
	if _, ok := m.options(dir).converts(); ok {
		entries, err := os.ReadDir(dir)
		if err != nil {
			r.cfg.Logger.Warn("recording: what conversions have left could not be looked for", "dir", dir, "error", err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), converting) {
				names = append(names, e.Name())
			}
		}
	}
	for _, name := range names {
		if keep[name] {
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.cfg.Logger.Warn("recording: a working file could not be removed", "dir", dir, "error", err)
		}
	}
}

// hasMedia tells whether anything was recorded but chat.
func (m *manifest) hasMedia() bool {
	for _, o := range m.Outputs {
		if o.Frames > 0 {
			return true
		}
	}
	return false
}

// recorded lists the files as they were recorded.
func recorded(m *manifest) (files []File) {
	for i := range m.Outputs {
		o := &m.Outputs[i]
		if o.Frames == 0 {
			continue
		}
		f := o.facts(m)
		f.Name, f.Size, f.MediaType = o.Name, o.Size, o.mediaType()
		files = append(files, f)
	}
	return files
}

// facts are what is known of a recorded file, and of one that is made of it, but for name, size and media type.
func (o *manifestOutput) facts(m *manifest) File {
	f := File{Duration: o.Duration, StartOffset: o.Origin, FrameRate: o.FrameRate}
	if m.options("").perUser() {
		f.UserID, f.Nickname, f.Role = o.Streams[0].UserID, o.Streams[0].Nickname, o.Streams[0].Role
	}
	for _, s := range o.Streams {
		switch s.Type {
		case trackVideo:
			f.VideoCodec = cmp.Or(f.VideoCodec, codecName(s.Codec))
			f.Width, f.Height = max(f.Width, s.Width), max(f.Height, s.Height)
		case trackAudio:
			f.AudioCodec, f.SampleRate = cmp.Or(f.AudioCodec, codecName(s.Codec)), cmp.Or(f.SampleRate, s.SampleRate)
		}
	}
	return f
}

// describe tells the manifest what has been written.
func (o *output) describe(m *manifestOutput) {
	m.Frames, m.Size, m.Duration = o.frames, o.size, o.end
	for _, s := range o.slots {
		if s.Type == trackVideo {
			m.FrameRate = cmp.Or(m.FrameRate, math.Round(s.shown.rate()*1000)/1000)
		}
	}
}

func (o *manifestOutput) mediaType() string {
	kind := "audio/"
	for _, s := range o.Streams {
		if s.Type == trackVideo {
			kind = "video/"
		}
	}
	if o.DocType == "webm" {
		return kind + "webm"
	}
	return kind + "x-matroska"
}

// withChat adds chat.vtt to the files.
func withChat(dir string, m *manifest, files []File) ([]File, error) {
	if !m.Chat {
		return files, nil
	}
	info, err := os.Stat(filepath.Join(dir, chatName))
	if err != nil {
		return nil, fmt.Errorf("chat: %w", err)
	}
	return append(files, File{Name: chatName, Size: info.Size(), MediaType: "text/vtt"}), nil
}
