// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// chatName is the file of the chat, for all types of recording while it lasts, and at the end unless the chat
// is in the media file.
const chatName = "chat.vtt"

// chatFile is the chat as WebVTT (https://www.w3.org/TR/webvtt1/). Each message is written at once.
type chatFile struct {
	file mediaFile
	size int64
	last time.Duration // cues must be in order
}

func newChatFile(open fileOpener, dir string) (*chatFile, error) {
	f, err := open(filepath.Join(dir, chatName))
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrWrite, chatName, err)
	}
	c := &chatFile{file: f}
	if err := c.append([]byte("WEBVTT\n\n")); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return c, nil
}

func (c *chatFile) write(at time.Duration, m ChatMessage) error {
	at = max(at, c.last)
	c.last = at
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s --> %s\n", vttTime(at), vttTime(at+subtitleLength))
	// The voice span lets a page style speakers; most players show only its text.
	fmt.Fprintf(&b, "<v %s>%s", vttEscape(oneLine(speaker(m))), vttEscape(chatText(m)))
	b.WriteString("\n\n")
	return c.append(b.Bytes())
}

func (c *chatFile) append(b []byte) error {
	if _, err := c.file.WriteAt(b, c.size); err != nil {
		return fmt.Errorf("%w %s: %w", ErrWrite, chatName, err)
	}
	c.size += int64(len(b))
	return nil
}

func (c *chatFile) close() error {
	for _, err := range []error{c.file.Truncate(c.size), c.file.Sync(), c.file.Close()} {
		if err != nil {
			return fmt.Errorf("%w %s: %w", ErrWrite, chatName, err)
		}
	}
	return nil
}

func vttTime(d time.Duration) string {
	ms := d.Milliseconds()
	return fmt.Sprintf("%02d:%02d:%02d.%03d", ms/3600000, ms/60000%60, ms/1000%60, ms%1000)
}

func vttEscape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// chatText is what is shown of a message. It has no empty lines, which would end a cue.
func chatText(m ChatMessage) string {
	return oneLine(speaker(m)) + ": " + noBlankLines(m.Text)
}

func speaker(m ChatMessage) string {
	name := m.Nickname
	if name == "" {
		name = m.UserID
	}
	return clip(name, 256)
}

// oneLine makes all white space single blanks.
func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(s, "\ufffd")), " ")
}

// noBlankLines keeps line breaks but no empty lines, which would end the cue.
func noBlankLines(s string) string {
	s = strings.ToValidUTF8(clip(s, maxChatText), "\ufffd")
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' || r == 0 })
	kept := lines[:0]
	for _, l := range lines {
		if l = strings.TrimSpace(l); l != "" {
			kept = append(kept, l)
		}
	}
	return strings.Join(kept, "\n")
}

// clip cuts s to n bytes; what is left of a character cut in two is replaced by the callers.
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
