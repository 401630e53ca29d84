// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"errors"
	"strings"
)

// frag is a trickle-ice-sdpfrag body (RFC 8840 section 9).
type frag struct {
	ufrag      string
	candidates []fragCandidate
}

type fragCandidate struct {
	text  string
	mid   string
	mline int // counted from 0; -1 before the first m= line
}

// errBadFrag is told to clients as it is.
var errBadFrag = errors.New("malformed SDP fragment")

// parseFrag reads the lines that matter to us and skips the rest. Each has to be of the form x=….
func parseFrag(body string) (frag, error) {
	var f frag
	mid, mline := "", -1
	for line := range strings.Lines(body) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		if len(line) < 2 || line[1] != '=' {
			return frag{}, errBadFrag
		}
		value := line[2:]
		switch line[0] {
		case 'm':
			mline++
			mid = ""
		case 'a':
			key, v, _ := strings.Cut(value, ":")
			switch key {
			case "ice-ufrag":
				f.ufrag = v
			case "mid":
				mid = v
			case "candidate":
				f.candidates = append(f.candidates, fragCandidate{text: value, mid: mid, mline: mline})
			}
		}
	}
	if f.ufrag == "" && len(f.candidates) == 0 && !strings.Contains(body, "a=end-of-candidates") {
		return frag{}, errBadFrag
	}
	return f, nil
}
