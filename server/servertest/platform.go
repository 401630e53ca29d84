// SPDX-License-Identifier: Apache-2.0

package servertest

import (
	"time"

	"github.com/classrec/classrec/server/internal/rehearsal"
)

// Platform is the platform as the service sees it over the wire: what goes wrong
// there goes wrong for the service alone, and the people in the rooms are not
// disturbed. The room server behind the wire stays the real one.
type Platform struct{ server *Server }

// Platform is the server's platform.
func (s *Server) Platform() *Platform { return &Platform{server: s} }

// Slow has whatever the platform says reach the service that much later; 0 ends
// it.
func (p *Platform) Slow(d time.Duration) { p.server.rehearsal.Slow(d) }

// Absent takes the platform away from the service: its connections are cut, and
// new ones refused, until [Platform.Normal].
func (p *Platform) Absent() { p.server.rehearsal.Absent() }

// Drop cuts the service's connections to the platform, once: it comes back by
// itself.
func (p *Platform) Drop() { p.server.rehearsal.Drop() }

// Normal ends all that is wrong. Time stays where it is.
func (p *Platform) Normal() { p.server.rehearsal.Normal() }

// Call is something that the service asks of its platform, by its name on the
// vendor's wire.
type Call string

// The calls.
const (
	CheckRoom  = Call(rehearsal.CheckRoom)  // may one enter the room, and as what?
	GetConfig  = Call(rehearsal.GetConfig)  // where is the room's socket?
	JoinRoom   = Call(rehearsal.JoinRoom)   // on the socket: enter
	PubMsg     = Call(rehearsal.PubMsg)     // on the socket: begin the class
	DelMsg     = Call(rehearsal.DelMsg)     // on the socket: end it
	RecordList = Call(rehearsal.RecordList) // what files are there? (both lists)
	Files      = Call(rehearsal.Files)      // the files themselves, for whoever asks, also at [Server.URL]
)

// Answer is how the platform answers a call otherwise than it would.
type Answer struct{ answer rehearsal.Answer }

// Code is a refusal by the platform's table of codes: 4007, the room is missing;
// 4008, the password is wrong; 4102, the enterprise key is; 4105, nothing is
// found. Not for [Files].
func Code(n int) Answer { return Answer{rehearsal.Code(n)} }

// Status is an HTTP status. Not for calls on the socket.
func Status(n int) Answer { return Answer{rehearsal.Status(n)} }

// HTML is a web page in place of the answer, with status 200, as of a gateway
// that has lost its way. Not for calls on the socket.
func HTML() Answer { return Answer{rehearsal.HTML()} }

// Body is any other text in place of the answer, with status 200. Not for calls
// on the socket.
func Body(text string) Answer { return Answer{rehearsal.Body(text)} }

// NoAnswer never comes; what was asked is not done.
func NoAnswer() Answer { return Answer{rehearsal.NoAnswer()} }

// NoEcho does in the room what was asked, and does not tell the service. For
// [PubMsg] and [DelMsg].
func NoEcho() Answer { return Answer{rehearsal.NoEcho()} }

// Answer has the platform answer a call so from now on, until [Platform.Usual]
// for it or [Platform.Normal]. An answer that the call cannot have fails the
// test.
func (p *Platform) Answer(call Call, answer Answer) {
	p.server.tb.Helper()
	if err := p.server.rehearsal.Answer(rehearsal.Call(call), answer.answer); err != nil {
		p.server.tb.Fatalf("rehearse: %v", err)
	}
}

// Asked is how often a call was made so far, however it was answered.
func (p *Platform) Asked(call Call) int { return p.server.rehearsal.Asked(rehearsal.Call(call)) }

// AwaitAsked waits until a call has been made so often, counted from the
// beginning: until what is wrong has been met with, say.
func (p *Platform) AwaitAsked(call Call, times int) {
	p.server.tb.Helper()
	ctx, cancel := p.server.bounded()
	defer cancel()
	for p.Asked(call) < times {
		if ctx.Err() != nil {
			p.server.tb.Fatalf("%s was asked %d times in %v, and not %d", call, p.Asked(call), p.server.options.patience, times)
		}
		sleep(ctx, time.Millisecond)
	}
}

// Usual has the platform answer a call as usual again.
func (p *Platform) Usual(call Call) { p.server.rehearsal.Usual(rehearsal.Call(call)) }
