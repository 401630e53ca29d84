// SPDX-License-Identifier: Apache-2.0

package client

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// maxNameBytes leaves room for suffixes below the 255 bytes of file systems.
const maxNameBytes = 200

// FileNames are the names that [Client.Download] gives to the files of a
// recording, in its order, and the same each time: the last parts of the URLs'
// paths. They hold no separators, control characters, or what Windows does not
// take, do not begin with a dot, and differ in more than case: a name that was
// given already gets "-2" before its extension, "-3" and so on.
func FileNames(recording *classrecv1.Recording) []string {
	names := make([]string, len(recording.GetUrls()))
	taken := map[string]bool{}
	for i, from := range recording.GetUrls() {
		name := harmless(lastSegment(from))
		if name == "" {
			name = fmt.Sprintf("file-%d", i+1)
			if i < len(recording.GetFiles()) {
				name += extension(recording.GetFiles()[i].GetMediaType())
			}
		}
		ext := path.Ext(name)
		stem := strings.TrimSuffix(name, ext)
		for n := 2; taken[strings.ToLower(name)]; n++ {
			name = fmt.Sprintf("%s-%d%s", stem, n, ext)
		}
		taken[strings.ToLower(name)] = true
		names[i] = name
	}
	return names
}

func lastSegment(from string) string {
	u, err := url.Parse(from)
	if err != nil {
		return ""
	}
	segments := strings.Split(strings.TrimRight(u.EscapedPath(), "/"), "/")
	last := segments[len(segments)-1]
	if plain, err := url.PathUnescape(last); err == nil {
		return plain
	}
	return last
}

// harmless makes a file's name of any text; "" when nothing is left.
func harmless(text string) string {
	text = norm.NFC.String(strings.ToValidUTF8(text, "_"))
	text = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(`/\:*?"<>|`, r):
			return '_'
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == '\u2028', r == '\u2029': // Cf: bidi marks hide extensions
			return '_'
		}
		return r
	}, text)
	text = strings.TrimLeft(text, ".- ") // hidden, or a flag to other programs
	text = strings.TrimRight(text, ". ")
	if strings.Trim(text, "_") == "" {
		return ""
	}
	ext := path.Ext(text)
	if len(ext) > 16 {
		ext = ""
	}
	stem := cut(strings.TrimSuffix(text, ext), maxNameBytes-len(ext))
	device, _, _ := strings.Cut(strings.ToUpper(stem), ".")
	if device = strings.TrimSpace(device); slices.Contains([]string{"CON", "PRN", "AUX", "NUL"}, device) ||
		len(device) == 4 && (strings.HasPrefix(device, "COM") || strings.HasPrefix(device, "LPT")) {
		stem = "_" + stem
	}
	name := stem + ext
	if lower := strings.ToLower(name); strings.HasSuffix(lower, partSuffix) || strings.HasSuffix(lower, noteSuffix) {
		name += "_"
	}
	return name
}

// cut is the beginning of a text, of at most so many bytes.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}

// extension is that of a media type which recordings have.
func extension(mediaType string) string {
	mediaType, _, _ = strings.Cut(mediaType, ";")
	known := map[string]string{
		"video/webm": ".webm", "audio/webm": ".webm", "video/x-matroska": ".mkv", "audio/x-matroska": ".mka", "video/matroska": ".mkv",
		"audio/matroska": ".mka", "video/mp4": ".mp4", "audio/mp4": ".m4a", "audio/mpeg": ".mp3",
	}
	return cmp.Or(known[strings.ToLower(strings.TrimSpace(mediaType))], ".bin")
}
