// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/socketio"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// misbehavior is something that a platform does wrong, and what becomes of it.
type misbehavior struct {
	name string
	make func(p *talkcloudtest.Platform)

	code   codes.Code
	reason string
	retry  bool
	says   string // in the message
}

func answer(path string, h http.HandlerFunc) func(*talkcloudtest.Platform) {
	return func(p *talkcloudtest.Platform) { p.Answer(path, h) }
}

func body(path, text string) func(*talkcloudtest.Platform) {
	return answer(path, talkcloudtest.Body(text))
}

func statusCode(path string, code int) func(*talkcloudtest.Platform) {
	return answer(path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
}

// breakOff ends the connection in the middle of an answer.
func breakOff(path string) func(*talkcloudtest.Platform) {
	return answer(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000") // less comes, so the connection is cut
		_, _ = w.Write([]byte(`{"result":0,`))
	})
}

// never does not answer before the caller has gone.
func never(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// endless answers for ever, a little at a time.
func endless(w http.ResponseWriter, r *http.Request) {
	_, _ = w.Write([]byte(`{"result":0,"x":"`))
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for r.Context().Err() == nil {
		select {
		case <-tick.C:
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
		}
	}
}

// refuse answers ClassBegin with a no.
func refuse(why any) func(*talkcloudtest.Platform) {
	return func(p *talkcloudtest.Platform) {
		p.Script(talkcloudtest.Script{
			Silent: func(event string) bool { return event == talkcloud.EventPubMsg },
			Ack: func(event string, _ json.RawMessage) ([]any, bool) {
				return []any{"error", why}, event != talkcloud.EventPubMsg
			},
		})
	}
}

// joinAck answers joinRoom otherwise: with arguments, with an empty list of
// them, or for nil not at all.
func joinAck(args ...any) func(*talkcloudtest.Platform) {
	return func(p *talkcloudtest.Platform) {
		p.Script(talkcloudtest.Script{Ack: func(e string, _ json.RawMessage) ([]any, bool) {
			if e != talkcloud.EventJoinRoom {
				return nil, true
			}
			return args, false
		}})
	}
}

// wrongAnswers are the ways in which the answer of an HTTP call can be wrong.
func wrongAnswers(call, path string) []misbehavior {
	internal := func(name, text, says string) misbehavior {
		return misbehavior{name: call + " " + name, make: body(path, text), code: codes.Internal, reason: "PLATFORM_ERROR", says: says}
	}
	return []misbehavior{
		internal("answers HTML", "<html><body>502 Bad Gateway</body></html>", ""),
		internal("answers half a JSON", `{"result":`, ""),
		internal("answers a text", `"ok"`, ""),
		internal("answers no JSON", "\x00\x01\x02", ""),
		internal("answers too much", `{"result":0,"x":"`+strings.Repeat("x", 9<<20)+`"}`, "larger"),
		internal("answers with an undocumented code", `{"result":31415}`, "31415"),
		{name: call + " answers 404", make: statusCode(path, 404), code: codes.Internal, reason: "PLATFORM_ERROR", says: "404"},
		{name: call + " answers 503", make: statusCode(path, 503), code: codes.Unavailable, reason: "PLATFORM_UNAVAILABLE", retry: true, says: "503"},
		{name: call + " breaks off", make: breakOff(path), code: codes.Unavailable, reason: "PLATFORM_UNAVAILABLE", retry: true},
		{
			name: call + " redirects to another host", code: codes.Internal, reason: "PLATFORM_ERROR", says: "redirects",
			make: answer(path, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://other.invalid/", http.StatusTemporaryRedirect)
			}),
		},
	}
}

