// SPDX-License-Identifier: Apache-2.0

// Package rehearsal is what a server has in it when somebody plays with it: a
// clock that can be moved on, and a wire to the embedded platform on which
// things go wrong.
//
// The platform stays the real room server. Between it and the service's client
// stand, from the client's side: connections that can be slow, cut or refused
// (link.go); the platform's HTTP calls, each of which can be answered otherwise
// (answer.go); and the signaling socket, packet by packet, from which acks and
// echoes can be taken (relay.go). Where nothing is wrong, every packet passes as
// it came. Only the service goes this way: people in the room are with the
// platform directly, and are not disturbed.
//
// It leaves to package server to put it into place, to package cast to bring
// people, and to who plays what is to happen when.
package rehearsal

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/classrec/classrec/server/internal/clock"
)

// DialFunc makes a connection.
type DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// Rehearsal is a clock and a wire. It is made by [New] and put into one server,
// which opens it; before that, what is played has no effect but is kept. It is
// safe for concurrent use.
type Rehearsal struct {
	clock  clock.Clock
	wrongs wrongs
	link   link
	relay  *relay

	recordings recordings

	mu       sync.Mutex
	platform Platform // zero until Open
}

// Platform is the platform of a rehearsal.
type Platform struct {
	// Handler is the whole wire, and Dial connects to a server of it.
	Handler http.Handler
	Dial    DialFunc
	// TimeMoved is called when the clock was moved on.
	TimeMoved func()
}

// New makes a rehearsal in which nothing is wrong, and time is the system's.
// nil discards the log.
func New(logger *slog.Logger) *Rehearsal {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	r := &Rehearsal{}
	r.link.init()
	r.relay = newRelay(r, logger)
	return r
}

// Clock is the clock of the rehearsal; the system's for a nil one.
func (r *Rehearsal) Clock() *clock.Clock {
	if r == nil {
		return nil
	}
	return &r.clock
}

// Open takes the platform. The handler serves the same wire, where things go
// wrong; connections to a server of it are to be made through [Rehearsal.Link].
func (r *Rehearsal) Open(platform Platform) http.Handler {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.platform = platform
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { r.serve(w, req, platform.Handler) })
}

// Link returns dial as a rehearsed network: slow, cut and refused as is played.
func (r *Rehearsal) Link(dial DialFunc) DialFunc { return r.link.through(dial) }

// Files returns a handler of recorded files that answers as [Files] is played.
func (r *Rehearsal) Files(files http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if answer, wrong := r.wrongs.ask(Files); wrong {
			answer.write(w, req)
			return
		}
		files.ServeHTTP(w, req)
	})
}

// Dial connects to the platform directly, past all that is wrong. It is for who
// plays people; before [Rehearsal.Open] it fails.
func (r *Rehearsal) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	r.mu.Lock()
	dial := r.platform.Dial
	r.mu.Unlock()
	if dial == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: net.ErrClosed}
	}
	return dial(ctx, network, addr)
}

// Advance moves time on, for the service and for its platform.
func (r *Rehearsal) Advance(d time.Duration) {
	r.clock.Advance(d)
	r.mu.Lock()
	moved := r.platform.TimeMoved
	r.mu.Unlock()
	if moved != nil {
		moved()
	}
}

// Slow has whatever the platform says reach the service that much later; 0 is
// as fast as it can.
func (r *Rehearsal) Slow(d time.Duration) { r.link.setSlow(d) }

// Absent takes the platform away from the service: its connections are cut, and
// new ones refused, until [Rehearsal.Normal].
func (r *Rehearsal) Absent() { r.link.setAbsent(true) }

// Drop cuts the connections of the service to its platform, once.
func (r *Rehearsal) Drop() { r.link.drop() }

// Answer has the platform answer a call of the service otherwise than it would,
// until [Rehearsal.Usual] or [Rehearsal.Normal]. The error is for an answer that
// the call cannot have.
func (r *Rehearsal) Answer(call Call, answer Answer) error {
	if err := answer.fits(call); err != nil {
		return err
	}
	r.wrongs.set(call, answer)
	return nil
}

// Usual has the platform answer a call as usual.
func (r *Rehearsal) Usual(call Call) { r.wrongs.set(call, Answer{}) }

// Asked is how often a call was made so far, however it was answered.
func (r *Rehearsal) Asked(call Call) int { return r.wrongs.count(call) }

// Normal ends all that is wrong. Time stays where it is.
func (r *Rehearsal) Normal() {
	r.wrongs.clear()
	r.link.setSlow(0)
	r.link.setAbsent(false)
}

// Close ends all connections through it and waits for them. The service is done
// with them by then, and the platform is still there.
func (r *Rehearsal) Close() error {
	r.link.close()
	return r.relay.server.Close()
}
