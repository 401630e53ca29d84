// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/oklog/ulid/v2"
)

// Config says where the log is. Either Dir or NATSURL is needed; the zero
// value of every other field works.
type Config struct {
	// Dir is where the embedded NATS server keeps the log. It is made, with
	// mode 0700, and belongs to one open store at a time. A power cut loses
	// nothing on file systems where syncing a new file keeps its name too
	// (ext4, XFS, Btrfs): the server does not sync the directory itself when
	// it begins another file of 8 MiB.
	Dir string
	// NATSURL joins a NATS server or cluster instead: one URL, or several with
	// commas between them, of servers of one cluster, with JetStream and
	// nats-server 2.12 or later. How durable it is, is that server's
	// configuration (sync_interval: always).
	NATSURL string
	// ReplicaID is this process's name among those that share the log at
	// NATSURL: 1 to 64 letters, digits, hyphens and underscores, which no
	// other process has at the same time. Empty: a ULID, made at Open.
	ReplicaID string
	// LeaseTTL is how long a replica is silent until the others take its rooms
	// over; 0 is 6 s. All replicas have to have the same.
	LeaseTTL time.Duration
	// Fingerprint stands for the key that secrets are sealed with; processes
	// with different ones cannot share a log. Only an HMAC of it is stored.
	// Empty is not checked, nor is it when the log is embedded.
	Fingerprint []byte
	// NATSCredsFile has the credentials for NATSURL, if it wants any, and
	// NATSCAFile the certificates of the authorities that its TLS certificates
	// are checked against; empty: those of the system.
	NATSCredsFile string
	NATSCAFile    string
	// Replicas is the stream's number of replicas at NATSURL; 0 is 1.
	Replicas int
	// MaxBytes bounds what the embedded server stores; 0 is no bound but the
	// disk. What is over is refused with ErrUnavailable.
	MaxBytes int64
	// AckTimeout is how long a write, or a question to the cluster, may take
	// until it counts as failed; 0 is 5 s, or 10 s with NATSURL: the servers
	// of a cluster take up to 9 s to elect another leader when one is lost.
	AckTimeout time.Duration
	// WatchQueue is how many entries a watcher may leave unread before it is
	// ended with a SlowError; 0 is 256.
	WatchQueue int
	// History is how many of the last entries are kept in memory for watchers
	// that resume; older ones are read from the log. 0 is 4096.
	History int
	// Retention says how much history is kept. The zero value keeps all.
	Retention Retention
	// SyncInterval is how often the embedded server syncs what it has stored;
	// 0 is before each write is acknowledged. With an interval, a process
	// that is killed loses nothing, and a power cut what was acknowledged
	// within the interval before it.
	SyncInterval time.Duration
	// Logger takes what the store and the embedded server have to say; nil
	// discards it.
	Logger *slog.Logger
}

const (
	// maxBatch bounds how many Appends share one write. The server takes at
	// most 1,000.
	maxBatch = 500
	// fannedQueue bounds how far the index runs ahead of the watchers; beyond
	// it, Appends wait for the fan-out.
	fannedQueue = 1024
	// maxReplays bounds how many watchers read the log at once; others wait.
	maxReplays = 16
	// maxRecordBytes bounds one record.
	maxRecordBytes = 4 << 20
)

func (c Config) withDefaults() (Config, error) {
	if (c.Dir == "") == (c.NATSURL == "") {
		return c, errors.New("open store: give either a directory or a NATS address")
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
	if c.Replicas <= 0 {
		c.Replicas = 1
	}
	if c.AckTimeout <= 0 {
		c.AckTimeout = 5 * time.Second
		if c.NATSURL != "" {
			c.AckTimeout = 10 * time.Second
		}
	}
	if c.WatchQueue <= 0 {
		c.WatchQueue = 256
	}
	if c.History <= 0 {
		c.History = 4096
	}
	if c.Retention.Interval <= 0 {
		c.Retention.Interval = time.Hour
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
