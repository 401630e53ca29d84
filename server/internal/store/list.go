// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"slices"
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
	// Visible: only of rooms for which it is true. nil: of all.
	Visible func(room string) bool
}

// Cursor is a place in a list: right after the recording with this record time
// and id, whether or not there is one. The zero value is the beginning.
type Cursor struct {
	Seconds int64 // of the record time since the Unix epoch; a recording without one has 0
	Nanos   int32
	ID      string
}

// IsZero tells whether c is the beginning.
func (c Cursor) IsZero() bool { return c == Cursor{} }

// CursorOf returns the place right after e.
func CursorOf(e *Entry) Cursor {
	t := e.Record.GetRecording().GetRecordTime()
	return Cursor{Seconds: t.GetSeconds(), Nanos: t.GetNanos(), ID: e.Record.GetId()}
}

func (c Cursor) compare(d Cursor) int {
	return cmp.Or(cmp.Compare(c.Seconds, d.Seconds), cmp.Compare(c.Nanos, d.Nanos), cmp.Compare(c.ID, d.ID))
}

// ordered holds entries by record time, then id, oldest first: new ones mostly
// go to the end. No two have the same place.
type ordered []*Entry

func (o ordered) search(c Cursor) (int, bool) {
	return slices.BinarySearchFunc(o, c, func(e *Entry, c Cursor) int { return CursorOf(e).compare(c) })
}

// put adds e, or replaces the entry at e's place.
func (o ordered) put(e *Entry) ordered {
	c := CursorOf(e)
	if len(o) == 0 || CursorOf(o[len(o)-1]).compare(c) < 0 {
		return append(o, e)
	}
	i, found := o.search(c)
	if found {
		o[i] = e
		return o
	}
	return slices.Insert(o, i, e)
}

// remove removes the entry at e's place.
func (o ordered) remove(e *Entry) ordered {
	i, found := o.search(CursorOf(e))
	if !found {
		return o
	}
	return slices.Delete(o, i, i+1)
}

// page returns at most limit entries, newest first, beginning after the cursor
// and restricted to one second unless second is 0 and to visible rooms unless
// visible is nil, and whether there are more.
func (o ordered) page(after Cursor, second int64, visible func(string) bool, limit int) (page []*Entry, more bool) {
	low, high := 0, len(o)
	if second != 0 {
		low, _ = o.search(Cursor{Seconds: second})
		high, _ = o.search(Cursor{Seconds: second + 1})
	}
	if !after.IsZero() {
		i, _ := o.search(after)
		high = min(high, i)
	}
	if high <= low {
		return nil, false
	}
	if visible != nil {
		for i := high - 1; i >= low; i-- {
			if !visible(o[i].Record.GetRecording().GetRoom()) {
				continue
			}
			if len(page) == limit {
				return page, true
			}
			page = append(page, o[i])
		}
		return page, false
	}
	n := min(limit, high-low)
	page = make([]*Entry, n)
	for i := range page {
		page[i] = o[high-1-i]
	}
	return page, high-n > low
}

// List returns at most limit recordings of the tenant, newest first by record
// time and then id, those without a record time last; where to go on; and
// whether there are more. Only recordings that have a name are listed. A
// change while paging moves no other recording. It costs the page, not the
// list; with [Filter.Visible], what is passed over too.
func (s *Store) List(tenant string, f Filter, after Cursor, limit int) (page []*Entry, next Cursor, more bool) {
	if limit <= 0 {
		return nil, after, false
	}
	page, more = s.index.list(tenant, f, after, limit)
	if len(page) == 0 {
		return nil, after, false
	}
	return page, CursorOf(page[len(page)-1]), more
}