// joining are the ways in which a room cannot be entered.
func joining() []misbehavior {
	check, config := talkcloud.PathCheckRoom, talkcloud.PathGetConfig
	list := append(wrongAnswers("checkroom", check), wrongAnswers("getconfig", config)...)
	return append(list,
		misbehavior{name: "checkroom answers nothing", make: body(check, ""), code: codes.Internal, reason: "PLATFORM_ERROR"},
		misbehavior{name: "checkroom answers an empty object", make: body(check, "{}"), code: codes.Internal, reason: "PLATFORM_ERROR"},
		misbehavior{name: "checkroom answers an array", make: body(check, "[]"), code: codes.Internal, reason: "PLATFORM_ERROR"},
		misbehavior{name: "room unknown", make: body(check, `{"result":4007}`), code: codes.NotFound, reason: "ROOM_NOT_FOUND"},
		misbehavior{name: "room unknown, as a text", make: body(check, `{"result":"4007","msg":"no"}`), code: codes.NotFound, reason: "ROOM_NOT_FOUND"},
		misbehavior{name: "room expired", make: body(check, `{"result":3003}`), code: codes.NotFound, reason: "ROOM_NOT_FOUND"},
		misbehavior{name: "password wrong", make: body(check, `{"result":4008}`), code: codes.PermissionDenied, reason: "ROOM_ACCESS_DENIED"},
		misbehavior{name: "password needed", make: body(check, `{"result":4110}`), code: codes.PermissionDenied, reason: "ROOM_ACCESS_DENIED"},
		misbehavior{name: "key wrong", make: body(check, `{"result":4102}`), code: codes.FailedPrecondition, reason: "PLATFORM_CREDENTIALS"},
		misbehavior{name: "company unknown", make: body(check, `{"result":4001}`), code: codes.FailedPrecondition, reason: "PLATFORM_CREDENTIALS"},
		misbehavior{name: "lesson canceled", make: body(check, `{"result":4020}`), code: codes.FailedPrecondition, reason: "PLATFORM_PRECONDITION"},
		misbehavior{name: "quota used up", make: body(check, `{"result":4103}`), code: codes.ResourceExhausted, reason: "PLATFORM_QUOTA", retry: true},
		misbehavior{name: "checkroom answers with a result of a wrong type", make: body(check, `{"result":{"a":[]}}`), code: codes.Internal, reason: "PLATFORM_ERROR"},
		misbehavior{name: "join refused with an undocumented code", make: joinAck("error", 31415), code: codes.Internal, reason: "PLATFORM_ERROR"},
		misbehavior{
			name: "nobody at the socket", code: codes.Unavailable, reason: "PLATFORM_UNAVAILABLE", retry: true,
			make: body(config, `{"result":0,"courseserver":"127.0.0.1","courseserverport":1}`),
		},
		misbehavior{
			name: "join refused", make: joinAck("error", map[string]any{"code": 3003}),
			code: codes.NotFound, reason: "ROOM_NOT_FOUND",
		},
		misbehavior{
			name: "join refused with words", make: joinAck("error", "room is full"),
			code: codes.FailedPrecondition, reason: "PLATFORM_REFUSED", says: "room is full",
		},
		misbehavior{name: "join ack odd", make: joinAck(0, "hello"), code: codes.Internal, reason: "PLATFORM_ERROR"},
		misbehavior{name: "join ack a code", make: joinAck(31415), code: codes.Internal, reason: "PLATFORM_ERROR"},
		misbehavior{name: "join ack empty", make: joinAck([]any{}...), code: codes.Internal, reason: "PLATFORM_ERROR"},
		misbehavior{
			name: "cut before the join ack", code: codes.Unavailable, reason: "PLATFORM_UNAVAILABLE", retry: true,
			make: func(p *talkcloudtest.Platform) {
				p.Script(talkcloudtest.Script{BeforeJoinAck: func(c *socketio.Conn) { _ = c.Close() }})
			},
		},
	)
}

