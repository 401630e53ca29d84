// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/oklog/ulid/v2"
)

// Config says where the database is: one of Dir, URL and Memory is needed. The
// zero value of every other field works.
type Config struct {
	// Dir is where the SQLite database is kept, in the file classrec.db. It is
	// made, with mode 0700, and belongs to one open store at a time.
	Dir string
	// URL is a PostgreSQL database, version 13 or newer, or one that takes the
	// same SQL: postgres://user@host1,host2/db?target_session_attrs=read-write.
	// Several processes may share it.
	URL string
	// Memory keeps the SQLite database in memory: for tests.
	Memory bool
	// ReplicaID is this process's name among those that share the database at
	// URL: 1 to 64 letters, digits, hyphens and underscores, which no other
	// process has at the same time. Empty: a ULID, made at Open.
	ReplicaID string
	// LeaseTTL is how long a replica is silent until the others take its rooms
	// over; 0 is 6 s. All replicas have to have the same.
	LeaseTTL time.Duration
	// Fingerprint stands for the key that secrets are sealed with; processes
	// with different ones cannot share a database. Only a digest of it is
	// stored. Empty is not checked.
	Fingerprint []byte
	// MaxBytes bounds the SQLite database; 0 is no bound but the disk. What is
	// over is refused with ErrUnavailable.
	MaxBytes int64
	// Timeout is how long a call may take until it counts as failed; 0 is 5 s.
	Timeout time.Duration
	// WatchQueue is how many entries a watcher may leave unread before it is
	// ended with a SlowError; 0 is 256.
	WatchQueue int
	// History is how many of the last entries are kept in memory for watchers
	// that resume; older ones are read from the database. 0 is 1024.
	History int
	// Retention says how many events are kept. The zero value keeps all.
	Retention Retention
	// SyncInterval is how often SQLite syncs what it has stored; 0 is before
	// each write is acknowledged. With an interval, a process that is killed
	// loses nothing, and a power cut what was acknowledged within the interval
	// before it.
	SyncInterval time.Duration
	// Scrub reads the whole SQLite database in the background after Open, and
	// logs what is damaged.
	Scrub bool
	// Logger takes what the store has to say; nil discards it.
	Logger *slog.Logger
}

const (
	// maxBatch bounds how many changes share one transaction.
	maxBatch = 500
	// fannedQueue bounds how far the index runs ahead of the watchers; beyond
	// it, changes wait for the fan-out.
	fannedQueue = 1024
	// maxReplays bounds how many watchers read the database at once; others wait.
	maxReplays = 4
	// maxRecordBytes bounds one record.
	maxRecordBytes = 4 << 20
	// maxRoomBytes bounds a room's name.
	maxRoomBytes = 512
)

func (c Config) withDefaults() (Config, error) {
	places := 0
	for _, given := range []bool{c.Dir != "", c.URL != "", c.Memory} {
		if given {
			places++
		}
	}
	if places != 1 {
		return c, errors.New("open store: give one of a directory, a database's URL, and memory")
	}
	if c.ReplicaID == "" {
		c.ReplicaID = ulid.Make().String()
	}
	if !isToken(c.ReplicaID) {
		return c, fmt.Errorf("open store: replica id %q is not 1 to 64 letters, digits, - and _", c.ReplicaID)
	}
	if c.LeaseTTL <= 0 {
		c.LeaseTTL = 6 * time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = 5 * time.Second
	}
	if c.WatchQueue <= 0 {
		c.WatchQueue = 256
	}
	if c.History <= 0 {
		c.History = 1024
	}
	if c.Retention.Interval <= 0 {
		c.Retention.Interval = time.Hour
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// isToken reports whether s is a name of tenants, replicas and recordings: 1
// to 64 letters, digits, hyphens and underscores of ASCII.
func isToken(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
