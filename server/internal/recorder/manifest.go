// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// File is one finished file of a recording.
type File struct {
	Name   string // in Options.Dir
	UserID string // the publisher's, for TypeList; else empty
	Size   int64  // bytes
	// Duration is the length of the file's timeline, from its first frame to the end of the last. 0 for chat.
	Duration  time.Duration
	MediaType string
	// Nickname and Role of the person of UserID, as TrackInfo had them.
	Nickname string `json:",omitempty"`
	Role     *int   `json:",omitempty"`
	// StartOffset is where the file's time 0 lies in the recording.
	StartOffset time.Duration `json:",omitempty"`
	// VideoCodec and AudioCodec are names of RTP media subtypes ("VP8", "H264", "opus") or "AAC" and "MP3", whatever
	// the container; empty without picture, or sound. Of several, the first track's.
	VideoCodec string `json:",omitempty"`
	AudioCodec string `json:",omitempty"`
	// Width and Height of the largest picture, in pixels.
	Width  int `json:",omitempty"`
	Height int `json:",omitempty"`
	// FrameRate is the pictures a second, on average from the first to the last.
	FrameRate float64 `json:",omitempty"`
	// SampleRate of the sound, in Hz.
	SampleRate int `json:",omitempty"`
	// SHA256 of the file's bytes, in lower-case hexadecimal digits.
	SHA256 string `json:",omitempty"`
}

// How far a recording has come, as its manifest says.
const (
	stateRecording = "recording" // files are being written, or were when the process died
	stateWritten   = "written"   // files are whole; a conversion may be left to do
	stateDone      = "done"
)

const manifestVersion = 1

// manifest is the recording's own record of what it is and how far it has come. It is written before any media,
// replaced as a whole at every change, and enough to rebuild the head of every file.
type manifest struct {
	Version int              `json:"version"`
	State   string           `json:"state"`
	Begin   time.Time        `json:"begin"`
	Format  Format           `json:"format"`
	Type    Type             `json:"type"`
	Layout  Layout           `json:"layout"`
	Avoid   []string         `json:"avoid,omitempty"`
	Outputs []manifestOutput `json:"outputs"`
	Chat    bool             `json:"chat,omitempty"` // chat.vtt is finished
	Files   []File           `json:"files,omitempty"`
	// What Gap and Warn have noted.
	Gaps     []Gap    `json:"gaps,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	// Why the disk refused media, and why ffmpeg failed.
	WriteError   string `json:"writeError,omitempty"`
	ConvertError string `json:"convertError,omitempty"`

	cause   error // the same in this process, with all that errors.Is can see
	unsaved bool  // State is further than the disk knows
}

// manifestOutput is one file as recorded.
type manifestOutput struct {
	Name     string        `json:"name"`
	DocType  string        `json:"docType"`
	Room     int           `json:"room"` // bytes of the head
	Streams  []*stream     `json:"streams"`
	Origin   time.Duration `json:"origin,omitempty"` // the file's time 0 in the recording
	Frames   int64         `json:"frames"`
	Size     int64         `json:"size"`
	Duration time.Duration `json:"duration"`
	// FrameRate is that of the first track with pictures.
	FrameRate float64 `json:"frameRate,omitempty"`
}

func newManifest(o Options) *manifest {
	return &manifest{
		Version: manifestVersion, State: stateRecording, Begin: o.Begin.UTC(),
		Format: o.Format, Type: o.Type, Layout: o.Layout, Avoid: o.Avoid,
	}
}

func (m *manifest) options(dir string) Options {
	return Options{Dir: dir, Format: m.Format, Type: m.Type, Layout: m.Layout, Begin: m.Begin, Avoid: m.Avoid}
}

func manifestPath(dir string) string { return filepath.Join(dir, "recording.json") }

// save replaces the manifest in one step. From stateWritten on it survives a power cut; before, when a thousand
// classes begin at once, that is left to the system.
func (m *manifest) save(dir string) error {
	data, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	path := manifestPath(dir)
	f, err := os.CreateTemp(dir, ".recording-*.json")
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	_, err = f.Write(append(data, '\n'))
	if err == nil && m.State != stateRecording {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("manifest: %w", errors.Join(err, os.Remove(f.Name())))
	}
	if m.State != stateRecording {
		if err := syncDir(dir); err != nil {
			return fmt.Errorf("manifest: %w", err)
		}
	}
	return nil
}

// syncDir makes the names in a directory survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func loadManifest(dir string) (*manifest, error) {
	data, err := os.ReadFile(manifestPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s: %w", ErrNoManifest, dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("recover recording: %w", err)
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("recover recording: manifest in %s: %w", dir, err)
	}
	if m.Version != manifestVersion {
		return nil, fmt.Errorf("recover recording: manifest in %s has version %d, want %d", dir, m.Version, manifestVersion)
	}
	for _, o := range m.Outputs {
		if o.Name != filepath.Base(o.Name) || strings.HasPrefix(o.Name, ".") {
			return nil, fmt.Errorf("recover recording: manifest in %s names %q", dir, o.Name)
		}
		if o.Room < 0 || o.Room > headRoomFile {
			return nil, fmt.Errorf("recover recording: manifest in %s has a head of %d bytes", dir, o.Room)
		}
	}
	return &m, nil
}