// A platform on which rooms cannot be entered makes every call that enters one
// say why, over both ways, and leaves nothing behind: the next start is well.
func TestPlatform_Joining(t *testing.T) {
	t.Parallel()
	for _, m := range joining() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			platform := talkcloudtest.NewPlain(t)
			s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL))
			m.make(platform)
			for _, call := range []string{apitest.Start, apitest.Watch, apitest.Stop} {
				for _, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
					m.check(t, call, s.Call(t, way, apitest.Call{Name: call, Request: `{"room":"room"}`}))
				}
			}
			if saved := platform.Saved("room"); len(saved) > 0 {
				t.Errorf("the room has %v", saved)
			}
			mend(platform)
			s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"room"}`})
			s.Stop()
			platform.Await(apitest.Context(t), t, "everybody has left", func() bool { return len(platform.Members("room")) == 0 })
		})
	}
}

func mend(p *talkcloudtest.Platform) {
	p.Script(talkcloudtest.Script{})
	for _, path := range []string{talkcloud.PathCheckRoom, talkcloud.PathGetConfig, talkcloud.PathGetUserRecordList} {
		p.Answer(path, nil)
	}
}

func (m *misbehavior) check(t *testing.T, call string, out apitest.Outcome) {
	t.Helper()
	if out.Code != m.code || out.Reason != m.reason || (out.RetryAfter > 0) != m.retry || !strings.Contains(out.Message, m.says) ||
		out.Domain != "classrec.dev" || out.Message == "" {
		t.Errorf("%s: got %v %q, retry %v: %s%s\nwant %v %q, retry %v: …%s…",
			call, out.Code, out.Reason, out.RetryAfter, out.Message, out.Response, m.code, m.reason, m.retry, m.says)
	}
	if strings.Contains(out.Message, "http://") || len(out.Message) > 1000 {
		t.Errorf("%s: message is %.2000s", call, out.Message)
	}
}

// checkList is check for a list, which is only incomplete, whatever the platform
// does.
func (m *misbehavior) checkList(t *testing.T, out apitest.Outcome) {
	t.Helper()
	why := status.FromProto(listOf(t, out).GetIncomplete())
	seen := apitest.Outcome{Code: why.Code(), Message: why.Message()}
	for _, d := range why.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			seen.Reason, seen.Domain = d.GetReason(), d.GetDomain()
		case *errdetails.RetryInfo:
			seen.RetryAfter = d.GetRetryDelay().AsDuration()
		}
	}
	if out.Code != codes.OK {
		t.Errorf("list: got %v %s", out.Code, out.Message)
	}
	m.check(t, "incomplete list", seen)
}

// What can go wrong with ClassBegin itself.
func TestPlatform_Publishing(t *testing.T) {
	t.Parallel()
	for _, m := range []misbehavior{
		{
			name: "refused", make: refuse(map[string]any{"code": -1, "reason": "NO_WAY", "message": "not today"}),
			code: codes.FailedPrecondition, reason: "NO_WAY", says: "not today",
		},
		{
			name: "refused for want of quota", make: refuse(map[string]any{"code": 4103}),
			code: codes.ResourceExhausted, reason: "PLATFORM_QUOTA", retry: true,
		},
		{
			name: "refused with a text", make: refuse("no"),
			code: codes.FailedPrecondition, reason: "PLATFORM_REFUSED", says: "no",
		},
		{
			name: "refused with a reason that is none", make: refuse(map[string]any{"reason": "<html>", "message": "no"}),
			code: codes.FailedPrecondition, reason: "PLATFORM_REFUSED", says: "no",
		},
		{
			name: "refused for want of rights", make: refuse(map[string]any{"code": 4108}),
			code: codes.PermissionDenied, reason: "ROOM_ACCESS_DENIED",
		},
		{
			name: "evicted", code: codes.FailedPrecondition, reason: "EVICTED",
			make: func(p *talkcloudtest.Platform) {
				p.Script(talkcloudtest.Script{Silent: func(event string) bool {
					if event == talkcloud.EventPubMsg {
						go p.Send("room", talkcloud.EventParticipantEvicted, map[string]any{"reason": 401})
					}
					return event == talkcloud.EventPubMsg
				}})
			},
		},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			platform := talkcloudtest.NewPlain(t)
			s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL))
			m.make(platform)
			for _, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
				call := apitest.Call{Name: apitest.Start, Request: `{"room":"room","request_id":"r"}`}
				m.check(t, call.Name, s.Call(t, way, call))
			}
			list := s.Call(t, apitest.GRPC, apitest.Call{Name: apitest.List, Request: `{"room":"room"}`})
			for _, difference := range subset(t, `{"recordings":[]}`, list.Response) {
				t.Errorf("a failed start is listed: %s", difference)
			}
			platform.Await(apitest.Context(t), t, "the room is left", func() bool { return len(platform.Members("room")) == 0 })
		})
	}
}

// The record list, for those calls that read it.
func TestPlatform_RecordList(t *testing.T) {
	t.Parallel()
	path := talkcloud.PathGetUserRecordList
	cases := append(wrongAnswers("list", path),
		misbehavior{name: "list of numbers", make: body(path, `[1,2]`), code: codes.Internal, reason: "PLATFORM_ERROR"},
		misbehavior{name: "list of no URLs", make: body(path, `["not a url","javascript:alert(1)"]`), code: codes.Internal, reason: "PLATFORM_ERROR"},
		misbehavior{name: "list half", make: body(path, `["http://a/b`), code: codes.Internal, reason: "PLATFORM_ERROR"},
		misbehavior{name: "key wrong", make: body(path, `{"result":4102}`), code: codes.FailedPrecondition, reason: "PLATFORM_CREDENTIALS"},
		misbehavior{name: "quota used up", make: body(path, `{"result":"4103"}`), code: codes.ResourceExhausted, reason: "PLATFORM_QUOTA", retry: true},
	)
	for _, m := range cases {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			platform := talkcloudtest.NewPlain(t)
			s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL))
			m.make(platform)
			for _, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
				m.checkList(t, s.Call(t, way, apitest.Call{Name: apitest.List, Request: `{"room":"room"}`}))
				m.checkList(t, s.Call(t, way, apitest.Call{Name: apitest.List, Request: `{"user_id":"user"}`}))
				m.check(t, "get", s.Call(t, way, apitest.Call{Name: apitest.Get, Request: `{"name":"rooms/room/recordings/1700000000"}`}))
				m.check(t, "stop", s.Call(t, way, apitest.Call{Name: apitest.Stop, Request: `{"name":"rooms/room/recordings/1700000000"}`}))
			}
			// Recording does not depend on it.
			s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"room"}`})
			s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"room":"room"}`})
		})
	}
	for _, text := range []string{`[]`, `null`, "", `{"result":0,"recordlist":[]}`, `{"result":4105}`, `{"result":"4105","msg":"none"}`} {
		t.Run(fmt.Sprintf("nothing, as %q", text), func(t *testing.T) {
			t.Parallel()
			platform := talkcloudtest.NewPlain(t)
			s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL))
			body(path, text)(platform)
			list := s.Call(t, apitest.REST, apitest.Call{Name: apitest.List, Request: `{"room":"room"}`})
			for _, difference := range subset(t, `{"recordings":[],"nextPageToken":""}`, list.Response) {
				t.Error(difference)
			}
			get := s.Call(t, apitest.REST, apitest.Call{Name: apitest.Get, Request: `{"name":"rooms/room/recordings/1700000000"}`})
			if get.Code != codes.NotFound || get.Reason != "RECORDING_NOT_FOUND" {
				t.Errorf("get: %+v", get)
			}
		})
	}
}

