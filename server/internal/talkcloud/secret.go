// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is a text that must not be shown: the enterprise key, a room password. Printing, logging
// and marshaling it gives "[redacted]"; [Secret.Reveal] gives the text. Do not use it as the key of
// a map, which encoding/json writes as it is.
type Secret string

// Reveal returns the text itself, to put it on the wire.
func (s Secret) Reveal() string { return string(s) }

// String returns "[redacted]", or "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString is [Secret.String].
func (s Secret) GoString() string { return s.String() }

// Format writes [Secret.String] for every verb, so that no wrong verb reveals the text either.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is [Secret.String].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is [Secret.String]; it covers JSON and YAML, but for the keys of maps.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
