// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Call is something that the service asks of its platform, by its name on the
// wire.
type Call string

// The calls.
const (
	CheckRoom  Call = "checkroom"   // HTTP: may one enter?
	GetConfig  Call = "getconfig"   // HTTP: where is the socket?
	JoinRoom   Call = "joinRoom"    // signaling: enter
	PubMsg     Call = "pubMsg"      // signaling: begin the class
	DelMsg     Call = "delMsg"      // signaling: end it
	RecordList Call = "record list" // HTTP: both record lists
	Files      Call = "files"       // HTTP: the recorded files, whoever asks for them
)

// Calls are all of them.
func Calls() []Call {
	return []Call{CheckRoom, GetConfig, JoinRoom, PubMsg, DelMsg, RecordList, Files}
}

// Answer is how the platform answers otherwise than it would. The zero Answer is
// the usual one.
type Answer struct {
	kind kind
	code int
	text string
}

type kind uint8

const (
	usual kind = iota
	code
	status
	body
	noAnswer
	noEcho
)

// Code is a refusal with a code of the platform's table: 4007, 4008, 4102.
func Code(n int) Answer { return Answer{kind: code, code: n} }

// Status is an HTTP status, with a line of text.
func Status(n int) Answer { return Answer{kind: status, code: n} }

// Body is another text than the right one, with status 200.
func Body(text string) Answer { return Answer{kind: body, text: text} }

// HTML is a web page instead of the answer, with status 200, as of a gateway
// that has lost its way.
func HTML() Answer { return Body("<html><body><h1>502 Bad Gateway</h1></body></html>\n") }

// NoAnswer never comes. What was asked is not done.
func NoAnswer() Answer { return Answer{kind: noAnswer} }

// NoEcho does what was asked in the room, and does not tell the service: neither
// ack nor echo comes.
func NoEcho() Answer { return Answer{kind: noEcho} }

// Check tells why a call cannot be answered so; nil where it can.
func Check(call Call, answer Answer) error { return answer.fits(call) }

// fits tells whether a call can be answered so.
func (a Answer) fits(call Call) error {
	if !slices.Contains(Calls(), call) {
		return fmt.Errorf("the service makes no call %q", string(call))
	}
	signaling := call == JoinRoom || call == PubMsg || call == DelMsg
	switch a.kind {
	case code:
		if call == Files {
			return fmt.Errorf("%s are not answered with a code", call)
		}
	case status, body:
		if signaling {
			return fmt.Errorf("%s is not HTTP: it is answered with a code, or not at all", call)
		}
		if a.kind == status && (a.code < 200 || a.code > 599) {
			return fmt.Errorf("%d is no HTTP status from 200 to 599", a.code)
		}
	case noEcho:
		if call != PubMsg && call != DelMsg {
			return fmt.Errorf("%s has no echo", call)
		}
	case usual, noAnswer:
	}
	return nil
}

// write answers an HTTP call.
func (a Answer) write(w http.ResponseWriter, r *http.Request) {
	switch a.kind {
	case code:
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = io.WriteString(w, `{"result":`+strconv.Itoa(a.code)+"}\n")
	case status:
		http.Error(w, http.StatusText(a.code), a.code)
	case body:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, a.text)
	case noAnswer:
		_, _ = io.Copy(io.Discard, r.Body) // or the connection's end is not noticed
		<-r.Context().Done()
	case usual, noEcho:
	}
}

// wrongs are the calls that are answered otherwise, and how often each call was
// made. The zero value is ready.
type wrongs struct {
	mu    sync.Mutex
	calls map[Call]Answer
	made  map[Call]int
}

func (w *wrongs) set(call Call, answer Answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls == nil {
		w.calls = map[Call]Answer{}
	}
	w.calls[call] = answer
}

func (w *wrongs) clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.calls)
}

// ask counts a call that is made, and returns how it is answered otherwise, if
// it is.
func (w *wrongs) ask(call Call) (answer Answer, wrong bool) {
	w.mu.Lock()
	if w.made == nil {
		w.made = map[Call]int{}
	}
	w.made[call]++
	w.mu.Unlock()
	return w.of(call)
}

// of returns how a call is answered otherwise, if it is.
func (w *wrongs) of(call Call) (answer Answer, wrong bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	answer = w.calls[call]
	return answer, answer.kind != usual
}

func (w *wrongs) count(call Call) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.made[call]
}

// serve answers a request of the service.
func (r *Rehearsal) serve(w http.ResponseWriter, req *http.Request, platform http.Handler) {
	if strings.HasPrefix(req.URL.Path, "/socket.io/") {
		r.relay.server.ServeHTTP(w, req)
		return
	}
	if call, ok := callOf(req.URL.Path); ok {
		if answer, wrong := r.wrongs.ask(call); wrong {
			answer.write(w, req)
			return
		}
	}
	platform.ServeHTTP(w, req)
}

// callOf finds the call that a path is of.
func callOf(path string) (Call, bool) {
	for prefix, call := range map[string]Call{
		talkcloud.PathCheckRoom:         CheckRoom,
		talkcloud.PathGetConfig:         GetConfig,
		talkcloud.PathGetUserRecordList: RecordList,
		talkcloud.PathGetRecordList:     RecordList,
		"/files":                        Files,
	} {
		if path == prefix || strings.HasPrefix(path, prefix+"/") {
			return call, true
		}
	}
	return "", false
}