// What only the platform knows is listed and fetched too, and is over.
func TestPlatform_ForeignRecordings(t *testing.T) {
	t.Parallel()
	platform := talkcloudtest.NewPlain(t)
	s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL))
	body(talkcloud.PathGetUserRecordList, `["https://files.example/a.mkv"," https://files.example/b.mkv",""]`)(platform)
	const foreign = `{"recording":{"name":"rooms/room/recordings/1700000000","room":"room","state":"RECORDING_STATE_AVAILABLE",
		"origin":"RECORDING_ORIGIN_PLATFORM","recordTime":"2023-11-14T22:13:20Z",
		"urls":["https://files.example/a.mkv","https://files.example/b.mkv"]}}`
	for _, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
		for _, call := range []string{apitest.Get, apitest.Stop} {
			out := s.Call(t, way, apitest.Call{Name: call, Request: `{"name":"rooms/room/recordings/1700000000"}`})
			for _, difference := range subset(t, foreign, out.Response) {
				t.Errorf("%s %s: %s", way, call, difference)
			}
		}
		// A name without a time asks for nothing, not for everything.
		for _, name := range []string{"rooms/room/recordings/0", "rooms/room/recordings/01700000000", "rooms/room/recordings/1700000000-2"} {
			if out := s.Call(t, way, apitest.Call{Name: apitest.Get, Request: `{"name":"` + name + `"}`}); out.Code != codes.NotFound {
				t.Errorf("%s %s: %+v", way, name, out)
			}
		}
		out := s.Call(t, way, apitest.Call{Name: apitest.List, Request: `{"room":"room"}`})
		for _, difference := range subset(t, `{"recordings":[{"name":"","urls":["*"],"origin":"RECORDING_ORIGIN_PLATFORM"},{"urls":["*"]}]}`, out.Response) {
			t.Errorf("%s list: %s", way, difference)
		}
	}
}

