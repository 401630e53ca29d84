// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"container/heap"
	"slices"
	"time"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/store"
)

// delivery is one event that is pending. While it is under way it is its
// attempt's, else the worker's.
type delivery struct {
	record   *storev1.WebhookDeliveryRecord // as stored; replaced, never changed
	revision uint64                         // of what is stored
	entry    *store.Entry                   // nil: to be read from the log
	place    place
	due      time.Time       // not before
	windowed bool            // it is after the cursor, and holds it back
	again    *store.Delivery // asked for again while it was under way
}

func newDelivery(stored *store.Delivery, entry *store.Entry) *delivery {
	d := &delivery{entry: entry}
	d.take(stored)
	return d
}

// take makes what is stored the delivery's state.
func (d *delivery) take(stored *store.Delivery) {
	d.record, d.revision, d.place = stored.Record, stored.Revision, placeOf(stored.Record)
	d.due = time.Time{}
	if next := stored.Record.GetDelivery().GetNextAttemptTime(); next != nil {
		d.due = next.AsTime()
	}
}

func (d *delivery) id() string { return d.record.GetId() }

// line is the deliveries of one recording, in the order of the log. Only the
// first is sent; another goes before it only when it has not been sent yet, or
// was asked for again.
type line struct {
	recording string
	queue     []*delivery // by place; never empty
	busy      bool        // the delivery in hand is under way
	hand      *delivery   // nil when none is
	index     int         // in the heap; -1 when not there
}

func (l *line) head() *delivery { return l.queue[0] }

// schedule says which delivery is to be sent next. It reads no clock and does
// nothing by itself.
type schedule struct {
	lines   map[string]*line // by recording
	waiting lineHeap         // those that are not busy, by when they are due
	pending map[string]*delivery
	window  int // how many of pending hold the cursor back
}

func newSchedule() *schedule {
	return &schedule{lines: make(map[string]*line), pending: make(map[string]*delivery)}
}

// add adds a delivery; one that is there already stays as it is, and holds the
// cursor back from now on when the new one would.
func (s *schedule) add(d *delivery) {
	if known := s.pending[d.id()]; known != nil {
		if d.windowed && !known.windowed {
			known.windowed = true
			s.window++
		}
		return
	}
	s.pending[d.id()] = d
	if d.windowed {
		s.window++
	}
	l := s.lines[d.record.GetRecordingId()]
	if l == nil {
		l = &line{recording: d.record.GetRecordingId(), index: -1}
		s.lines[l.recording] = l
	}
	i, _ := slices.BinarySearchFunc(l.queue, d, func(a, b *delivery) int {
		if a.place.before(b.place) {
			return -1
		}
		return 1
	})
	l.queue = slices.Insert(l.queue, i, d)
	s.sort(l)
}

// sort puts a line where it belongs among those that wait.
func (s *schedule) sort(l *line) {
	switch {
	case l.busy:
	case l.index < 0:
		heap.Push(&s.waiting, l)
	default:
		heap.Fix(&s.waiting, l.index)
	}
}

// take returns the delivery to be sent now, if there is one, and makes its
// line busy until done.
func (s *schedule) take(now time.Time) *delivery {
	if len(s.waiting) == 0 || s.waiting[0].head().due.After(now) {
		return nil
	}
	l, ok := heap.Pop(&s.waiting).(*line)
	if !ok {
		return nil
	}
	l.busy, l.hand = true, l.head()
	return l.hand
}

// next returns when take will have something; false when not before something
// is added or done.
func (s *schedule) next() (time.Time, bool) {
	if len(s.waiting) == 0 {
		return time.Time{}, false
	}
	return s.waiting[0].head().due, true
}

// done ends the turn of a delivery that was taken: it is settled, or else stays
// and is due when it says.
func (s *schedule) done(d *delivery, settled bool) {
	l := s.lines[d.record.GetRecordingId()]
	l.busy, l.hand = false, nil
	if settled {
		delete(s.pending, d.id())
		l.queue = slices.DeleteFunc(l.queue, func(q *delivery) bool { return q == d })
		if d.windowed {
			s.window--
		}
	}
	if len(l.queue) == 0 {
		delete(s.lines, l.recording)
		return
	}
	s.sort(l)
}

// again makes a pending delivery what is stored now, because it was asked for
// again: it is due at once. One that is under way is, after that.
func (s *schedule) again(d *delivery, stored *store.Delivery) {
	l := s.lines[d.record.GetRecordingId()]
	if l.hand == d {
		d.again = stored
		return
	}
	d.take(stored)
	s.sort(l)
}

// progress returns the last revision up to which everything is settled, when
// all up to read was taken from the log, and the pending delivery whose event
// is the oldest; nil when none is pending.
func (s *schedule) progress(read uint64) (cursor uint64, oldest *delivery) {
	cursor = read
	for _, d := range s.pending {
		if d.windowed {
			cursor = min(cursor, d.place.revision-1)
		}
		if oldest == nil || d.place.before(oldest.place) {
			oldest = d
		}
	}
	return cursor, oldest
}

// lineHeap is by when the first delivery is due.
type lineHeap []*line

func (h lineHeap) Len() int { return len(h) }
func (h lineHeap) Less(i, j int) bool {
	a, b := h[i].head(), h[j].head()
	if a.due.Equal(b.due) {
		return a.place.before(b.place)
	}
	return a.due.Before(b.due)
}

func (h lineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is heap.Interface's.
func (h *lineHeap) Push(x any) {
	l, ok := x.(*line)
	if !ok {
		return
	}
	l.index = len(*h)
	*h = append(*h, l)
}

// Pop is heap.Interface's.
func (h *lineHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	l.index = -1
	return l
}
