// SPDX-License-Identifier: Apache-2.0

// Package audit keeps who did what: one line of JSON for each call, in a file of
// its own that is only appended to.
//
// It never makes a call wait or fail. Lines queue in memory, and one goroutine
// writes them; when the disk refuses them, or does not follow, what does not fit
// the queue is lost, counted, and said in the log and, once lines are taken again,
// in the file itself. Whoever must not have that watches the count.
//
// The file is one line a call whatever callers send: JSON escapes line breaks and
// control characters, and texts are bounded. A file that is renamed away or
// removed, as for rotation, is made anew at the next line.
//
// It leaves to others: what becomes of old files, and what a line has in it.
package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Principal is who made a call.
type Principal struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// Entry is one line. Empty fields are left out.
type Entry struct {
	Time      time.Time  `json:"time"` // when the call began
	Principal *Principal `json:"principal,omitempty"`
	Tenant    string     `json:"tenant,omitempty"`
	Call      string     `json:"call"`
	Room      string     `json:"room,omitempty"`
	Recording string     `json:"recording,omitempty"`
	Name      string     `json:"name,omitempty"` // of what else the call was about
	File      string     `json:"file,omitempty"`
	RequestID string     `json:"request_id,omitempty"`
	TraceID   string     `json:"trace_id,omitempty"`
	Remote    string     `json:"remote,omitempty"`
	Code      string     `json:"code"`
	Reason    string     `json:"reason,omitempty"`
	Duration  float64    `json:"duration_ms"`
	// Lost is on lines of the log's own: so many lines before it are missing.
	Lost uint64 `json:"lost,omitempty"`
}

const (
	// maxQueue is how many lines may wait for the disk: some 2 MiB.
	maxQueue = 8192
	// maxText bounds each text of a line; the rest is cut off.
	maxText = 256
	// maxBatch bounds what is written at once.
	maxBatch = 64 << 10
	// retryWait is how long a disk that refuses lines is left alone.
	retryWait = time.Second
	// callLost is the call of a line that says what is missing.
	callLost = "audit.lost"
)

// Stats is what became of lines.
type Stats struct{ Written, Lost uint64 }

// Log is an open file. Its methods may be called from any goroutine.
type Log struct {
	path  string
	log   *slog.Logger
	queue chan []byte

	written, lost atomic.Uint64

	// owned by Run
	file    *os.File
	torn    bool   // the file ends within a line
	told    uint64 // how many lost lines the file tells of
	failing bool
}

// Open opens the file, and makes it, mode 0600, when it is not there. [Log.Run]
// writes and closes it. A nil logger discards.
func Open(path string, logger *slog.Logger) (*Log, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	l := &Log{path: path, log: logger, queue: make(chan []byte, maxQueue)}
	if err := l.open(); err != nil {
		return nil, err
	}
	if info, err := l.file.Stat(); err == nil && info.Mode().Perm()&0o077 != 0 {
		logger.Warn("others may read the audit log; chmod 600 it", "file", path, "mode", info.Mode().Perm().String())
	}
	return l, nil
}

// Record takes a line. It does not wait for the disk. A nil Log takes none.
func (l *Log) Record(e Entry) {
	if l == nil {
		return
	}
	line, err := encode(e)
	if err == nil {
		select {
		case l.queue <- line:
			return
		default:
		}
	}
	l.lost.Add(1)
}

// Stats returns the counts of now.
func (l *Log) Stats() Stats {
	if l == nil {
		return Stats{}
	}
	return Stats{Written: l.written.Load(), Lost: l.lost.Load()}
}

// Run writes until ctx ends; then it writes what is queued, and closes the file.
func (l *Log) Run(ctx context.Context) error {
	defer func() { _ = l.file.Close() }()
	for {
		select {
		case line := <-l.queue:
			l.flush(ctx, l.gather(line))
		case <-ctx.Done():
			l.rest(ctx)
			return nil
		}
	}
}

// rest writes what is left at the end, once.
func (l *Log) rest(ctx context.Context) {
	for {
		select {
		case line := <-l.queue:
			l.flush(ctx, l.gather(line))
		default:
			if err := l.file.Sync(); err != nil {
				l.log.Error("the audit log is not synced", "error", plain(err))
			}
			return
		}
	}
}