// Nobody listens at the platform's address.
func TestPlatform_Down(t *testing.T) {
	t.Parallel()
	s := apitest.New(t, apitest.Platform(t, "http://"+talkcloudtest.Refusing(t)))
	down := misbehavior{code: codes.Unavailable, reason: "PLATFORM_UNAVAILABLE", retry: true}
	for _, call := range []apitest.Call{
		{Name: apitest.Start, Request: `{"room":"room"}`},
		{Name: apitest.Stop, Request: `{"room":"room"}`},
		{Name: apitest.Watch, Request: `{"room":"room"}`},
		{Name: apitest.List, Request: `{"room":"room"}`},
		{Name: apitest.Get, Request: `{"name":"rooms/room/recordings/1700000000"}`},
		{Name: apitest.Stop, Request: `{"name":"rooms/room/recordings/1700000000"}`},
	} {
		for _, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
			if out := s.Call(t, way, call); call.Name == apitest.List {
				down.checkList(t, out)
			} else {
				down.check(t, call.Name, out)
			}
		}
	}
	// What needs no platform works.
	if out := s.Call(t, apitest.REST, apitest.Call{Name: apitest.Watch, Request: `{"room":"-"}`}); out.Code != codes.OK {
		t.Errorf("watch of all rooms: %+v", out)
	}
}

