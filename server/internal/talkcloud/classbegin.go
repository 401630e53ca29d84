// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Values of recordtype in ClassBegin. The record list APIs use other numbers: never mix them.
const (
	RecordTypeFile = 0 // one record file for the room
	RecordTypeList = 1 // one file per publisher
	RecordTypeMP3  = 2 // sound only
	RecordTypeMix  = 3 // mp3 and mp4, laid out
)

// Values of convert in ClassBegin.
const (
	ConvertNone = 0 // mkv
	ConvertWebM = 1
	ConvertMP4  = 2
)

// Values of layout in ClassBegin; only for RecordTypeMix.
const (
	LayoutLandscape = 0
	LayoutPortrait  = 1
)

// ClassBegin is the data of the ClassBegin message: how the class is to be recorded.
type ClassBegin struct {
	RecordType int
	// HasRecordType is false where the message said nothing of it, as the document's own sample
	// does; the default differs between the vendor's SDKs, so the receiver has to choose.
	HasRecordType bool
	Convert       int
	Layout        int
	RecordChat    bool
}

// maxDataNesting is how many JSON texts within JSON texts are opened to find the options of ClassBegin.
const maxDataNesting = 4

// classFields returns the fields of the data of ClassBegin: an object, or a JSON text of one, or a
// text of that. ok is false for data that is neither an object nor absent.
func classFields(data json.RawMessage) (fields map[string]json.RawMessage, ok bool) {
	for range maxDataNesting {
		data = unquote(data)
	}
	if len(data) == 0 || string(data) == "null" {
		return nil, true
	}
	return parseObject(data)
}

// ParseClassBegin decodes the data of a ClassBegin message: an object or a JSON text of one, with
// numbers or texts in it. Missing data and null are the zero ClassBegin. A field that cannot be
// read counts as missing. The error tells of data that is no object; the values are not checked.
func ParseClassBegin(data json.RawMessage) (ClassBegin, error) {
	var c ClassBegin
	fields, ok := classFields(data)
	if !ok {
		return c, errors.New("data of ClassBegin is not an object")
	}
	integer := func(key string) (int, bool) {
		n, ok := parseScalar(fields[key]).Int()
		if !ok || int64(int32(n)) != n { //nolint:gosec // that is what is asked
			return 0, false
		}
		return int(n), true
	}
	c.RecordType, c.HasRecordType = integer("recordtype")
	c.Convert, _ = integer("convert")
	c.Layout, _ = integer("layout")
	c.RecordChat = parseScalar(fields["recordchat"]).Truthy()
	return c, nil
}

// ReadClassBegin decodes the data of a ClassBegin message for a platform that records it, whatever
// stands there: an option that is missing, or not understood, has its default, which is a list for
// the record type, and 0 and off for the others. Each option that is not understood gives one
// warning, a short text; what a class carries beside the options gives none.
func ReadClassBegin(data json.RawMessage) (c ClassBegin, warnings []string) {
	c = ClassBegin{RecordType: RecordTypeList, HasRecordType: true}
	fields, ok := classFields(data)
	if !ok {
		return c, []string{"data " + excerpt(data) + " is not an object of options; all of them have their defaults"}
	}
	for _, option := range []struct {
		key      string
		low, top int
		to       *int
	}{
		{"recordtype", RecordTypeFile, RecordTypeMix, &c.RecordType},
		{"convert", ConvertNone, ConvertMP4, &c.Convert},
		{"layout", LayoutLandscape, LayoutPortrait, &c.Layout},
	} {
		switch n, given, ok := wholeNumber(fields[option.key]); {
		case !given:
		case ok && n >= int64(option.low) && n <= int64(option.top):
			*option.to = int(n)
		default:
			warnings = append(warnings, fmt.Sprintf("%s %s is not %d to %d; %d is used",
				option.key, excerpt(fields[option.key]), option.low, option.top, *option.to))
		}
	}
	if raw := fields["recordchat"]; parseScalar(raw).IsZero() && !absent(raw) {
		warnings = append(warnings, "recordchat "+excerpt(raw)+" is neither true nor false; chat is not recorded")
	} else {
		c.RecordChat = parseScalar(raw).Truthy()
	}
	return c, append(warnings, misspelled(fields)...)
}

// misspelled warns of keys that are those of options but for their case.
func misspelled(fields map[string]json.RawMessage) (warnings []string) {
	for _, key := range []string{"recordtype", "convert", "layout", "recordchat"} {
		for _, given := range slices.Sorted(maps.Keys(fields)) {
			if given != key && strings.EqualFold(given, key) {
				warnings = append(warnings, given+" is not an option; it is written "+key)
			}
		}
	}
	return warnings
}

// wholeNumber reads a number, or a text of one, without a fraction.
func wholeNumber(raw json.RawMessage) (n int64, given, ok bool) {
	s := parseScalar(raw)
	if absent(raw) || s.kind == scalarText && strings.TrimSpace(s.text) == "" {
		return 0, false, false
	}
	n, ok = s.Int()
	if f, err := strconv.ParseFloat(strings.TrimSpace(s.text), 64); ok && err == nil && f != math.Trunc(f) {
		ok = false
	}
	return n, true, ok
}

func absent(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) == 0 || string(raw) == "null"
}

// excerpt quotes the beginning of what somebody sent.
func excerpt(raw json.RawMessage) string {
	const most = 40
	text := []rune(strings.ToValidUTF8(string(raw), "\uFFFD"))
	if len(text) > most {
		text = append(text[:most], '…')
	}
	return strconv.Quote(string(text))
}

// Encode returns the JSON text as the vendor's web SDK writes it: recordtype as a string and always
// there, recordchat only when it is on.
func (c ClassBegin) Encode() string {
	text := `{"recordtype":"` + strconv.Itoa(c.RecordType) + `","convert":` + strconv.Itoa(c.Convert) +
		`,"layout":` + strconv.Itoa(c.Layout)
	if c.RecordChat {
		text += `,"recordchat":true`
	}
	return text + "}"
}

// Message returns the message that begins the class when it is published.
func (c ClassBegin) Message() Message {
	return Message{Name: MessageClassBegin, ID: MessageClassBegin, To: ToAll, Data: TextData(c.Encode())}
}

// ClassEnd returns the message that ends the class when it is deleted.
func ClassEnd() Message {
	return Message{Name: MessageClassBegin, ID: MessageClassBegin, To: ToAll, Data: TextData("{}")}
}
