// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

// oddTexts are what people write, and what formats take for something else.
var oddTexts = []string{
	"if a<b and c>d", `{\an8}up`, "<b>bold</b>", "</v><v X>Y", "a & b &amp; &lt;", "00:01.000 --> 00:02.000", "NOTE this",
	"WEBVTT", `C:\new\N\h`, "two\n\nparagraphs", "\r\nlines\r\n", "  blanks  kept  ", "\x00nul", "大家好 👋🏽", "{", "<", ">", "&", "'\"", "-",
}

// shown is what of a text is shown: no NUL, and no empty lines.
func shown(text string) string {
	text = strings.NewReplacer("\r\n", "\n", "\x00", "\ufffd").Replace(text)
	return strings.ReplaceAll(strings.Trim(text, "\n"), "\n\n", "\n \n")
}

func unescape(s string) string {
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(s)
}

// TestChat_NothingLost reads the chat back from chat.vtt and from the file's track, in every format.
func TestChat_NothingLost(t *testing.T) {
	for _, format := range []recorder.Format{recorder.MKV, recorder.WebM} {
		virtualRun(t, format.String(), func(t *testing.T) {
			dir := t.TempDir()
			rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Format: format, Type: recorder.TypeFile, Chat: true})
			v := addFeed(t, rec, newSource(t, "u", clips.TeacherVideo))
			begin := time.Now()
			for i, text := range oddTexts {
				play(t, time.Second, v)
				nickname := ""
				if i%2 == 1 {
					nickname = "<i>Li</i> {\\b1}" + text
				}
				if err := rec.WriteChat(recorder.ChatMessage{UserID: "7-->", Nickname: nickname, Text: text}); err != nil {
					t.Fatal(err)
				}
			}
			play(t, time.Second, v)
			files := stop(t, rec)
			if want := []string{"recording." + format.String(), "chat.vtt"}; !slices.Equal(names(files), want) {
				t.Fatalf("files %q, want %q", names(files), want)
			}
			track := demux(t, in(dir, files[0])).track(t, "D_WEBVTT/SUBTITLES")
			cues := readCues(t, in(dir, files[1]))
			if len(track) != len(oddTexts) || len(cues) != len(oddTexts) {
				t.Fatalf("%d cues in the track and %d beside, want %d", len(track), len(cues), len(oddTexts))
			}
			for i, text := range oddTexts {
				want := "7-->: " + shown(text)
				if i%2 == 1 {
					want = strings.ReplaceAll(strings.ReplaceAll(shown("<i>Li</i> {\\b1}"+text), "\n", " "), "   ", " ") + ": " + shown(text)
				}
				raw := string(track[i].data)
				if got := unescape(strings.TrimPrefix(strings.ReplaceAll(raw, "\u2060", ""), "\n\n")); got != want {
					t.Errorf("the track has %q, want %q", got, want)
				}
				if cues[i].text != want || cues[i].note.UserID != "7-->" {
					t.Errorf("chat.vtt has %q of %q, want %q", cues[i].text, cues[i].note.UserID, want)
				}
				at, err := time.Parse(time.RFC3339, cues[i].note.Time)
				if sent := begin.Add(time.Duration(i+1) * time.Second); err != nil || at.Sub(sent).Abs() > 10*time.Millisecond {
					t.Errorf("chat.vtt has a message at %s, sent at %v", cues[i].note.Time, sent)
				}
			}
		})
	}
}

type vttCue struct {
	note struct {
		UserID string `json:"user_id"`
		Time   string `json:"time"`
	}
	times, text string
}

// readCues reads a chat.vtt by WebVTT's rules: blocks end at an empty line.
func readCues(t *testing.T, path string) []vttCue {
	t.Helper()
	text := string(must[[]byte](t)(os.ReadFile(path)))
	if !utf8.ValidString(text) || !strings.HasPrefix(text, "WEBVTT\n\n") {
		t.Fatalf("%s is no WebVTT", path)
	}
	var cues []vttCue
	var next vttCue
	for block := range strings.SplitSeq(strings.TrimSuffix(strings.TrimPrefix(text, "WEBVTT\n\n"), "\n\n"), "\n\n") {
		if note, ok := strings.CutPrefix(block, "NOTE "); ok {
			if err := json.Unmarshal([]byte(note), &next.note); err != nil || strings.Contains(note, "-->") {
				t.Fatalf("note %q: %v", note, err)
			}
			continue
		}
		times, payload, ok := strings.Cut(block, "\n")
		_, payload, voice := strings.Cut(payload, ">")
		if !ok || !voice || !strings.Contains(times, " --> ") || strings.ContainsAny(payload, "<>") {
			t.Fatalf("cue %q", block)
		}
		next.times, next.text = times, unescape(payload)
		cues = append(cues, next)
		next = vttCue{}
	}
	return cues
}

// TestChat_Long cuts between characters, and says so.
func TestChat_Long(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := t.TempDir()
		rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList, Chat: true})
		for _, text := range []string{strings.Repeat("a", 8<<10), "a" + strings.Repeat("课", 1<<20), strings.Repeat("👋", 1<<20)} {
			if err := rec.WriteChat(recorder.ChatMessage{UserID: "u", Text: text}); err != nil {
				t.Fatal(err)
			}
		}
		stop(t, rec)
		cues := readCues(t, filepath.Join(dir, "chat.vtt"))
		if len(cues) != 3 || len(cues[0].text) != 3+8<<10 || strings.HasSuffix(cues[0].text, "…") {
			t.Fatalf("%d cues", len(cues))
		}
		for _, c := range cues[1:] {
			if !strings.HasSuffix(c.text, "…") || strings.Contains(c.text, "\ufffd") || len(c.text) < 8<<10-8 || len(c.text) > 3+8<<10 {
				t.Errorf("a long message has %d bytes, and ends in %q", len(c.text), c.text[len(c.text)-6:])
			}
		}
		if _, warnings, err := recorder.Notes(dir); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "8 KiB") {
			t.Errorf("warnings %q, %v", warnings, err)
		}
	})
}