// The platform goes away while a class is on, and comes back: the stop that was
// asked for meanwhile happens then.
func TestPlatform_GoesAwayWhileRecording(t *testing.T) {
	t.Parallel()
	platform := talkcloudtest.NewPlain(t)
	s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL))
	rec := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"room"}`})
	statusCode(talkcloud.PathGetConfig, 503)(platform)
	platform.Drop("room")
	stopping := make(chan apitest.Outcome, 1)
	go func() {
		out, err := s.TryCall(apitest.Context(t), apitest.GRPC, apitest.Call{Name: apitest.Stop, Request: `{"room":"room"}`})
		if err != nil {
			out.Message = err.Error()
		}
		stopping <- out
	}()
	awaitState(t, s, rec.GetName(), classrecv1.RecordingState_RECORDING_STATE_STOPPING)
	mend(platform)
	if out := <-stopping; out.Code != codes.OK || out.Recording(t).GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED {
		t.Errorf("stopped with %+v", out)
	}
	if saved := platform.Saved("room"); len(saved) > 0 {
		t.Errorf("the room has %v", saved)
	}
}

// Platforms that do not answer: every call comes back within bounded time.
// They are waited for all at once.
func TestPlatform_Slow(t *testing.T) {
	t.Parallel()
	type slow struct {
		misbehavior
		calls []apitest.Call
	}
	start := apitest.Call{Name: apitest.Start, Request: `{"room":"room"}`}
	enter := []apitest.Call{start, {Name: apitest.Watch, Request: `{"room":"other"}`}, {Name: apitest.Stop, Request: `{"room":"another"}`}}
	lists := []apitest.Call{
		{Name: apitest.List, Request: `{"room":"room"}`}, {Name: apitest.Get, Request: `{"name":"rooms/room/recordings/1700000000"}`},
	}
	silent := func(event string) func(*talkcloudtest.Platform) {
		return func(p *talkcloudtest.Platform) {
			p.Script(talkcloudtest.Script{Silent: func(e string) bool { return e == event }})
		}
	}
	timeout := func(name string, make func(*talkcloudtest.Platform), calls []apitest.Call) slow {
		return slow{misbehavior{name: name, make: make, code: codes.DeadlineExceeded, reason: "PLATFORM_TIMEOUT", retry: true}, calls}
	}
	cases := []slow{
		timeout("checkroom never answers", answer(talkcloud.PathCheckRoom, never), enter),
		timeout("checkroom answers for ever", answer(talkcloud.PathCheckRoom, endless), enter),
		timeout("getconfig never answers", answer(talkcloud.PathGetConfig, never), enter),
		timeout("record list never answers", answer(talkcloud.PathGetUserRecordList, never), lists),
		timeout("record list answers for ever", answer(talkcloud.PathGetUserRecordList, endless), lists),
		timeout("join is never acknowledged", joinAck(), enter),
		{misbehavior{name: "echo never comes", make: silent(talkcloud.EventPubMsg), code: codes.DeadlineExceeded, reason: "START_NOT_CONFIRMED", retry: true}, []apitest.Call{start}},
	}
	type result struct {
		slow
		call string
		out  apitest.Outcome
		err  error
		took time.Duration
	}
	results := make(chan result)
	expected := 0
	ctx := apitest.Context(t)
	for _, c := range cases {
		platform := talkcloudtest.NewPlain(t)
		s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL))
		c.make(platform)
		for i, call := range c.calls {
			expected++
			way := []apitest.Transport{apitest.GRPC, apitest.REST}[i%2]
			go func() {
				began := time.Now()
				out, err := s.TryCall(ctx, way, call)
				results <- result{c, call.Name, out, err, time.Since(began)}
			}()
		}
	}
	for range expected {
		r := <-results
		if r.err != nil {
			t.Errorf("%s: %s: %v", r.name, r.call, r.err)
			continue
		}
		if r.call == apitest.List {
			r.checkList(t, r.out)
			if r.took > 15*time.Second { // of the five that the platform has
				t.Errorf("%s: %s took %v", r.name, r.call, r.took)
			}
			continue
		}
		if r.out.Code != r.code || r.out.Reason != r.reason || (r.out.RetryAfter > 0) != r.retry {
			t.Errorf("%s: %s: %+v", r.name, r.call, r.out)
		}
		if r.took > 29*time.Second {
			t.Errorf("%s: %s took %v", r.name, r.call, r.took)
		}
	}
}

// The echo of the delete does not come: the caller is told after a while, the
// stop stays asked for, and happens as soon as the platform does it.
func TestPlatform_StopNotConfirmed(t *testing.T) {
	t.Parallel()
	platform := talkcloudtest.NewPlain(t)
	s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL))
	rec := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"room"}`})
	platform.Script(talkcloudtest.Script{Silent: func(event string) bool { return event == talkcloud.EventDelMsg }})
	out := s.Call(t, apitest.REST, apitest.Call{Name: apitest.Stop, Request: `{"room":"room"}`})
	if out.Code != codes.DeadlineExceeded || out.Reason != "STOP_NOT_CONFIRMED" || out.RetryAfter == 0 || out.Metadata["recording"] != rec.GetName() {
		t.Errorf("stop: %+v", out)
	}
	mend(platform)
	rec = awaitOver(t, s, rec.GetName())
	if rec.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED {
		t.Errorf("ended as %v", rec)
	}
}

