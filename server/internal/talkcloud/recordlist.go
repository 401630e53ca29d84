// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"context"
	"errors"
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
//
// An answer of which only a part is understood gives that part and an error of [KindInternal] that
// says so; every other error comes without URLs. An answer larger than [Config.MaxBodyBytes] is read
// so far. It needs the enterprise key: without one the error is [KindServerConfig]. An id that is
// empty where it must not be, or holds "/", a control character or a dot segment, is
// [KindInvalidArgument].
func (c *Client) UserRecordList(ctx context.Context, q RecordQuery) ([]string, error) {
	k := &call{op: "list recordings", source: SourceUserRecordList, scrub: c.scrub, cut: true}
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

// parseUserRecordList takes what is understood of an answer.
func (c *Client) parseUserRecordList(k *call, body []byte) ([]string, error) {
	l, err := k.listing(body)
	if err != nil {
		return nil, err
	}
	var urls []string
	odd, seen := 0, map[string]bool{}
	for _, entry := range l.entries {
		found, ok := c.entryURLs(entry)
		if !ok {
			odd++
		}
		for _, u := range found {
			if !seen[u] {
				seen[u] = true
				urls = append(urls, u)
			}
		}
	}
	return urls, k.oddError(odd, len(l.entries), l.broken)
}

// listing finds the list in the answer. A result that tells of no data is an
// empty one; any other result but 0 is an error, and so is an answer without a
// list.
func (k *call) listing(body []byte) (listing, error) {
	l, ok := parseListing(body)
	l.broken = l.broken || k.tooLarge
	switch {
	case !ok && len(body) > 0 && body[0] == '<':
		return listing{}, k.errorf(KindInternal, nil, "the answer is HTML, not JSON")
	case !ok && k.tooLarge:
		return listing{}, k.errorf(KindInternal, ErrTooLarge, "")
	case !ok:
		return listing{}, k.errorf(KindInternal, nil, "the answer is not a list, nor an object with one (%d bytes)", len(body))
	case !l.judged:
		return l, nil
	}
	switch n, isNumber := l.result.Int(); {
	case isNumber && n == ResultOK:
		return l, nil
	case isNumber && n == codeNoData, isNumber && n == -1 && l.hasList && len(l.entries) == 0:
		return listing{hasList: true}, nil // -1 means "no data" on some list APIs: believed only with an empty list beside it
	}
	return listing{}, k.refused(l.result, l.message.String())
}

// Values of recordtype in the call getrecordlist. They are not those of ClassBegin.
const (
	RecordListRegular = 0
	RecordListMP4     = 1
	RecordListMerged  = 8 // merged mp4
)

// RecordListQuery asks for recordings of a room in detail. Room is required.
type RecordListQuery struct {
	Room RoomID
	// From and To bound the start of a recording, to the second and including both; the zero time does
	// not.
	From, To time.Time
	// RecordType is one of the RecordList constants. BatchRecordList asks for all types.
	RecordType int
}

func (q RecordListQuery) window(form url.Values) {
	for key, at := range map[string]time.Time{"starttime": q.From, "endtime": q.To} {
		if !at.IsZero() {
			form.Set(key, strconv.FormatInt(at.Unix(), 10))
		}
	}
}

// ErrTooLarge is wrapped by the error of an answer that is larger than [Config.MaxBodyBytes].
var ErrTooLarge = errors.New("the answer is larger than is read")

// RecordList calls WebAPI/getrecordlist. Where that is not configured ([Config.RichRecordList]) it
// returns nothing and no error. URLs in it are absolute, and secrets.
//
// An answer of which only a part is understood gives that part and an error of [KindInternal] that
// says so; every other error comes without items. One that wraps [ErrTooLarge] asks for a smaller
// window.
func (c *Client) RecordList(ctx context.Context, q RecordListQuery) ([]RecordListItem, error) {
	if !c.cfg.RichRecordList {
		return nil, nil
	}
	k, err := c.recordListCall(q, PathGetRecordList)
	if err != nil {
		return nil, err
	}
	k.form.Set("serial", string(q.Room))
	k.form.Set("recordtype", strconv.Itoa(q.RecordType))
	body, err := c.do(ctx, k)
	if err != nil {
		return nil, err
	}
	items, _, err := c.parseItems(k, body)
	return items, err
}

// BatchPageSize is how many recordings BatchRecordList asks for at a time.
const BatchPageSize = 100

// BatchRecordList calls WebAPI/batchGetRecord for a page, from 1, newest first. total is how many
// recordings there are in all the pages, 0 where the platform does not say. Where the platform does
// not have the call, the error is that of its answer. Otherwise it is as RecordList. The platform
// takes a window of at most 31 days.
func (c *Client) BatchRecordList(ctx context.Context, q RecordListQuery, page int) (items []RecordListItem, total int, err error) {
	if !c.cfg.RichRecordList {
		return nil, 0, nil
	}
	k, err := c.recordListCall(q, PathBatchGetRecord)
	if err != nil {
		return nil, 0, err
	}
	k.form.Set("serials[]", string(q.Room))
	k.form.Set("page", strconv.Itoa(page))
	k.form.Set("numberPage", strconv.Itoa(BatchPageSize))
	k.form.Set("order_starttime", "desc")
	body, err := c.do(ctx, k)
	if err != nil {
		return nil, 0, err
	}
	return c.parseItems(k, body)
}

func (c *Client) recordListCall(q RecordListQuery, path string) (*call, error) {
	k := &call{op: "list recordings in detail", source: SourceRecordList, scrub: c.scrub}
	if c.cfg.EnterpriseKey == "" {
		return nil, k.errorf(KindServerConfig, nil, "no enterprise key is configured")
	}
	if q.Room == "" {
		return nil, k.errorf(KindInvalidArgument, nil, "no room is given")
	}
	k.url = c.records.JoinPath(path)
	k.form = url.Values{"key": {c.cfg.EnterpriseKey.Reveal()}}
	q.window(k.form)
	return k, nil
}

// parseItems takes what is understood of an answer.
func (c *Client) parseItems(k *call, body []byte) (items []RecordListItem, total int, err error) {
	l, err := k.listing(body)
	if err != nil {
		return nil, 0, err
	}
	if !l.hasList && !l.judged {
		return nil, 0, k.errorf(KindInternal, nil, "the answer has neither a result nor a list")
	}
	odd := 0
	for _, entry := range l.entries {
		item, ok := c.parseItem(entry)
		if !ok {
			odd++
		}
		if ok || len(item.URLs()) > 0 || !item.StartTime.IsZero() {
			items = append(items, item)
		}
	}
	n, _ := l.total.Int()
	return items, int(min(max(n, 0), 1<<30)), k.oddError(odd, len(l.entries), l.broken)
}
