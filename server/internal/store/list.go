// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// Filter says which recordings List returns. Empty fields do not restrict.
type Filter struct {
	// Room: only of this room.
	Room string
	// UserID: only those of this user: who began the class, or has a file in
	// the recording.
	UserID string
	// RecordTime, in Unix seconds: only those that began in this second.
	RecordTime int64
	// Rooms: only of these; nil: of all. A list of few rooms costs no more for
	// the recordings of others.
	Rooms []string
	// Visible: only of rooms for which it is true. nil: of all. What is passed
	// over is read all the same.
	Visible func(room string) bool
}

// Cursor is a place in a list: right after the recording with this record time
// and id, whether or not there is one. The zero value is the beginning.
type Cursor struct {
	Seconds int64 // of the record time since the Unix epoch; a recording without one has 0
	Nanos   int32
	ID      string
}

// IsZero reports whether c is the beginning.
func (c Cursor) IsZero() bool { return c == Cursor{} }

// CursorOf returns the place right after e.
func CursorOf(e *Entry) Cursor {
	t := e.Record.GetRecording().GetRecordTime()
	return Cursor{Seconds: t.GetSeconds(), Nanos: t.GetNanos(), ID: e.Record.GetId()}
}

func (c Cursor) compare(d Cursor) int {
	return cmp.Or(cmp.Compare(c.Seconds, d.Seconds), cmp.Compare(c.Nanos, d.Nanos), cmp.Compare(c.ID, d.ID))
}

// listChunk is how many rows are looked at at a time for those that are visible.
const listChunk = 1000

// List returns at most limit recordings of the tenant, newest first by record
// time and then id, those without a record time last; where to go on; and
// whether there are more. Only recordings that have a name are listed. A
// change while paging moves no other recording. What is damaged is listed as an
// Entry that is Damaged.
//
// Errors: ErrUnavailable; ErrDataLoss when the list itself is damaged; ctx's.
func (s *Store) List(ctx context.Context, tenant string, f Filter, after Cursor, limit int) (page []*Entry, next Cursor, more bool, err error) {
	if limit <= 0 {
		return nil, after, false, nil
	}
	asking, done := s.asking(ctx)
	defer done()
	page, err = s.list(asking, tenant, f, after, limit+1)
	if err != nil {
		return nil, after, false, s.because(ctx, fmt.Errorf("list recordings: %w", err))
	}
	if more = len(page) > limit; more {
		page = page[:limit]
	}
	if len(page) == 0 {
		return nil, after, false, nil
	}
	for i, e := range page {
		if e.Damaged {
			page[i] = s.restore(asking, e)
		}
	}
	return page, CursorOf(page[len(page)-1]), more, nil
}

func (s *Store) list(ctx context.Context, tenant string, f Filter, after Cursor, limit int) ([]*Entry, error) {
	switch {
	case f.Room != "" && (f.Visible != nil && !f.Visible(f.Room) || f.Rooms != nil && !slices.Contains(f.Rooms, f.Room)):
		return nil, nil
	case f.Room == "" && f.Rooms != nil && f.UserID == "":
		return s.listRooms(ctx, tenant, f, after, limit)
	case f.Room == "" && (f.Visible != nil || f.Rooms != nil):
		return s.listVisible(ctx, tenant, f, after, limit)
	}
	q := listQuery(tenant, f, after)
	return s.entries(ctx, "SELECT "+q.prefixed(recordingColumns)+q.text(limit), q.args)
}

func (s *Store) entries(ctx context.Context, query string, args []any) (found []*Entry, err error) {
	err = s.db.query(ctx, func(row scanner) error {
		e, err := scanRecording(row)
		found = append(found, e)
		return err
	}, query, args...)
	return found, err
}

// listRooms merges the lists of some rooms.
func (s *Store) listRooms(ctx context.Context, tenant string, f Filter, after Cursor, limit int) (all []*Entry, err error) {
	for _, room := range f.Rooms {
		one := f
		one.Room = room
		found, err := s.list(ctx, tenant, one, after, limit)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, func(a, b *Entry) int { return CursorOf(b).compare(CursorOf(a)) })
	return all[:min(limit, len(all))], nil
}

// listVisible looks through the list for what is visible, and reads only that.
func (s *Store) listVisible(ctx context.Context, tenant string, f Filter, after Cursor, limit int) (all []*Entry, err error) {
	visible := func(room string) bool {
		return (f.Visible == nil || f.Visible(room)) && (f.Rooms == nil || slices.Contains(f.Rooms, room))
	}
	for len(all) < limit {
		var chosen []recordingKey
		n := 0
		q := listQuery(tenant, f, after)
		err := s.db.query(ctx, func(row scanner) error {
			n++
			key := recordingKey{tenant: tenant}
			if err := row.Scan(&after.Seconds, &after.Nanos, &after.ID, &key.room); err != nil {
				return failed(err)
			}
			if key.id = after.ID; visible(key.room) {
				chosen = append(chosen, key)
			}
			return nil
		}, "SELECT "+q.prefixed("seconds, nanos, id, room")+q.text(listChunk), q.args...)
		if err != nil {
			return nil, err
		}
		for _, key := range chosen[:min(len(chosen), limit-len(all))] {
			found, err := s.entries(ctx, selectRecording, []any{key.tenant, key.room, key.id})
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
		if n < listChunk {
			break
		}
	}
	return all, nil
}

// query is the part of a SELECT after its columns.
type query struct {
	from, prefix string // the table whose order it is, and its name in front of columns
	where        []string
	args         []any
}

func listQuery(tenant string, f Filter, after Cursor) *query {
	q := &query{from: "recording r", prefix: "r."}
	if f.UserID != "" {
		q.from = "recording_user u JOIN recording r ON r.tenant = u.tenant AND r.room = u.room AND r.id = u.id"
		q.prefix = "u."
		q.and("u.user_id = $", userKey(f.UserID))
	} else {
		q.where = append(q.where, "r.name <> ''")
	}
	q.and(q.prefix+"tenant = $", tenant)
	if f.Room != "" {
		q.and(q.prefix+"room = $", f.Room)
	}
	if f.RecordTime != 0 {
		q.and(q.prefix+"seconds = $", f.RecordTime)
	}
	if !after.IsZero() {
		q.args = append(q.args, after.Seconds, after.Nanos, after.ID)
		n := len(q.args)
		q.where = append(q.where, fmt.Sprintf("(%[1]sseconds, %[1]snanos, %[1]sid) < ($%[2]d, $%[3]d, $%[4]d)", q.prefix, n-2, n-1, n))
	}
	return q
}

func (q *query) and(condition string, arg any) {
	q.args = append(q.args, arg)
	q.where = append(q.where, fmt.Sprintf("%s%d", condition, len(q.args)))
}

// prefixed returns columns of table recording for the SELECT.
func (q *query) prefixed(columns string) string {
	return "r." + strings.ReplaceAll(columns, ", ", ", r.")
}

func (q *query) text(limit int) string {
	return fmt.Sprintf(" FROM %s WHERE %s ORDER BY %[3]sseconds DESC, %[3]snanos DESC, %[3]sid DESC LIMIT %[4]d",
		q.from, strings.Join(q.where, " AND "), q.prefix, limit)
}
