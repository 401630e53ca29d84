// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Bounds of what is read from an odd answer.
const (
	maxNoise      = 64 << 10 // bytes before the JSON: a notice of PHP, say
	maxCandidates = 16       // places in them where the JSON may begin
	maxNesting    = 4        // lists in lists, and JSON in JSON
	maxFileURL    = 8 << 10  // bytes of one URL
)

// listing is an answer of a record list as far as it was understood.
type listing struct {
	judged  bool              // the answer is an envelope with a result
	result  Scalar            //
	message Scalar            //
	total   Scalar            // how many there are, of all pages
	entries []json.RawMessage // of the list, whatever they are
	hasList bool              // there was one, maybe empty
	broken  bool              // the list does not end: there may be more
}

// parseListing finds the list in an answer: a bare array; an envelope with the
// list in recordlist, data or list; an object whose keys are numbers, as PHP
// encodes an array with holes; any of them after a notice, before one, as a JSON
// text, or cut off. ok is false for what has none of that.
func parseListing(body []byte) (l listing, ok bool) {
	body = bytes.TrimSpace(body)
	if len(body) == 0 || string(body) == "null" || string(body) == "false" || string(body) == `""` {
		return listing{hasList: true}, true
	}
	raw, whole := findJSON(body)
	if !whole {
		return brokenListing(body)
	}
	return listingOf(raw, 0)
}

// findJSON returns the JSON of a body: from its beginning, whatever follows, or
// from behind some noise to its end.
func findJSON(body []byte) (raw json.RawMessage, ok bool) {
	if json.Valid(body) {
		return body, true
	}
	if first := json.NewDecoder(bytes.NewReader(body)); body[0] == '[' || body[0] == '{' {
		if first.Decode(&raw) == nil {
			rest := bytes.TrimSpace(body[first.InputOffset():])
			return raw, !bytes.ContainsAny(rest[:1], `[{"`) // which would be a second document
		}
	}
	noise := body[:min(len(body), maxNoise)]
	for at, tries := 0, 0; tries < maxCandidates; tries++ {
		i := bytes.IndexAny(noise[at:], "[{")
		if i < 0 {
			return nil, false
		}
		at += i
		if json.Valid(body[at:]) {
			return body[at:], true
		}
		at++
	}
	return nil, false
}

func listingOf(raw json.RawMessage, depth int) (l listing, ok bool) {
	raw = unquote(raw)
	switch {
	case len(raw) == 0, string(raw) == "null", string(raw) == "false":
		return listing{hasList: true}, true
	case depth > maxNesting:
		return listing{}, false
	case raw[0] == '[':
		return listing{entries: flatten(raw, depth), hasList: true}, true
	case raw[0] != '{':
		return listing{}, false
	}
	fields, isObject := parseObject(raw)
	if !isObject {
		return listing{}, false
	}
	if _, envelope := fields["result"]; !envelope {
		for _, key := range []string{"recordlist", "data", "list"} {
			if _, has := fields[key]; has {
				return listOf(fields, depth), true
			}
		}
		entries, numbered := numbered(fields)
		if !numbered {
			entries = []json.RawMessage{raw} // one entry, without a list around it
		}
		return listing{entries: entries, hasList: numbered}, true
	}
	return listOf(fields, depth), true
}

// listOf reads an envelope.
func listOf(fields map[string]json.RawMessage, depth int) listing {
	_, judged := fields["result"]
	l := listing{judged: judged, result: parseScalar(fields["result"]), message: parseScalar(fields["msg"]), total: parseScalar(fields["total"])}
	for _, key := range []string{"recordlist", "data", "list"} {
		inner, has := fields[key]
		if !has {
			continue
		}
		if in, ok := listingOf(inner, depth+1); ok {
			l.entries, l.hasList = in.entries, true
			return l
		}
		l.entries, l.hasList = []json.RawMessage{inner}, true // which nobody will understand
		return l
	}
	return l
}

