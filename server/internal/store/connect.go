// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// requestTimeout bounds one question to a cluster; who asks asks again.
	requestTimeout = time.Second
	// setupWait is how long Open waits before it tries again what a cluster
	// could not do yet.
	setupWait = 200 * time.Millisecond

	replicasBucket = "CLASSREC_REPLICAS"
	requestsBucket = "CLASSREC_REQUESTS"
	metaBucket     = "CLASSREC_META"

	fingerprintKey = "fingerprint"
)

// dial connects to Config.NATSURL. It waits for a server until ctx is done.
func (s *Store) dial(ctx context.Context) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name("classrec " + s.cfg.ReplicaID),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(200 * time.Millisecond),
		nats.RetryOnFailedConnect(true),
		nats.Timeout(requestTimeout),
		nats.PingInterval(time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ReconnectBufSize(-1), // what cannot be sent now is not sent later
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.log.Warn("nats", "error", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if s.lifetime.Err() == nil {
				s.log.Warn("the connection to nats is lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			s.log.Info("connected to nats again", "server", c.ConnectedServerName())
			s.tails.stop() // what was sent to the old connection is lost
		}),
	}
	if file := s.cfg.NATSCredsFile; file != "" {
		opts = append(opts, nats.UserCredentials(file))
	}
	if file := s.cfg.NATSCAFile; file != "" {
		opts = append(opts, nats.RootCAs(file))
	}
	conn, err := nats.Connect(s.cfg.NATSURL, opts...)
	if err != nil {
		return nil, err
	}
	for conn.Status() != nats.CONNECTED {
		if conn.IsClosed() {
			return nil, errors.Join(nats.ErrConnectionClosed, conn.LastError())
		}
		if !sleep(ctx, setupWait/10) {
			conn.Close()
			return nil, errors.Join(context.Cause(ctx), conn.LastError())
		}
	}
	return conn, nil
}

// retry calls setUp until it succeeds, fails for what waiting does not change,
// or ctx is done.
func (s *Store) retry(ctx context.Context, what string, setUp func(context.Context) error) error {
	for {
		trying, cancel := context.WithTimeout(ctx, 5*requestTimeout)
		err := setUp(trying)
		cancel()
		var refused *jetstream.APIError
		switch {
		case err == nil || s.cluster == nil || ctx.Err() != nil:
			return err
		case errors.Is(err, ErrOtherKey):
			return err
		case errors.As(err, &refused) && refused.Code < 500 && refused.ErrorCode != codeNoPeers:
			return err
		}
		s.log.Warn("nats is not ready; trying again", "for", what, "error", err)
		if !sleep(ctx, setupWait) {
			return err
		}
	}
}

// sleep waits; false when ctx is done first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// bucket makes a bucket or takes the one that is there.
func (c *cluster) bucket(ctx context.Context, name, description string, ttl time.Duration) (kv jetstream.KeyValue, err error) {
	err = c.retry(ctx, "bucket "+name, func(ctx context.Context) error {
		kv, err = c.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket:      name,
			Description: description,
			TTL:         ttl,
			Storage:     jetstream.FileStorage,
			Replicas:    c.cfg.Replicas,
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: make bucket %s: %w", ErrUnavailable, name, err)
	}
	return kv, nil
}

// setUp makes the buckets, checks that all processes have one sealing key, and
// joins the replicas.
func (c *cluster) setUp(ctx context.Context) (err error) {
	if err := c.checkFingerprint(ctx); err != nil {
		return err
	}
	c.requests, err = c.bucket(ctx, requestsBucket, "classrec: who has claimed a request id", requestsTTL)
	if err != nil {
		return err
	}
	replicas, err := c.bucket(ctx, replicasBucket, "classrec: which replicas are alive", 10*c.cfg.LeaseTTL)
	if err != nil {
		return err
	}
	stream, err := c.js.Stream(ctx, "KV_"+replicasBucket)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	c.heart = &heart{cluster: c, presence: c.presence, bucket: replicas, stream: stream}
	return nil
}

// checkFingerprint stores an HMAC of the fingerprint, or compares it with what
// is stored.
func (c *cluster) checkFingerprint(ctx context.Context) error {
	if len(c.cfg.Fingerprint) == 0 {
		return nil
	}
	mac := hmac.New(sha256.New, c.cfg.Fingerprint)
	mac.Write([]byte("classrec store: one key for all replicas"))
	own := mac.Sum(nil)
	meta, err := c.bucket(ctx, metaBucket, "classrec: what all replicas have to agree on", 0)
	if err != nil {
		return err
	}
	err = c.retry(ctx, "the sealing key's fingerprint", func(ctx context.Context) error {
		_, err := meta.Create(ctx, fingerprintKey, own)
		if !errors.Is(err, jetstream.ErrKeyExists) {
			return err
		}
		stored, err := meta.Get(ctx, fingerprintKey)
		if err == nil && !hmac.Equal(stored.Value(), own) {
			err = ErrOtherKey
		}
		return err
	})
	if err != nil && !errors.Is(err, ErrOtherKey) {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
