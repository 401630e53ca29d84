// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"

	"github.com/classrec/classrec/server/internal/store"
)

// Backup makes a consistent copy of the database in [Config.DataDir] in a new
// file, also while a server uses it. The copy has a history of its own: watchers
// that resume in it are told so. Errors: of [Config.Database], which has tools of
// its own; of a database that is damaged or not there. There is no file then.
func Backup(ctx context.Context, cfg Config, file string) error {
	return store.Backup(ctx, cfg.withDefaults().database(), file)
}

// Check reads the whole database, also while a server uses it, and calls found
// with each damage, in words. It changes nothing. summary says what was read. An
// error is of a database that cannot be read any further.
func Check(ctx context.Context, cfg Config, found func(problem string)) (summary string, err error) {
	sum, err := store.Check(ctx, cfg.withDefaults().database(), found)
	return fmt.Sprintf("%d recordings, %d events, %d deliveries of webhooks; history %s, last sequence %d",
		sum.Recordings, sum.Events, sum.Deliveries, sum.History, store.SequenceOf(sum.Last)), err
}

// database says where the database is.
func (c Config) database() store.Config {
	if c.Database != "" {
		return store.Config{URL: c.Database}
	}
	return store.Config{Dir: c.path("store")}
}
