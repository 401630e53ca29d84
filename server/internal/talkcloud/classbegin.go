// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
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

// ParseClassBegin decodes the data of a ClassBegin message: an object or a JSON text of one, with
// numbers or texts in it. Missing data and null are the zero ClassBegin. A field that cannot be
// read counts as missing. The error tells of data that is no object; the values are not checked.
func ParseClassBegin(data json.RawMessage) (ClassBegin, error) {
	var c ClassBegin
	if text := bytes.TrimSpace(unquote(data)); len(text) == 0 || string(text) == "null" {
		return c, nil
	}
	fields, ok := parseObject(data)
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
