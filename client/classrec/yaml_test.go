// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// What comes out is YAML of the same value, whatever is in its strings, and
// harmless for a terminal.
func FuzzYAML(f *testing.F) {
	for _, text := range []string{
		"", "42", "true", "No", "null", "~", "a: b", "a #b", "- a", "rooms/42/recordings/17", "课", " a ", "a:", "x\x1b[2J\u009b\u202e", "'", `"`, "\\",
		"line\nline", "https://h/a?b=c&d", "2026-11-22T10:20:00Z", "9s", "%", "@", "`", "a, b", "=", "<<", "\ufeff", "\u2028", "0x1f", "a,", "[",
	} {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, key, text string) {
		want := map[string]any{
			"k" + strings.ToValidUTF8(key, "?"): strings.ToValidUTF8(text, "?"),
			"list":                              []any{strings.ToValidUTF8(text, "?"), true, nil, map[string]any{"a": strings.ToValidUTF8(text, "?"), "b": []any{}}},
			"more":                              map[string]any{"x": map[string]any{}, "y": map[string]any{"z": strings.ToValidUTF8(text, "?")}},
		}
		raw, err := json.Marshal(want)
		if err != nil {
			t.Skip()
		}
		out, err := toYAML(raw)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(string(out), unseen) {
			t.Errorf("%q", out)
		}
		var got map[string]any
		if err := yaml.Unmarshal(out, &got); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %#v, want %#v", out, got, want)
		}
	})
}
