// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"time"
	"unicode"
	"unicode/utf8"
)

// CallbackKind is what a [Callback] tells of.
type CallbackKind uint8

// The kinds of callbacks.
const (
	CallbackOther             CallbackKind = iota // somebody came or left, or something that is not documented
	CallbackClassState                            // a class has begun or ended
	CallbackRecordingFinished                     // the files of a recording are made
)

// String returns a short name, for logs.
func (k CallbackKind) String() string {
	switch k {
	case CallbackClassState:
		return "class state"
	case CallbackRecordingFinished:
		return "recording finished"
	case CallbackOther:
	}
	return "other"
}

// Callback is what the platform tells by a POST to an address that its customer has given to the
// vendor. How the platform proves that a callback is its own is not known, so it is a hint to look,
// and no more: what it says of a class or of files is not kept.
type Callback struct {
	Kind CallbackKind
	// Room is the platform's own id of the room, and ThirdRoom the customer's; one of them is there.
	Room, ThirdRoom RoomID
	// At is when it happened, for a reader; zero when it was not told.
	At time.Time
}

// Limits of what is read of a callback.
const (
	maxCallbacks     = 100 // in one request
	maxCallbackParts = 100 // fields of a multipart form
	maxCallbackRoom  = 128 // bytes of a room's id, as everywhere
)

// ErrCallback says that a request is no callback. It tells no more: who sent it may not be the
// platform.
var ErrCallback = errors.New("not a callback")

// ParseCallbacks reads the body of a callback in any encoding that a customer's server is known to
// be called in: a form, a multipart form, a JSON object or a list of them. Only the two forms need
// the content type to tell them apart. Numbers may be texts, and times in seconds or milliseconds.
// The caller bounds the body. The error is [ErrCallback].
func ParseCallbacks(contentType string, body []byte) ([]Callback, error) {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	media, params, _ := mime.ParseMediaType(contentType) // an unknown one is a form
	switch {
	case len(body) == 0:
		return nil, ErrCallback
	case body[0] == '{':
		return decodeCallbacks(append(append([]byte{'['}, body...), ']'))
	case body[0] == '[':
		return decodeCallbacks(body)
	case media == "multipart/form-data":
		return multipartCallback(body, params["boundary"])
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, ErrCallback
	}
	fields := make(map[string]Scalar, len(values))
	for key := range values {
		fields[key] = Text(values.Get(key))
	}
	return oneCallback(fields)
}

func decodeCallbacks(body []byte) ([]Callback, error) {
	var list []map[string]Scalar
	if json.Unmarshal(body, &list) != nil || len(list) > maxCallbacks {
		return nil, ErrCallback
	}
	var all []Callback
	for _, fields := range list {
		one, err := oneCallback(fields)
		if err != nil {
			return nil, err
		}
		all = append(all, one...)
	}
	if len(all) == 0 {
		return nil, ErrCallback
	}
	return all, nil
}

func multipartCallback(body []byte, boundary string) ([]Callback, error) {
	fields := map[string]Scalar{}
	r := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := r.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			return oneCallback(fields)
		case err != nil, len(fields) >= maxCallbackParts:
			return nil, ErrCallback
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, ErrCallback
		}
		fields[part.FormName()] = Text(string(value))
	}
}

// oneCallback knows a callback by the fields that only its kind has.
func oneCallback(fields map[string]Scalar) ([]Callback, error) {
	c := Callback{Room: roomOf(fields["serial"]), ThirdRoom: roomOf(fields["thirdroomid"])}
	if c.Room == "" && c.ThirdRoom == "" {
		return nil, ErrCallback
	}
	has := func(key string) bool { return !fields[key].IsZero() }
	var at Scalar
	switch {
	case has("classstate"):
		c.Kind, at = CallbackClassState, fields["time"]
	case has("recordid"), has("recordtitle"), has("playpath"):
		c.Kind, at = CallbackRecordingFinished, fields["endtime"]
	default:
		at = fields["timestamp"]
	}
	if n, ok := at.Int(); ok {
		c.At, _ = Timestamp(n).Time()
	}
	return []Callback{c}, nil
}

// roomOf is a room's id, "" for what can be none.
func roomOf(s Scalar) RoomID {
	text := s.String()
	if len(text) > maxCallbackRoom || !utf8.ValidString(text) {
		return ""
	}
	for _, r := range text {
		if unicode.IsControl(r) || r == '/' {
			return ""
		}
	}
	return RoomID(text)
}
