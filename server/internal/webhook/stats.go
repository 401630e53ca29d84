// SPDX-License-Identifier: Apache-2.0

package webhook

import "sync/atomic"

// Stats is what was counted of an endpoint in this process since it began.
type Stats struct {
	// Endpoint is its name.
	Endpoint string
	// Delivered and Failed are attempts; GivenUp are events, of those that
	// failed.
	Delivered, Failed, GivenUp uint64
	// Pending is how many events are taken from the log, or asked for again, and
	// not settled.
	Pending int64
	// Skipped is how often events were lost because the log had forgotten them.
	Skipped uint64
}

type counters struct {
	delivered, failed, givenUp, skipped atomic.Uint64
	pending                             atomic.Int64
}

// Stats returns what was counted of each endpoint, in the order of the
// configuration.
func (d *Dispatcher) Stats() []Stats {
	all := make([]Stats, 0, len(d.endpoints))
	for _, e := range d.endpoints {
		all = append(all, Stats{
			Endpoint:  e.Name,
			Delivered: e.count.delivered.Load(),
			Failed:    e.count.failed.Load(),
			GivenUp:   e.count.givenUp.Load(),
			Pending:   e.count.pending.Load(),
			Skipped:   e.count.skipped.Load(),
		})
	}
	return all
}
