// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
)

// maxRetryAfter is the longest wait, asked for by the service, that a call
// takes upon itself. A longer one is the caller's to decide on.
const maxRetryAfter = 30 * time.Second

// pauses are the waits before trying again: doubled from min to max, each with
// jitter, and never shorter than the service asks for.
type pauses struct {
	min, max time.Duration
	next     time.Duration
}

func (p *pauses) reset() { p.next = 0 }

// take returns the next pause; asked is what the service asks for, or 0.
func (p *pauses) take(asked time.Duration) time.Duration {
	p.next = max(p.next, p.min)
	pause := p.next/2 + rand.N(p.next/2+1) //nolint:gosec // it is no secret
	p.next = min(2*p.next, p.max)
	if asked > 0 {
		// Not all who were turned away come back in the same moment.
		return max(pause, asked+rand.N(asked/8+1)) //nolint:gosec // it is no secret
	}
	return pause
}

// sleep waits; it returns early, with its error, when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// mayRepeat says whether a call that ended so, and that does no harm when
// repeated, may come through when it is.
func (d ErrorDetails) mayRepeat() bool {
	switch d.Code {
	case codes.Unavailable, codes.Aborted:
		return true
	case codes.ResourceExhausted, codes.DeadlineExceeded:
		return d.RetryAfter > 0 // the service's word
	default:
		return false
	}
}

// repeat makes a call until it comes through, at most attempts times. The call
// must be one that does no harm when it is repeated.
func repeat[Response any](ctx context.Context, attempts int, call func(context.Context) (Response, error)) (Response, error) {
	wait := pauses{min: 200 * time.Millisecond, max: 5 * time.Second}
	for {
		response, err := call(ctx)
		if err == nil {
			return response, nil
		}
		attempts--
		d := Details(err)
		if attempts <= 0 || ctx.Err() != nil || !d.mayRepeat() || d.RetryAfter > maxRetryAfter {
			return response, toError(ctx, err)
		}
		pause := wait.take(d.RetryAfter)
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < pause {
			return response, toError(ctx, err) // it says more than that time is up
		}
		if sleep(ctx, pause) != nil {
			return response, toError(ctx, err)
		}
	}
}
