// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"unicode"
)

// clean makes a text harmless for a terminal: what others have written, a
// participant's name say, must not move the cursor.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
