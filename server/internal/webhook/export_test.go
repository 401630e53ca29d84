// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/store"
)

// RetryFor is for how long an endpoint's events are sent again.
func RetryFor(e Endpoint) (time.Duration, error) {
	made, err := newEndpoint(Config{}, e)
	if err != nil {
		return 0, err
	}
	return made.RetryFor, nil
}

// TypesOf are the types of the events that a change is.
func TypesOf(rec *storev1.Record) []string { return typesOf(rec) }

// Payload is the body of an event.
func Payload(entry *store.Entry, typ string) ([]byte, error) {
	return payload(entry, typ, Config{}.withDefaults().HandOut)
}

// RetryAfter reads the header of that name.
func RetryAfter(text string, now time.Time) time.Duration { return retryAfter(text, now) }

// ParsePageToken tells whether the token of a list is one.
func ParsePageToken(req *adminv1.ListWebhookDeliveriesRequest) error {
	_, err := parsePageToken(req)
	return err
}

// Schedule is the schedule of one endpoint, with a clock of the test's.
type Schedule struct {
	s   *schedule
	cfg Config
}

// NewSchedule returns an empty one.
func NewSchedule() Schedule { return Schedule{newSchedule(), Config{}.withDefaults()} }

// Add adds an event of a recording.
func (s Schedule) Add(recording string, revision uint64, typ string, logged time.Time) {
	entry := &store.Entry{Revision: revision, Record: &storev1.Record{Id: recording}}
	rec := newRecord(&endpoint{}, entry, typ)
	rec.Delivery.EventTime = timestamppb.New(logged)
	d := newDelivery(&store.Delivery{Record: rec, Revision: 1}, entry)
	d.windowed = true
	s.s.add(d)
}

// Attempt is one event under way.
type Attempt struct {
	Recording, ID string
	Revision      uint64
	d             *delivery
}

// Take returns what is to be sent now.
func (s Schedule) Take(now time.Time) (Attempt, bool) {
	d := s.s.take(now)
	if d == nil {
		return Attempt{}, false
	}
	return Attempt{d.record.GetRecordingId(), d.id(), d.place.revision, d}, true
}

// Next is when something is to be sent.
func (s Schedule) Next() (time.Time, bool) { return s.s.next() }

// Done ends an attempt with a status; 0 is none. It returns the delivery after
// it.
func (s Schedule) Done(a Attempt, status int, retryFor time.Duration, now time.Time, jitter float64) *adminv1.WebhookDelivery {
	ans := answer{status: status}
	if status/100 != 2 {
		ans.err = "failed"
	}
	next := s.cfg.after(a.d.record, ans, now, now, retryFor, jitter)
	a.d.take(&store.Delivery{Record: next, Revision: a.d.revision + 1})
	s.s.done(a.d, next.GetDelivery().GetState() != pending)
	return next.GetDelivery()
}

// Cursor is up to where all is settled.
func (s Schedule) Cursor(read uint64) uint64 {
	cursor, _ := s.s.progress(read)
	return cursor
}

// Pending is how many events are not settled.
func (s Schedule) Pending() int { return len(s.s.pending) }
