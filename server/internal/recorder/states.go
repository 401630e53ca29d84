// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/classrec/classrec/server/internal/mixer"
)

// StreamState is what is known of a publisher's stream from a time on: whose it is, what it shows and what is muted.
type StreamState = mixer.StreamState

const (
	// statesName is the file of what became of streams, a line of JSON for each StreamState, of TypeMix while it lasts.
	statesName = ".streams.jsonl"
	// maxStates bounds the states that wait for the disk.
	maxStates = 4096
	// maxStatesBytes bounds what is read of the file.
	maxStatesBytes = 64 << 20
	// maxParts bounds the streams that are told apart in one track.
	maxParts = 1000
)

// StreamChanged notes what has become of a stream, by which TypeMix arranges its picture; other types have no use for
// it. at is on the clock of Config.Now, and takes the place of state.At. It does not wait for the disk. While the disk
// refuses, up to 4096 changes are kept, and the oldest are lost beyond. After Stop nothing is noted.
func (rec *Recording) StreamChanged(state StreamState, at time.Time) {
	if rec.opts.Type != TypeMix {
		return
	}
	state.At = rec.since(at)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.stopped {
		return
	}
	if len(rec.states) >= maxStates {
		rec.states = append(rec.states[:0], rec.states[1:]...)
	}
	rec.states = append(rec.states, state)
}

// takeStates hands what was noted to the writer.
func (rec *Recording) takeStates() {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	w := rec.writer
	w.states = append(w.states, rec.states...)
	rec.states = nil
	if over := len(w.states) - maxStates; over > 0 {
		w.states = append(w.states[:0], w.states[over:]...)
	}
}

// writeStates appends what was noted to its file.
func (w *writer) writeStates() error {
	if len(w.states) == 0 {
		return nil
	}
	if w.statesFile == nil {
		f, err := w.r.open(filepath.Join(w.opts.Dir, statesName))
		if err != nil {
			return fmt.Errorf("%w %s: %w", ErrWrite, statesName, err)
		}
		w.statesFile = f
	}
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for _, s := range w.states {
		if err := enc.Encode(s); err != nil {
			return fmt.Errorf("%w %s: %w", ErrWrite, statesName, err)
		}
	}
	if _, err := w.statesFile.WriteAt(lines.Bytes(), w.statesSize); err != nil {
		return fmt.Errorf("%w %s: %w", ErrWrite, statesName, err)
	}
	w.statesSize += int64(lines.Len())
	w.states = w.states[:0]
	return nil
}

// closeStates ends the file, whose last line a full disk may have cut.
func (w *writer) closeStates() error {
	err := w.writeStates()
	if w.statesFile == nil {
		return err
	}
	err = errors.Join(err, w.statesFile.Truncate(w.statesSize), w.statesFile.Close())
	w.statesFile = nil
	return err
}

// loadStates reads the file as far as its lines are whole. Without one there are no states.
func loadStates(dir string) ([]StreamState, error) {
	data, err := readUpTo(filepath.Join(dir, statesName), maxStatesBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var states []StreamState
	last := time.Duration(0)
	for line := range bytes.Lines(data) {
		var s StreamState
		if json.Unmarshal(line, &s) != nil {
			continue // cut by a crash
		}
		s.At = min(max(s.At, last), maxDuration)
		last = s.At
		states = append(states, s)
	}
	return states, nil
}

func readUpTo(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s has %d bytes", filepath.Base(path), info.Size())
	}
	return os.ReadFile(path)
}

// streamPart is where a publisher's stream begins in a track of a file.
type streamPart struct {
	StreamID string        `json:"streamId"`
	From     time.Duration `json:"from"` // in the recording
}

// begins notes that a stream begins in the track, and reports whether that is news.
func (s *stream) begins(id string, from time.Duration) bool {
	if n := len(s.Parts); n >= maxParts || n > 0 && s.Parts[n-1].StreamID == id {
		return false
	}
	s.Parts = append(s.Parts, streamPart{id, from})
	return true
}
