// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// maxFileName bounds the name that is made of a nickname, in bytes. File systems take 255; extensions, numbers and the
// names of unfinished conversions need some.
const maxFileName = 96

// fileName makes a person's name fit for a file's name and a URL: letters, digits and symbols of all scripts stay, all
// else becomes "_". Where nothing is left of the nickname it is the user's id, and then "user". Different people may get
// the same name.
func fileName(nickname, userID string) string {
	for _, text := range []string{nickname, userID} {
		name := strings.Trim(clipRunes(strings.Map(nameRune, norm.NFC.String(strings.ToValidUTF8(text, "_"))), maxFileName), "_-")
		switch {
		case name == "":
		case reservedName(name):
			return name + "_"
		default:
			return name
		}
	}
	return "user"
}

// nameRune is what stands for a character in a file's name; -1 for nothing.
func nameRune(r rune) rune {
	switch {
	case unicode.In(r, unicode.Letter, unicode.Mark, unicode.Nd, unicode.So), r == '-', r == '_':
		return r
	case unicode.In(r, unicode.Cf):
		return -1 // joiners, and marks that turn the direction of writing
	}
	return '_'
}

// clipRunes cuts valid UTF-8 to n bytes, between characters.
func clipRunes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// reservedName reports whether Windows keeps a name for a device.
func reservedName(name string) bool {
	name = strings.ToLower(name)
	if slices.Contains([]string{"con", "prn", "aux", "nul"}, name) {
		return true
	}
	port, ok := strings.CutPrefix(name, "com")
	if !ok {
		port, ok = strings.CutPrefix(name, "lpt")
	}
	return ok && utf8.RuneCountInString(port) == 1 && strings.ContainsAny(port, "0123456789¹²³")
}

// nameKey is the same for names that are the same to some file system: one that does not tell capital letters from small
// ones, or composed characters from decomposed ones. The extension does not count, since it may change.
func nameKey(name string) string {
	return norm.NFKC.String(cases.Fold().String(norm.NFC.String(trimExt(name))))
}

func trimExt(name string) string { return strings.TrimSuffix(name, filepath.Ext(name)) }
