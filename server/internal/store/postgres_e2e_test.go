// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package store_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

// newDatabases returns what makes a new, empty database in the server, and
// returns its address.
func newDatabases(p *storetest.Postgres) func() string {
	var n atomic.Int64
	return func() string {
		name := fmt.Sprintf("test%d", n.Add(1))
		p.SQL("CREATE DATABASE " + name)
		return strings.Replace(p.URL(), "/postgres?", "/"+name+"?", 1)
	}
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	databases := newDatabases(storetest.NewPostgres(t))
	for name, test := range conformance {
		t.Run(name, func(t *testing.T) {
			url := databases()
			test(t, func(t testing.TB, cfg store.Config) *store.Store {
				t.Helper()
				cfg.URL = url
				return storetest.OpenConfig(t, cfg)
			})
		})
	}
}
