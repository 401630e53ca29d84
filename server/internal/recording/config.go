// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/admission"
	"github.com/classrec/classrec/server/internal/clock"
)

// Config tunes a [Service]. The zero value works.
type Config struct {
	// Tenant owns all recordings of the service; default "default".
	Tenant string
	// Nickname is how the service appears in a room when a request names none;
	// default "classrec".
	Nickname string
	// StartTimeout is how long a recording may stay STARTING; default 20 s.
	StartTimeout time.Duration
	// StopTimeout is how long StopRecording waits for the delete's echo before
	// it says so; the stop stays asked for. Default 15 s.
	StopTimeout time.Duration
	// StopDeadline is how long a recording may stay STOPPING before it is
	// taken as over without a confirmation; default 10 min.
	StopDeadline time.Duration
	// MaxDuration bounds every class, whoever began it, and whatever is asked for
	// it; default 24 h.
	MaxDuration time.Duration
	// ListTimeout is how long a list waits for what only the platform knows, at most
	// three quarters of the time that the caller has; default 5 s.
	ListTimeout time.Duration
	// ProcessingTimeout is how long the platform may take to list files that can
	// be fetched before the recording is FAILED; default 2 h.
	ProcessingTimeout time.Duration
	// PollMin and PollMax bound the pause between two looks at the platform's
	// record list; it doubles from the first to the second. Default 200 ms and
	// 30 s.
	PollMin, PollMax time.Duration
	// NudgeEvery is how often [Service.FilesMayBeThere] and
	// [Service.ClassMayHaveChanged] have an effect on a room; default 5 s.
	NudgeEvery time.Duration
	// SettleTime is for how long a platform that does not tell when a recording
	// is finished must list the same files before they count as all; default
	// 30 s.
	SettleTime time.Duration
	// LateEvery is how often it is looked whether it is time to look once more for
	// files that come late; default 5 s.
	LateEvery time.Duration
	// ReconcileEvery is how often the store is looked through for recordings that
	// have outlived their deadline, and ReconcileGrace how long such a one is left
	// to its worker; default 30 s and 1 min.
	ReconcileEvery, ReconcileGrace time.Duration
	// MaxLooks is how many rooms of which nothing is known may be looked into at a
	// time, for stops; others wait for their turn. Default 64.
	MaxLooks int
	// DoubtTime is how long a room is stayed in for what may yet be seen: the echo
	// of a ClassBegin whose start was given up, or a class that was gone when we came
	// back. At its end, the room's list is looked at once more. Default 1 min.
	DoubtTime time.Duration
	// AloneTime is after how long a class ends that was begun again, since its room
	// had lost it, and that nobody comes to; default 10 min.
	AloneTime time.Duration
	// Linger is how long a room that nobody needs any more is stayed in;
	// default 3 s.
	Linger time.Duration
	// Grace is how long what was seen in the rooms may take to be stored when the
	// work is to end; default 2 s. What is not stored by then is lost.
	Grace time.Duration
	// Heartbeat is the longest silence of a watch; default 15 s.
	Heartbeat time.Duration
	// SuperviseEvery is how often all unfinished recordings are looked at, for
	// one that nobody works; default 2 s.
	SuperviseEvery time.Duration
	// Key seals room passwords in the store. The zero value seals too, with a
	// key that everybody knows: give one of 32 random bytes.
	Key Key
	// RichRecordList tells that the platform's getrecordlist can be asked,
	// which knows a finished recording even when it has no files.
	RichRecordList bool
	// RoomsStartEmpty says that the platform begins and ends with this process:
	// what its rooms had in the last life is lost, and nobody has ended it. A class
	// of the API that is gone with all that was in its room is begun again there;
	// on any other platform it is over.
	RoomsStartEmpty bool
	// LastAlive returns when that earlier life of the process which was alive at a
	// time was last known to be: with RoomsStartEmpty, a class that was on in it
	// was not recorded from then on, whatever lives came between. Zero when it is
	// not known; nil never knows.
	LastAlive func(at time.Time) time.Time
	// Fetchable tells whether a file that the platform lists can be fetched now,
	// within its context; nil asks for it by [talkcloud.Client.CheckFile]. Its
	// errors do not show the URL.
	Fetchable func(ctx context.Context, fileURL string) error
	// SkipFileCheck takes every listed file for one that can be fetched.
	SkipFileCheck bool
	// Admission bounds what calls may begin; nil bounds nothing. It is nobody
	// else's.
	Admission *admission.Tenant
	// Status makes the public form of an error, for Recording.failure and for what
	// makes a list incomplete. The zero value keeps the message only.
	Status func(error) *statuspb.Status
	// Clock is the time of day, of deadlines and of pauses; nil is the system's.
	// What waits for an answer of others waits by the system's.
	Clock *clock.Clock
	// Hooks are told what happens.
	Hooks Hooks
	// Traces makes the spans of what is done for calls after they are over, and of
	// classes that others begin; nil makes none.
	Traces trace.TracerProvider
	// Logger gets what an operator wants to know; nil discards.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if c.Tenant == "" {
		c.Tenant = "default"
	}
	if c.Nickname == "" {
		c.Nickname = "classrec"
	}
	def(&c.StartTimeout, 20*time.Second)
	def(&c.StopTimeout, 15*time.Second)
	def(&c.ListTimeout, 5*time.Second)
	def(&c.StopDeadline, 10*time.Minute)
	def(&c.MaxDuration, 24*time.Hour)
	def(&c.ProcessingTimeout, 2*time.Hour)
	def(&c.PollMin, 200*time.Millisecond)
	def(&c.PollMax, 30*time.Second)
	def(&c.NudgeEvery, 5*time.Second)
	def(&c.SettleTime, 30*time.Second)
	def(&c.LateEvery, 5*time.Second)
	def(&c.ReconcileEvery, 30*time.Second)
	def(&c.ReconcileGrace, time.Minute)
	def(&c.DoubtTime, time.Minute)
	def(&c.AloneTime, 10*time.Minute)
	def(&c.Linger, 3*time.Second)
	if c.MaxLooks <= 0 {
		c.MaxLooks = 64
	}
	def(&c.Grace, 2*time.Second)
	def(&c.Heartbeat, 15*time.Second)
	def(&c.SuperviseEvery, 2*time.Second)
	if c.LastAlive == nil {
		c.LastAlive = func(time.Time) time.Time { return time.Time{} }
	}
	if c.Status == nil {
		c.Status = func(err error) *statuspb.Status { return &statuspb.Status{Code: 2, Message: err.Error()} }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// grace is how long a worker that begins has for what was asked for before, in a
// state whose deadline may have passed.
func (c Config) grace(state classrecv1.RecordingState) time.Duration {
	switch state {
	case starting:
		return c.StartTimeout
	case stopping:
		return c.StopDeadline
	default:
		return 0
	}
}

// limits are the deadlines of the states.
func (c Config) limits() limits {
	return limits{stop: c.StopDeadline, processing: c.ProcessingTimeout, class: c.MaxDuration, unwanted: c.StartTimeout}
}
