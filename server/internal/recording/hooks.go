// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"time"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// Hooks are told what happens, for metrics and for who plays with a server. Each may be nil. They are called from
// any goroutine, and must not block. What is stored is told by the process that
// stored it, so that those of replicas add up.
type Hooks struct {
	// Stored: this process has stored a record. It is not to be changed.
	Stored func(*storev1.Record)
	// Confirmed: a recording that was asked for has begun, so long after it was
	// asked for.
	Confirmed func(took time.Duration)
	// Available: the files of a recording can be fetched, so long after its end
	// was confirmed.
	Available func(took time.Duration)
	// Ended: a class is over, or could not begin.
	Ended func(reason classrecv1.EndReason)
	// Failed: a recording that had begun has no files, or not all of them.
	Failed func()
	// Delivered: a watcher that had caught up has taken an event, so long after
	// the log did.
	Delivered func(lag time.Duration)
	// Watching: a watch has begun (1) or ended (-1).
	Watching func(change int)
	// Dropped: a watch was ended because it did not keep up, or asked for what is
	// not kept.
	Dropped func(tooOld bool)
}

// changed tells of a change that was stored.
func (h *Hooks) changed(before, after *storev1.Record, now time.Time) {
	was, is := before.GetRecording().GetState(), after.GetRecording().GetState()
	if was == is {
		return
	}
	since := func(at time.Time) time.Duration { return max(0, now.Sub(at)) }
	switch {
	case was == starting && is == recording:
		call(h.Confirmed, since(before.GetRecording().GetCreateTime().AsTime()))
	case was == processing && is == available:
		call(h.Available, since(before.GetRecording().GetUpdateTime().AsTime()))
	case was == processing && is == failedSt:
		if h.Failed != nil {
			h.Failed()
		}
	case is == processing, was == starting && is == failedSt:
		call(h.Ended, after.GetRecording().GetEndReason())
	}
}

func call[T any](hook func(T), v T) {
	if hook != nil {
		hook(v)
	}
}
