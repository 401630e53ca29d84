// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package recording_test

import (
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

// Any replica takes a nudge: who works the room gets it.
func TestNudge_AnotherReplica(t *testing.T) {
	t.Parallel()
	postgres := storetest.NewPostgres(t)
	platform := newLister(t)
	replica := func() (*life, *store.Store) {
		cfg := config()
		seldom(&cfg)
		cfg.RichRecordList, cfg.NudgeEvery = false, time.Hour
		st := storetest.OpenConfig(t, store.Config{URL: postgres.URL()})
		return newLife(t, st, platform.NewClient(t, nil), cfg), st
	}
	a, _ := replica()
	b, shared := replica()
	record(t, a)
	roomservertest.Poll(t, "the other replica to know who works the room", func() bool {
		_, alive := shared.Holder("default", "42")
		return alive
	})
	roomservertest.Poll(t, "the first look", func() bool { return platform.asked.Load() > 0 })
	looks := platform.asked.Load()
	for range 1000 {
		b.FilesMayBeThere("42")
		b.FilesMayBeThere("43")
		b.ClassMayHaveChanged("42")
	}
	roomservertest.Poll(t, "the look after the nudge", func() bool { return platform.asked.Load() > looks })
	if b.Rooms() != 0 {
		t.Errorf("the other replica has %d rooms", b.Rooms())
	}
}
