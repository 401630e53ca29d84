// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// maxFormBytes bounds the body of an HTTP call.
const maxFormBytes = 64 << 10

var errFormTooBig = errors.New("form too big")

// params are the parameters of an HTTP call. Of a key given twice the first that is not empty counts; values are without surrounding
// blanks.
type params map[string]string

// requestParams reads the body, then the query, then the header Tk-authkey; what comes first wins. A body is multipart if it
// says so, JSON if it looks so, and else a form, whatever its content type says. Lists are read as [params.list] has them.
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
		p.addBody(r.Header.Get("Content-Type"), body)
	}
	p.addForm(restoreBlanks(r.URL.RawQuery))
	if key := r.Header.Get("Tk-Authkey"); key != "" && p["key"] == "" {
		p["key"] = key
	}
	return p, nil
}

func (p params) addBody(contentType string, body []byte) {
	mediaType, options, err := mime.ParseMediaType(contentType)
	trimmed := bytes.TrimSpace(body)
	switch {
	case err == nil && mediaType == "multipart/form-data" && options["boundary"] != "":
		p.addMultipart(body, options["boundary"])
	case isObject(trimmed) && json.Valid(trimmed):
		p.addObject(trimmed)
	default:
		p.addForm(string(body))
	}
}

// addMultipart reads the fields of a multipart form, as PHP sends an array. Files are left out, and so is what follows a
// part that is broken.
func (p params) addMultipart(body []byte, boundary string) {
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextPart()
		if err != nil {
			return
		}
		value, err := io.ReadAll(part)
		if err == nil && part.FileName() == "" {
			p.add(part.FormName(), string(value))
		}
	}
}

// addObject reads the members of a JSON object.
func (p params) addObject(body json.RawMessage) {
	members, _ := readMembers(body)
	for _, m := range members {
		text := scalar(m.value).String()
		if isList(m.value) || isObject(bytes.TrimSpace(m.value)) {
			text = string(m.value)
		}
		if !absentJSON(m.value) {
			p.add(m.key, text)
		}
	}
}

func absentJSON(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

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
	if base, _, isList := strings.Cut(key, "["); isList && strings.HasSuffix(key, "]") { // ids[], ids[0]: one of a list
		raw, _ := json.Marshal(append(p.list(base), strings.TrimSpace(value))) // strings encode without error
		p[base] = string(raw)
		return
	}
	if key != "" && p[key] == "" {
		p[key] = strings.TrimSpace(value)
	}
}

// list reads a parameter that is a list: given again and again (ids[]), a JSON array, or texts with commas between.
func (p params) list(key string) []string {
	text := p[key]
	if isList(json.RawMessage(text)) {
		if list := scalars(json.RawMessage(text)); len(list) > 0 || json.Valid([]byte(text)) {
			return list
		}
	}
	var list []string
	for one := range strings.SplitSeq(text, ",") {
		if one = strings.TrimSpace(one); one != "" {
			list = append(list, one)
		}
	}
	return list
}

// number reads a parameter that is a whole number; 0 when it is not given, an error when it is none.
func (p params) number(key string) (int64, error) {
	if p[key] == "" {
		return 0, nil
	}
	n, ok := talkcloud.Text(p[key]).Int()
	if !ok {
		return 0, fmt.Errorf("%s is not a number", key)
	}
	return n, nil
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
		if (c < 'a' || c > 'z') && (key[i] < '0' || key[i] > '9') && !strings.ContainsRune("_[]", rune(key[i])) {
			return false
		}
	}
	return key != ""
}
