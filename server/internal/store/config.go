// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"log/slog"
	"time"
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
	// NATSURL joins a NATS server or cluster instead, with JetStream and
	// nats-server 2.12 or later. How durable it is, is that server's
	// configuration (sync_interval: always).
	NATSURL string
	// Replicas is the stream's number of replicas at NATSURL; 0 is 1.
	Replicas int
	// MaxBytes bounds what the embedded server stores; 0 is no bound but the
	// disk. What is over is refused with ErrUnavailable.
	MaxBytes int64
	// AckTimeout is how long a write may take until it counts as failed; 0 is
	// 5 s.
	AckTimeout time.Duration
	// WatchQueue is how many entries a watcher may leave unread before it is
	// ended with a SlowError; 0 is 256.
	WatchQueue int
	// History is how many of the last entries are kept in memory for watchers
	// that resume; older ones are read from the log. 0 is 4096.
	History int
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
	if c.Replicas <= 0 {
		c.Replicas = 1
	}
	if c.AckTimeout <= 0 {
		c.AckTimeout = 5 * time.Second
	}
	if c.WatchQueue <= 0 {
		c.WatchQueue = 256
	}
	if c.History <= 0 {
		c.History = 4096
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