// protected lets nobody in without the password.
func protected(password string) func(*talkcloudtest.Platform) {
	return answer(talkcloud.PathCheckRoom, func(w http.ResponseWriter, r *http.Request) {
		if r.PostForm.Get("password") != password {
			_, _ = w.Write([]byte(`{"result":4008}`))
			return
		}
		_, _ = w.Write([]byte(`{"result":0,"roomrole":2,"room":{"serial":` + strconv.Quote(r.PostForm.Get("serial")) + `}}`))
	})
}

// In a room with a password, whoever gives it is let in, whoever else tries
// with another one at the same time.
func TestPlatform_Password(t *testing.T) {
	t.Parallel()
	platform := talkcloudtest.NewPlain(t)
	protected("right")(platform)
	s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL))
	for i, call := range []string{apitest.Start, apitest.Watch, apitest.Stop} {
		room := fmt.Sprintf("room-%d", i)
		for _, password := range []string{"", "wrong"} {
			out := s.Call(t, apitest.REST, apitest.Call{Name: call, Request: `{"room":"` + room + `","room_password":"` + password + `"}`})
			if out.Code != codes.PermissionDenied || out.Reason != "ROOM_ACCESS_DENIED" {
				t.Errorf("%s with %q: %+v", call, password, out)
			}
		}
		out := s.Call(t, apitest.GRPC, apitest.Call{Name: call, Request: `{"room":"` + room + `","room_password":"right"}`})
		if out.Code != codes.OK && out.Reason != "NO_CLASS" {
			t.Errorf("%s with the password: %+v", call, out)
		}
	}

	type result struct {
		call apitest.Call
		out  apitest.Outcome
		err  error
	}
	results := make(chan result)
	ctx := apitest.Context(t)
	const each = 8
	for i := range each {
		room := fmt.Sprintf("contested-%d", i)
		for _, name := range []string{apitest.Watch, apitest.Start} {
			for _, password := range []string{"wrong", "right", ""} {
				call := apitest.Call{Name: name, Request: `{"room":"` + room + `","room_password":"` + password + `"}`}
				go func() {
					out, err := s.TryCall(ctx, apitest.GRPC, call)
					results <- result{call, out, err}
				}()
			}
		}
	}
	for range each * 6 {
		r := <-results
		right := strings.Contains(r.call.Request, "right")
		switch {
		case r.err != nil:
			t.Error(r.err)
		case r.out.Code == codes.OK && (right || r.call.Name == apitest.Watch): // who watches may find us there already
		case r.out.Code == codes.PermissionDenied && !right:
		case r.out.Reason == "CLASS_ALREADY_BEGUN" && !right:
		default:
			t.Errorf("%s %s: %+v", r.call.Name, r.call.Request, r.out)
		}
	}
}

// A caller that goes away leaves its start running.
func TestStart_CallerGoesAway(t *testing.T) {
	t.Parallel()
	platform := talkcloudtest.NewPlain(t)
	s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL))
	asked, goOn := make(chan struct{}, 8), make(chan struct{})
	platform.Answer(talkcloud.PathCheckRoom, func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-goOn:
		case <-r.Context().Done():
			return
		}
		_, _ = w.Write([]byte(`{"result":0,"roomrole":2,"room":{"serial":` + strconv.Quote("room") + `}}`))
	})
	call := apitest.Call{Name: apitest.Start, Request: `{"room":"room","request_id":"r"}`}
	for _, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
		ctx, cancel := contextOf(t)
		gone := make(chan error, 1)
		go func() {
			out, err := s.TryCall(ctx, way, call)
			if err == nil && out.Code != codes.Canceled {
				err = fmt.Errorf("ended with %+v", out)
				gone <- err
				return
			}
			gone <- nil
		}()
		if way == apitest.GRPC {
			<-asked
		}
		cancel()
		if err := <-gone; err != nil {
			t.Error(err)
		}
	}
	close(goOn)
	rec := s.Must(t, call)
	if len(platform.Joins()) != 1 || rec.GetState() != stateRecording {
		t.Errorf("joined %d times, for %v", len(platform.Joins()), rec)
	}
}
