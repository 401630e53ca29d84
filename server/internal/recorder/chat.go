// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// chatName is the file of the chat, of every type of recording.
const chatName = "chat.vtt"

// Bounds of what is kept of a message, in bytes. What is longer is cut between two characters, ends in an ellipsis, and
// is told of in a warning.
const (
	maxChatText = 8 << 10
	maxNickname = 256
)

// chatFile is the chat as WebVTT (https://www.w3.org/TR/webvtt1/): for each message a NOTE with the user's id and the
// time of day, and a cue. Each message is written at once.
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
	note, err := json.Marshal(struct { // with ">" escaped, so that it has no arrow
		UserID string `json:"user_id"`
		Time   string `json:"time"`
	}{m.UserID, m.At.UTC().Format("2006-01-02T15:04:05.000Z07:00")})
	if err != nil {
		return fmt.Errorf("%w %s: %w", ErrWrite, chatName, err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "NOTE %s\n\n%s --> %s\n", note, vttTime(at), vttTime(at+subtitleLength))
	// The voice span lets a page style speakers; most players show only its text.
	fmt.Fprintf(&b, "<v %s>%s\n\n", vttEscape(speaker(m)), vttEscape(chatText(m)))
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

// vttEscape keeps text from being markup in a cue (WebVTT section 3.2).
func vttEscape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// trackText is a cue's text in a track of a Matroska or WebM file. Some players take a backslash before a letter for a
// line break, for which WebVTT has no escape: they are parted by a character that is not seen.
func trackText(s string) string {
	const wordJoiner = "\u2060"
	return vttEscape(strings.NewReplacer(`\N`, `\`+wordJoiner+`N`, `\n`, `\`+wordJoiner+`n`, `\h`, `\`+wordJoiner+`h`).Replace(s))
}

// chatText is what is shown of a message. It has no empty lines, which would end a cue, and no NUL, which no format has.
func chatText(m ChatMessage) string { return speaker(m) + ": " + chatLines(m.Text) }

func speaker(m ChatMessage) string {
	return strings.Join(strings.FieldsFunc(clean(cmp.Or(m.Nickname, m.UserID)), isLineBreak), " ")
}

// clean makes text of what may be none.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

func isLineBreak(r rune) bool { return r == '\n' || r == '\r' }

// chatLines keeps all of a text but empty lines: these get a blank, so that they end no cue.
func chatLines(s string) string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(clean(s))
	lines := strings.Split(strings.Trim(s, "\n"), "\n")
	for i, l := range lines {
		lines[i] = cmp.Or(l, " ")
	}
	return strings.Join(lines, "\n")
}

// clipped is the message within the bounds, and whether something of it was cut.
func (m ChatMessage) clipped() (ChatMessage, bool) {
	nickname, text := clipText(clean(m.Nickname), maxNickname), clipText(clean(m.Text), maxChatText)
	cut := len(m.Nickname) > maxNickname || len(m.Text) > maxChatText
	m.Nickname, m.Text = nickname, text
	return m, cut
}

// oneLine makes all white space single blanks.
func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(s, "\ufffd")), " ")
}

// chatCue is one message of a chat.vtt.
type chatCue struct {
	at   time.Duration
	text string
}

var (
	cueTimes = regexp.MustCompile(`^(\d{2,}):(\d\d):(\d\d)\.(\d{3}) --> `)
	cueVoice = regexp.MustCompile(`^<v [^>]*>`)
)

// readChat reads the cues of a chat.vtt that chatFile has written.
func readChat(data []byte) []chatCue {
	var cues []chatCue
	for block := range strings.SplitSeq(string(data), "\n\n") {
		times, text, ok := strings.Cut(block, "\n")
		m := cueTimes.FindStringSubmatch(times)
		if !ok || m == nil || !utf8.ValidString(text) {
			continue
		}
		var at time.Duration
		for i, unit := range []time.Duration{time.Hour, time.Minute, time.Second, time.Millisecond} {
			var n int
			if _, err := fmt.Sscanf(m[i+1], "%d", &n); err != nil {
				return cues
			}
			at += time.Duration(n) * unit
		}
		cues = append(cues, chatCue{min(at, maxDuration), html.UnescapeString(cueVoice.ReplaceAllString(text, ""))})
	}
	return cues
}
