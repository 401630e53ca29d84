// SPDX-License-Identifier: Apache-2.0

package store

import "fmt"

// FullError means that as many recordings are live as may be.
type FullError struct {
	// Max is the bound that was met.
	Max int
	// OfTenant: it was that of the tenant, and not that of all.
	OfTenant bool
}

// Error says which bound.
func (e *FullError) Error() string {
	if e.OfTenant {
		return fmt.Sprintf("the tenant has %d live recordings, and may not have more", e.Max)
	}
	return fmt.Sprintf("there are %d live recordings, and may not be more", e.Max)
}

// Reserve takes a place among the live recordings, of the tenant and of all, for
// one that is about to be appended; 0 is no bound. The count is of all replicas,
// and of the places that this process has reserved: in one process, no more
// recordings become live by reserved places than there may be. As soon as the
// recording is visible, it counts itself instead of the place. release gives a
// place back that was not used; it may be called after the Append in any case,
// and has to be.
//
// Errors: *FullError.
func (s *Store) Reserve(tenant, room, id string, ofTenant, ofAll int) (release func(), err error) {
	key := recordingKey{tenant, room, id}
	if err := s.index.reserve(key, ofTenant, ofAll); err != nil {
		return nil, err
	}
	return func() { s.index.unreserve(key) }, nil
}

// Full returns the error that Reserve would.
func (s *Store) Full(tenant string, ofTenant, ofAll int) error {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	return s.index.full(tenant, ofTenant, ofAll)
}

func (x *index) reserve(key recordingKey, ofTenant, ofAll int) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.full(key.tenant, ofTenant, ofAll); err != nil {
		return err
	}
	if x.unfinished[key] == nil {
		x.reserved[key] = struct{}{}
		x.count(key.tenant, 1)
	}
	return nil
}

func (x *index) unreserve(key recordingKey) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, ok := x.reserved[key]; ok {
		delete(x.reserved, key)
		x.count(key.tenant, -1)
	}
}

// count counts live recordings and reserved places. The index is locked.
func (x *index) count(tenant string, n int) {
	x.live += n
	if x.lives[tenant] += n; x.lives[tenant] == 0 {
		delete(x.lives, tenant)
	}
}

// full compares what is live and reserved with its bounds. The index is locked.
func (x *index) full(tenant string, ofTenant, ofAll int) error {
	switch {
	case ofTenant > 0 && x.lives[tenant] >= ofTenant:
		return &FullError{Max: ofTenant, OfTenant: true}
	case ofAll > 0 && x.live >= ofAll:
		return &FullError{Max: ofAll}
	}
	return nil
}
