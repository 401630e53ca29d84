// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const codeNoData = 4105

// RecordQuery asks for the files of recordings. A recording made with a user id that the platform
// made is asked for by that user id alone; any other by RecordTS with Room or UserID. Room, UserID
// or both must be given.
type RecordQuery struct {
	UserID UserID
	Room   RoomID
	// RecordTS is the ts of the ClassBegin add, Unix seconds; 0 is all recordings.
	RecordTS int64
}

// UserRecordList calls ClientAPI/getUserRecordlist and returns URLs of files, absolute and http or
// https; they carry no signature, so treat them as secrets. No matching data is an empty list.
// It needs the enterprise key: without one the error is [KindServerConfig]. An id that is empty
// where it must not be, or holds "/", a control character or a dot segment, is [KindInvalidArgument].
func (c *Client) UserRecordList(ctx context.Context, q RecordQuery) ([]string, error) {
	k := &call{op: "list recordings", source: SourceUserRecordList, scrub: c.scrub}
	if c.cfg.EnterpriseKey == "" {
		return nil, k.errorf(KindServerConfig, nil, "no enterprise key is configured")
	}
	if q.UserID == "" && q.Room == "" {
		return nil, k.errorf(KindInvalidArgument, nil, "neither a user nor a room is given")
	}
	segments := []string{"key", c.cfg.EnterpriseKey.Reveal()}
	if q.UserID != "" {
		segments = append(segments, "userid", string(q.UserID))
	}
	if q.Room != "" {
		segments = append(segments, "serial", string(q.Room))
	}
	if q.RecordTS != 0 {
		segments = append(segments, "recordts", strconv.FormatInt(q.RecordTS, 10))
	}
	u := *c.records
	u.Path += PathGetUserRecordList
	for _, segment := range segments {
		if !validSegment(segment) {
			return nil, k.errorf(KindInvalidArgument, nil, "an id or the key cannot stand in a URL path")
		}
		u.Path += "/" + segment // escaped when the request is made; there is no slash in it
	}
	k.url = &u
	body, err := c.do(ctx, k)
	if err != nil {
		return nil, err
	}
	return c.parseUserRecordList(k, body)
}

func validSegment(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsRune(s, '/') && !strings.ContainsFunc(s, unicode.IsControl)
}

// parseUserRecordList accepts an array of strings, null, nothing at all, and the envelope.
func (c *Client) parseUserRecordList(k *call, body []byte) ([]string, error) {
	if len(body) == 0 || string(body) == "null" {
		return nil, nil
	}
	if body[0] != '[' {
		var envelope struct {
			Result  Scalar `json:"result"`
			Message Scalar `json:"msg"`
			List    []any  `json:"recordlist"`
		}
		if err := k.decode(body, &envelope); err != nil {
			return nil, err
		}
		switch n, ok := envelope.Result.Int(); {
		case ok && n == codeNoData, ok && n == ResultOK && len(envelope.List) == 0:
			return nil, nil
		case ok && n == ResultOK:
			return nil, k.errorf(KindInternal, nil, "the answer has a list of another kind")
		default:
			return nil, k.refused(envelope.Result, envelope.Message.String())
		}
	}
	var urls []*string
	if !json.Valid(body) {
		return nil, k.errorf(KindInternal, nil, "the answer is not valid JSON (%d bytes)", len(body))
	}
	if json.Unmarshal(body, &urls) != nil {
		return nil, k.errorf(KindInternal, nil, "the answer is a list, but not of strings")
	}
	list := make([]string, 0, len(urls))
	for _, text := range urls {
		if text == nil || strings.TrimSpace(*text) == "" {
			continue
		}
		u, err := c.records.Parse(strings.TrimSpace(*text))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, k.errorf(KindInternal, nil, "the answer lists something that is not an http(s) URL")
		}
		list = append(list, u.String())
	}
	return list, nil
}

// Values of recordtype in the call getrecordlist. They are not those of ClassBegin.
const (
	RecordListRegular = 0
	RecordListMP4     = 1
	RecordListMerged  = 8 // merged mp4
)

// RecordListQuery asks getrecordlist. Room is required.
type RecordListQuery struct {
	Room RoomID
	// From and To bound the start of a recording; the zero time does not.
	From, To time.Time
	// RecordType is one of the RecordList constants.
	RecordType int
}

// RecordList calls WebAPI/getrecordlist. Where that is not configured ([Config.RichRecordList]) it
// returns nothing and no error. URLs in it are as the platform wrote them, and secrets.
func (c *Client) RecordList(ctx context.Context, q RecordListQuery) ([]RecordListItem, error) {
	if !c.cfg.RichRecordList {
		return nil, nil
	}
	k := &call{op: "list recordings in detail", source: SourceRecordList, scrub: c.scrub}
	if c.cfg.EnterpriseKey == "" {
		return nil, k.errorf(KindServerConfig, nil, "no enterprise key is configured")
	}
	if q.Room == "" {
		return nil, k.errorf(KindInvalidArgument, nil, "no room is given")
	}
	k.url = c.records.JoinPath(PathGetRecordList)
	k.form = url.Values{
		"key":        {c.cfg.EnterpriseKey.Reveal()},
		"serial":     {string(q.Room)},
		"recordtype": {strconv.Itoa(q.RecordType)},
	}
	for key, at := range map[string]time.Time{"starttime": q.From, "endtime": q.To} {
		if !at.IsZero() {
			k.form.Set(key, strconv.FormatInt(at.Unix(), 10))
		}
	}
	body, err := c.do(ctx, k)
	if err != nil {
		return nil, err
	}
	var reply RecordListReply
	if err := k.decode(body, &reply); err != nil {
		return nil, err
	}
	switch n, ok := reply.Result.Int(); {
	case ok && n == ResultOK:
		return reply.Records, nil
	case ok && n == codeNoData, ok && n == -1 && reply.Records != nil && len(reply.Records) == 0:
		return nil, nil // -1 means "no data" on some list APIs: believed only with an empty list beside it
	}
	return nil, k.refused(reply.Result, reply.Message.String())
}