// numbered returns the values of an object whose keys are all numbers, in their
// order.
func numbered(fields map[string]json.RawMessage) (values []json.RawMessage, ok bool) {
	type entry struct {
		n   int
		raw json.RawMessage
	}
	var entries []entry
	for key, raw := range fields {
		n, err := strconv.Atoi(key)
		if err != nil {
			return nil, false
		}
		entries = append(entries, entry{n, raw})
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.n, b.n) })
	for _, e := range entries {
		values = append(values, e.raw)
	}
	return values, len(values) > 0
}

// flatten returns the elements of an array, those of arrays in it too.
func flatten(raw json.RawMessage, depth int) []json.RawMessage {
	var items, flat []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		return nil
	}
	for _, item := range items {
		if item = bytes.TrimSpace(item); len(item) > 0 && item[0] == '[' && depth < maxNesting {
			flat = append(flat, flatten(item, depth+1)...)
			continue
		}
		flat = append(flat, item)
	}
	return flat
}

// brokenListing reads what is whole of a list that ends in the middle.
func brokenListing(body []byte) (l listing, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	switch t, err := dec.Token(); {
	case err != nil:
		return listing{}, false
	case t == json.Delim('{'):
		for {
			key, err := dec.Token()
			name, isName := key.(string)
			if err != nil || !isName {
				return listing{}, false
			}
			if name == "recordlist" || name == "data" || name == "list" {
				break
			}
			var value json.RawMessage
			if dec.Decode(&value) != nil {
				return listing{}, false
			}
			if name == "result" {
				l.judged, l.result = true, parseScalar(value)
			}
		}
		if t, err := dec.Token(); err != nil || t != json.Delim('[') {
			return listing{}, false
		}
	case t != json.Delim('['):
		return listing{}, false
	}
	for dec.More() {
		var item json.RawMessage
		if dec.Decode(&item) != nil {
			break
		}
		l.entries = append(l.entries, item)
	}
	l.broken, l.hasList = true, true
	return l, len(l.entries) > 0
}

