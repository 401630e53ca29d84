// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// part is something that a server is made of.
type part struct {
	name string
	// run, if not nil, works until its context ends or stop is called, and
	// returns nil then; or earlier, when there is nothing more to do.
	run func(ctx context.Context) error
	// begun, if not nil, is closed when run has come so far that the parts after
	// this one can be run.
	begun <-chan struct{}
	// stop, if not nil, releases the part, within its context. It is called
	// once, also when run never was.
	stop func(ctx context.Context) error
}

// parts are a server, in the order in which it is built: each may use those
// before it.
type parts []part

func (p *parts) add(part part) { *p = append(*p, part) }

// run runs all parts, the first one first, until ctx ends or one fails, then
// stops them, the last one first: a part's run has returned before the part
// before it is stopped.
func (p parts) run(ctx context.Context, timeout time.Duration) error {
	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	cancels := make([]context.CancelFunc, len(p))
	dones := make([]chan struct{}, len(p)) // closed when the part's run has returned
	for i, part := range p {
		dones[i] = make(chan struct{})
		partCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		cancels[i] = cancel
		if part.run == nil || running.Err() != nil {
			close(dones[i])
			continue
		}
		go func() {
			defer close(dones[i])
			if err := part.run(partCtx); err != nil && partCtx.Err() == nil {
				fail(fmt.Errorf("%s: %w", part.name, err))
			}
		}()
		if part.begun == nil {
			continue
		}
		select {
		case <-part.begun:
		case <-dones[i]:
		case <-running.Done():
		}
	}

	<-running.Done()
	first := context.Cause(running)
	if ctx.Err() != nil && first == context.Cause(ctx) { //nolint:errorlint // it is that one, or another
		first = nil // it was told to end
	}
	return errors.Join(first, p.stop(context.WithoutCancel(ctx), timeout, func(i int) {
		cancels[i]()
		<-dones[i]
	}))
}

// errStuck is a part that has not stopped in time. What it holds ends with the
// process.
var errStuck = errors.New("has not stopped in time")

// stop stops all parts, the last one first, and calls after for each when it
// has been stopped. It returns within the timeout: a part that takes longer is
// told of, and not waited for.
func (p parts) stop(ctx context.Context, timeout time.Duration, after func(i int)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var errs []error
	for i := len(p) - 1; i >= 0; i-- {
		stopped := make(chan error, 1)
		go func() {
			var err error
			if p[i].stop != nil {
				err = p[i].stop(ctx)
			}
			after(i)
			stopped <- err
		}()
		var err error
		select {
		case err = <-stopped:
		case <-ctx.Done():
			select {
			case err = <-stopped:
			default:
				err = errStuck
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", p[i].name, err))
		}
	}
	return errors.Join(errs...)
}
