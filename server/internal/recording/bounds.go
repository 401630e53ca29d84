// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"strings"
	"unicode/utf8"
)

// What rooms and lists tell is bounded before it is stored: whatever somebody in
// a room sends, a record can be written, and read by clients, which take 4 MiB.
const (
	maxData       = 64 << 10 // bytes of a message's data
	maxID         = 1 << 10  // bytes of a user's id
	maxFilesBytes = 1 << 20  // of the files of one recording
)

// cutText returns the beginning of a text, at most n bytes and whole runes, and
// valid UTF-8, which proto messages have to be.
func cutText(text string, n int) string {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