// fileURL makes an absolute http or https URL of what a record list calls a
// file: as it is, relative to the list, without a scheme, with a stray percent
// sign, with backslashes. ok is false for what is none of these.
func (c *Client) fileURL(text string) (_ string, ok bool) {
	text = strings.ReplaceAll(strings.TrimFunc(text, isBlank), "&amp;", "&")
	if text == "" || len(text) > maxFileURL || strings.ContainsFunc(text, unicode.IsControl) {
		return "", false
	}
	path, query, hasQuery := strings.Cut(text, "?")
	text = strings.ReplaceAll(path, `\`, "/")
	if hasQuery {
		text += "?" + query
	}
	if scheme, rest, has := strings.Cut(text, ":"); has && isScheme(scheme) && !startsWithPort(rest) {
		if !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
			return "", false
		}
	} else if !strings.HasPrefix(text, "/") && beginsWithHost(text) {
		text = c.records.Scheme + "://" + text
	} else if !strings.ContainsAny(text, "/.") {
		return "", false // a word, or a sentence
	}
	u, err := c.records.Parse(escapeStray(text))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return "", false
	}
	return u.String(), true
}

func isBlank(r rune) bool { return unicode.IsSpace(r) || r == '\uFEFF' }

// isScheme reports whether a text is a scheme (RFC 3986 section 3.1).
func isScheme(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", r)) {
			return false
		}
	}
	return s != ""
}

// startsWithPort reports whether what follows a colon is a port and a path.
func startsWithPort(s string) bool {
	port, _, _ := strings.Cut(s, "/")
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// beginsWithHost reports whether a text without a scheme begins with the name or
// address of a host: with a port, an IP address, or a name with dots that ends in
// letters; and a path follows.
func beginsWithHost(text string) bool {
	first, _, hasPath := strings.Cut(text, "/")
	if !hasPath {
		return false
	}
	host, port, hasPort := strings.Cut(first, ":")
	if hasPort {
		return host != "" && startsWithPort(port)
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" {
		return true
	}
	dot := strings.LastIndexByte(host, '.')
	return dot > 0 && len(host)-dot > 2 && strings.Trim(strings.ToLower(host[dot+1:]), "abcdefghijklmnopqrstuvwxyz") == ""
}

// escapeStray escapes percent signs that begin no escape.
func escapeStray(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	var b strings.Builder
	for i := range len(text) {
		b.WriteByte(text[i])
		if text[i] == '%' && (i+2 >= len(text) || !isHex(text[i+1]) || !isHex(text[i+2])) {
			b.WriteString("25")
		}
	}
	return b.String()
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// urlFields are the fields of an entry that hold the URL of a file, apart from
// those of [RecordListItem].
func urlFields() [8]string {
	return [...]string{"url", "fileurl", "file_url", "playurl", "play_url", "downloadurl", "download_url", "path"}
}

// entryURLs returns the URLs of an entry of getUserRecordlist, and whether all of
// it was understood. An empty entry is none.
func (c *Client) entryURLs(raw json.RawMessage) (urls []string, ok bool) {
	raw = bytes.TrimSpace(raw)
	if string(raw) == "null" {
		return nil, true
	}
	fields, isObject := parseObject(raw)
	if !isObject {
		text := parseScalar(raw)
		if text.kind != scalarText {
			return nil, false
		}
		if strings.TrimFunc(text.text, isBlank) == "" {
			return nil, true
		}
		u, ok := c.fileURL(text.text)
		if !ok {
			return nil, false
		}
		return []string{u}, true
	}
	ok = true
	for _, key := range urlFields() {
		if text := parseScalar(fields[key]).String(); text != "" {
			u, good := c.fileURL(text)
			if good {
				return []string{u}, true
			}
			ok = false
		}
	}
	item, good := c.parseItem(raw)
	urls = item.URLs()
	return urls, ok && good && len(urls) > 0
}

// parseItem decodes an entry of getrecordlist; ok is false when not all of it was
// understood.
func (c *Client) parseItem(raw json.RawMessage) (item RecordListItem, ok bool) {
	fields, isObject := parseObject(raw)
	if !isObject {
		urls, ok := c.entryURLs(raw)
		if len(urls) > 0 {
			item.HTTPSPlayPath = Text(urls[0])
		}
		return item, ok
	}
	if json.Unmarshal(unquote(raw), &item) != nil {
		return RecordListItem{}, false
	}
	ok = len(fields) > 0
	for _, path := range item.paths() {
		if strings.TrimFunc(path.String(), isBlank) == "" {
			continue
		}
		u, good := c.fileURL(path.String())
		ok = ok && good
		*path = Text(u) // "" for none
	}
	files := item.Files[:0]
	for _, f := range item.Files {
		u, good := c.fileURL(f.URL)
		if ok = ok && good; good {
			f.URL = u
			files = append(files, f)
		}
	}
	if item.Files != nil {
		item.Files = files
	}
	if len(item.URLs()) == 0 {
		for _, key := range urlFields() {
			if u, good := c.fileURL(parseScalar(fields[key]).String()); good {
				item.HTTPSPlayPath = Text(u)
				break
			}
		}
	}
	return item, ok
}

// oddError says that not all of a list was understood.
func (k *call) oddError(odd, of int, broken bool) error {
	switch {
	case broken && odd == 0:
		return k.errorf(KindInternal, nil, "the list is cut off after %d entries", of)
	case broken:
		return k.errorf(KindInternal, nil, "%d of %d entries of the list are not understood, and it is cut off after them", odd, of)
	case odd > 0:
		return k.errorf(KindInternal, nil, "%d of %d entries of the list are not understood", odd, of)
	}
	return nil
}
