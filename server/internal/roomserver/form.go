// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxFormBytes bounds the body of an HTTP call.
const maxFormBytes = 64 << 10

var errFormTooBig = errors.New("form too big")

// params are the parameters of an HTTP call. Of a key given twice the first counts; values are without surrounding
// blanks.
type params map[string]string

// requestParams reads the body as a form, whatever its content type says, then the query; the body wins.
func requestParams(r *http.Request) (params, error) {
	p := params{}
	if r.Body != nil && r.Method != http.MethodGet && r.Method != http.MethodHead {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxFormBytes+1))
		if err != nil {
			return nil, err
		}
		if len(body) > maxFormBytes {
			return nil, errFormTooBig
		}
		p.addForm(string(body))
	}
	p.addForm(r.URL.RawQuery)
	return p, nil
}

// pathParams reads parameters that are path segments, /key/K/serial/S, from what follows a prefix of an escaped path. A
// segment that is not well escaped is taken as it stands.
func (p params) addPath(escaped string) {
	segments := strings.Split(strings.Trim(escaped, "/"), "/")
	for i := 0; i+1 < len(segments); i += 2 {
		p.add(unescapePath(segments[i]), unescapePath(segments[i+1]))
	}
}

func unescapePath(segment string) string {
	if text, err := url.PathUnescape(segment); err == nil {
		return text
	}
	return segment
}

// addForm reads a form that may be percent-encoded or, as the vendor's web SDK sends it, not encoded at all. It is taken
// as not encoded when it contains what no encoder leaves: a blank, a byte above ASCII, a control character, a percent
// sign that begins no escape. In such a form an ampersand may be part of a value, so that a piece without a plain
// key belongs to the value before it.
func (p params) addForm(form string) {
	if form == "" {
		return
	}
	pieces := strings.Split(form, "&")
	if encoded(form) {
		for _, piece := range pieces {
			key, value, _ := strings.Cut(piece, "=")
			p.add(unescapeQuery(key), unescapeQuery(value))
		}
		return
	}
	var key, value string
	for _, piece := range pieces {
		k, v, found := strings.Cut(piece, "=")
		if !found || !plainKey(k) {
			value += "&" + piece
			continue
		}
		p.add(key, value)
		key, value = k, v
	}
	p.add(key, value)
}

func (p params) add(key, value string) {
	if _, given := p[key]; key != "" && !given {
		p[key] = strings.TrimSpace(value)
	}
}

func unescapeQuery(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}

func encoded(form string) bool {
	for i := range len(form) {
		switch c := form[i]; {
		case c <= ' ' || c >= 0x7f:
			return false
		case c == '%':
			if i+2 >= len(form) || !isHex(form[i+1]) || !isHex(form[i+2]) {
				return false
			}
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func plainKey(key string) bool {
	for i := range len(key) {
		c := key[i] | 0x20
		if (c < 'a' || c > 'z') && (key[i] < '0' || key[i] > '9') && key[i] != '_' {
			return false
		}
	}
	return key != ""
}