// Close closes the file of a log that is not run.
func (l *Log) Close() error { return l.file.Close() }

// gather takes more lines, as long as there are some.
func (l *Log) gather(batch []byte) []byte {
	for len(batch) < maxBatch {
		select {
		case line := <-l.queue:
			batch = append(batch, line...)
		default:
			return batch
		}
	}
	return batch
}

// flush writes lines until the disk takes them; when ctx ends, it tries once.
// While it waits, lines queue, and those that do not fit are lost.
func (l *Log) flush(ctx context.Context, batch []byte) {
	for {
		left, err := l.write(batch)
		if err == nil {
			if l.failing {
				l.failing = false
				l.log.Info("the audit log takes lines again")
			}
			return
		}
		batch = left
		if !l.failing {
			l.failing = true
			l.log.Error("the audit log takes no lines; calls go on without", "error", plain(err))
		}
		select {
		case <-time.After(retryWait):
		case <-ctx.Done():
			if left, err := l.write(batch); err != nil {
				l.lost.Add(uint64(bytes.Count(left, []byte{'\n'}))) //nolint:gosec // it is not negative
			}
			return
		}
	}
}

// write writes lines to the file that has the name now. What it returns is not
// written, from the beginning of a line on.
func (l *Log) write(batch []byte) (left []byte, err error) {
	if err := l.follow(); err != nil {
		return batch, err
	}
	if lost := l.lost.Load(); lost > l.told {
		line, err := encode(Entry{Time: time.Now(), Call: callLost, Code: "OK", Lost: lost - l.told})
		if err != nil {
			return batch, err
		}
		if left, err := l.put(line); err != nil || len(left) > 0 {
			return batch, err
		}
		l.told = lost
	}
	left, err = l.put(batch)
	l.written.Add(uint64(bytes.Count(batch, []byte{'\n'}) - bytes.Count(left, []byte{'\n'}))) //nolint:gosec // it is not negative
	return left, err
}

// put writes lines. Of one that was written in part, the rest is not: it is
// written anew, on a line of its own.
func (l *Log) put(lines []byte) (left []byte, err error) {
	text := lines
	if l.torn {
		text = append([]byte{'\n'}, lines...)
	}
	n, err := l.file.Write(text)
	n = max(n, 0)
	if l.torn && n > 0 {
		l.torn, n = false, n-1
	}
	return l.took(lines, n), err
}

// took notes that n bytes of lines are in the file, and returns what is to be
// written yet.
func (l *Log) took(lines []byte, n int) (left []byte) {
	whole := bytes.LastIndexByte(lines[:n], '\n') + 1
	l.torn = l.torn || whole < n
	return lines[whole:]
}

// follow opens the file anew when another one has its name, or none.
func (l *Log) follow() error {
	is, err := os.Stat(l.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		has, err := l.file.Stat()
		if err == nil && os.SameFile(is, has) {
			return nil
		}
	}
	old := l.file
	if err := l.open(); err != nil {
		return err
	}
	_ = old.Close() // what was written to it is written
	l.torn = false
	return nil
}

func (l *Log) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the audit log: %w", err)
	}
	l.file = f
	return nil
}

// encode makes a line.
func encode(e Entry) ([]byte, error) {
	e.Time = e.Time.UTC()
	for _, text := range []*string{&e.Tenant, &e.Call, &e.Room, &e.Recording, &e.Name, &e.File, &e.RequestID, &e.TraceID, &e.Remote, &e.Code, &e.Reason} {
		*text = cut(*text)
	}
	if e.Principal != nil {
		e.Principal = &Principal{Kind: cut(e.Principal.Kind), Name: cut(e.Principal.Name)}
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf) // which ends the line
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// cut bounds a text.
func cut(text string) string {
	if len(text) <= maxText {
		return text
	}
	end := maxText
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.ToValidUTF8(text[:end], "?") + "…"
}

// plain is an error of a file without its path, which the log line has.
func plain(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
