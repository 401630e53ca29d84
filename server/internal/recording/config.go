// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"log/slog"
	"time"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
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
	// ProcessingTimeout is how long the platform may take to list the files
	// before the recording is FAILED; default 2 h.
	ProcessingTimeout time.Duration
	// PollMin and PollMax bound the pause between two looks at the platform's
	// record list; it doubles from the first to the second. Default 200 ms and
	// 30 s.
	PollMin, PollMax time.Duration
	// SettleTime is for how long a platform that does not tell when a recording
	// is finished must list the same files before they count as all; default
	// 30 s.
	SettleTime time.Duration
	// Linger is how long a room that nobody needs any more is stayed in;
	// default 3 s.
	Linger time.Duration
	// Heartbeat is the longest silence of a watch; default 15 s.
	Heartbeat time.Duration
	// Key seals room passwords in the store. The zero value seals too, with a
	// key that everybody knows: give one of 32 random bytes.
	Key Key
	// RichRecordList tells that the platform's getrecordlist can be asked,
	// which knows a finished recording even when it has no files.
	RichRecordList bool
	// RoomsStartEmpty tells that the platform begins and ends with this process:
	// what its rooms had in the last life is lost, and nobody has ended it.
	RoomsStartEmpty bool
	// Status makes the public form of an error, for Recording.failure. The
	// zero value keeps the message only.
	Status func(error) *statuspb.Status
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
	def(&c.StopDeadline, 10*time.Minute)
	def(&c.ProcessingTimeout, 2*time.Hour)
	def(&c.PollMin, 200*time.Millisecond)
	def(&c.PollMax, 30*time.Second)
	def(&c.SettleTime, 30*time.Second)
	def(&c.Linger, 3*time.Second)
	def(&c.Heartbeat, 15*time.Second)
	if c.Status == nil {
		c.Status = func(err error) *statuspb.Status { return &statuspb.Status{Code: 2, Message: err.Error()} }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
