// SPDX-License-Identifier: Apache-2.0

package recording

import "time"

// retry is a pause that grows: 0.25 s, doubling to 15 s.
type retry struct {
	at      time.Time // not before
	attempt int
	subject string // the recording for which the last try was made
	err     error  // what the last try failed with, where somebody asks for it
}

func (r *retry) next(now time.Time) {
	r.at = now.Add(min(15*time.Second, 250*time.Millisecond<<min(r.attempt, 10)))
	r.attempt++
}

// or calls do, unless it is too early; then it returns when it is not.
func (r *retry) or(now time.Time, do func()) (due time.Time) {
	if now.Before(r.at) {
		return r.at
	}
	do()
	return time.Time{}
}
