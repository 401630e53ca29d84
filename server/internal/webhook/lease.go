// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"errors"
	"time"

	"github.com/classrec/classrec/server/internal/store"
)

const (
	// leaseTenant is whose "rooms" the endpoints are where leases are concerned:
	// of several replicas the one that holds the lease works for the endpoint. No
	// recording belongs to it.
	leaseTenant = "_webhooks"
	// leaseLook is how often a replica looks whether an endpoint is free, beside
	// when it is told of a change.
	leaseLook = time.Second
	// rankWait is for how long a replica lets each one before it go first.
	rankWait = 500 * time.Millisecond
	// releaseTimeout bounds giving an endpoint back at the end.
	releaseTimeout = time.Second
)

// leaseRoom is the "room" that stands for the endpoint. A room has no slash.
func (e *endpoint) leaseRoom() string { return e.Tenant + "/" + e.Name }

// acquire waits until the endpoint is this process's to work for: at once where
// there are no others. The error is ctx's.
func (d *Dispatcher) acquire(ctx context.Context, e *endpoint) (*store.Lease, error) {
	changes := d.store.Changes(leaseTenant)
	defer changes.Close()
	for {
		if d.mayAcquire(ctx, e) {
			lease, err := d.store.Acquire(ctx, leaseTenant, e.leaseRoom())
			if err == nil {
				return lease, nil
			}
			if errors.Is(err, store.ErrConflict) {
				continue
			}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changes.C():
			changes.Take()
		case <-time.After(leaseLook):
		}
	}
}

// mayAcquire tells whether nobody works for the endpoint. Where several
// replicas find so, they come one after the other.
func (d *Dispatcher) mayAcquire(ctx context.Context, e *endpoint) bool {
	free := func() bool {
		holder, alive := d.store.Holder(leaseTenant, e.leaseRoom())
		return holder == "" || holder == d.store.ReplicaID() || !alive
	}
	if !free() {
		return false
	}
	if rank := d.store.Rank(leaseTenant, e.leaseRoom()); rank > 0 {
		return pause(ctx, time.Duration(rank)*rankWait) && free()
	}
	return true
}

// release gives the endpoint back, so that another replica takes it at once.
func (d *Dispatcher) release(ctx context.Context, lease *store.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	for {
		err := lease.Release(ctx)
		if !errors.Is(err, store.ErrConflict) {
			return // if it failed: this process's end frees it, or the next acquire
		}
	}
}
