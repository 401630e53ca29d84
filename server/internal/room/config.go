// SPDX-License-Identifier: Apache-2.0

package room

import (
	"cmp"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Config tunes a [Manager]. Its zero value is ready for use.
type Config struct {
	// BackoffMin and BackoffMax bound the wait before a session joins again; default 500 ms and 5 s.
	// The wait is random, and its upper end doubles with every attempt that failed.
	BackoffMin, BackoffMax time.Duration
	// AttemptTimeout bounds one attempt to join again; default 30 s.
	AttemptTimeout time.Duration
	// Linger is how long a session stays in its room after the last Release; default 0.
	Linger time.Duration
	// EchoTimeout bounds Publish and Delete; default that of the client, 5 s.
	EchoTimeout time.Duration
	// MaxChanges bounds how many Publish and Delete are under way at once, over all sessions; default
	// 256. More wait their turn, each as long as its context lasts, and EchoTimeout begins with it: when
	// all classes begin on the hour, they queue up here instead of timing out together at the platform.
	MaxChanges int
	// Now is the time of day, of events; nil is [time.Now].
	Now func() time.Time
	// Logger gets what is worth knowing; nil discards.
	Logger *slog.Logger
}

func (cfg Config) withDefaults(echoTimeout time.Duration) Config {
	cfg.BackoffMin = cmp.Or(cfg.BackoffMin, 500*time.Millisecond)
	cfg.BackoffMax = max(cmp.Or(cfg.BackoffMax, 5*time.Second), cfg.BackoffMin)
	cfg.AttemptTimeout = cmp.Or(cfg.AttemptTimeout, 30*time.Second)
	cfg.EchoTimeout = cmp.Or(cfg.EchoTimeout, echoTimeout)
	if cfg.MaxChanges <= 0 {
		cfg.MaxChanges = 256
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// backoff returns how long to wait before the next attempt, after so many that failed: between
// BackoffMin and an upper end of twice that, doubled each time, at most BackoffMax.
func (cfg Config) backoff(failed int) time.Duration {
	upper := cfg.BackoffMax
	if failed < 16 { // beyond, the doubling would overflow and is over the maximum anyway
		upper = min(upper, cfg.BackoffMin<<(failed+1))
	}
	return cfg.BackoffMin + rand.N(max(upper-cfg.BackoffMin, 1)) //nolint:gosec // it is no secret
}
