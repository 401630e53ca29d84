// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// toYAML writes JSON as YAML: the same keys in the same order. What would be
// another thing in YAML, or no character for a terminal, is a JSON string, which
// YAML 1.2 takes too.
func toYAML(text []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	w := yamlWriter{in: d}
	if err := w.value("", true); err != nil {
		return nil, err
	}
	return w.out.Bytes(), nil
}

type yamlWriter struct {
	in  *json.Decoder
	out bytes.Buffer
}

// value writes the next value, and ends the line. Objects and lists begin on a
// line of their own, unless they stand at the beginning of one.
func (w *yamlWriter) value(indent string, begun bool) error {
	token, err := w.in.Token()
	if err != nil {
		return err
	}
	delim, ok := token.(json.Delim)
	switch {
	case !ok:
		w.scalar(token)
		return nil
	case !w.in.More():
		_, err := w.in.Token()
		fmt.Fprintf(&w.out, "%s%s\n", space(begun), map[json.Delim]string{'{': "{}", '[': "[]"}[delim])
		return err
	case delim == '{':
		return w.object(indent, begun)
	case delim == '[':
		return w.list(indent)
	}
	return errors.New("not JSON")
}

func space(begun bool) string {
	if begun {
		return ""
	}
	return " "
}

func (w *yamlWriter) object(indent string, begun bool) error {
	if !begun {
		w.out.WriteByte('\n')
	}
	for first := true; w.in.More(); first = false {
		key, err := w.in.Token()
		if err != nil {
			return err
		}
		if !first || !begun {
			w.out.WriteString(indent)
		}
		fmt.Fprintf(&w.out, "%s:", word(fmt.Sprint(key)))
		if err := w.value(indent+"  ", false); err != nil {
			return err
		}
	}
	_, err := w.in.Token()
	return err
}

// list has its dashes below the key that it belongs to.
func (w *yamlWriter) list(indent string) error {
	w.out.WriteByte('\n')
	indent = strings.TrimSuffix(indent, "  ")
	for w.in.More() {
		w.out.WriteString(indent + "- ")
		at := w.out.Len()
		if err := w.value(indent+"  ", true); err != nil {
			return err
		}
		if rest := w.out.Bytes()[at:]; len(rest) > 0 && rest[0] == ' ' { // a scalar
			w.out.Truncate(at + copy(rest, rest[1:]))
		}
	}
	_, err := w.in.Token()
	return err
}

func (w *yamlWriter) scalar(token json.Token) {
	switch v := token.(type) {
	case string:
		fmt.Fprintf(&w.out, " %s\n", word(v))
	case nil:
		w.out.WriteString(" null\n")
	default:
		fmt.Fprintf(&w.out, " %v\n", v)
	}
}

// plain is what is the same string without quotes: it begins with a letter, and
// has nothing that YAML gives a meaning.
var plain = regexp.MustCompile(`^[\pL_/][\pL\pN_./?=&%+@;,()-]*([ :][\pL\pN_./?=&%+@;,()-]+)*$`)

func word(text string) string {
	reserved := []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
	if plain.MatchString(text) && !slices.Contains(reserved, strings.ToLower(text)) {
		return text
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string can be
	return escapeControls(strings.TrimSuffix(b.String(), "\n"))
}

// escapeControls escapes what JSON leaves in its strings and a terminal should
// not get.
func escapeControls(text string) string {
	if !strings.ContainsFunc(text, unseen) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unseen(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unseen(r rune) bool {
	return r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}
