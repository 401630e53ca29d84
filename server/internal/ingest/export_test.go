// SPDX-License-Identifier: Apache-2.0

package ingest

// ParseOffer opens parseOffer with the default bounds to tests.
func ParseOffer(text string) error {
	c := Config{}.withDefaults()
	_, err := parseOffer(text, &c, nil)
	return err
}

// ParseFrag opens parseFrag to tests.
func ParseFrag(body string) (ufrag string, candidates int, err error) {
	f, err := parseFrag(body)
	return f.ufrag, len(f.candidates), err
}
