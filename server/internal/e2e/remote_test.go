// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// remote is a script in Node or in a page, which is told what to do and tells what it sees. Its events are kept until
// they are asked for.
type remote struct {
	name string
	send func(line []byte) error

	mu      sync.Mutex
	last    int
	answers map[int]chan said // by id of the call
	events  []event           // that nobody has asked for yet
	changed chan struct{}     // closed and replaced at each event, and at the end
	ended   bool
}

// said is an answer or an event.
type said struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  string          `json:"error"`
	Event  string          `json:"event"`
	Args   args            `json:"args"`
}

type event struct {
	name string
	args args
}

// args are the arguments of an event.
type args []json.RawMessage

// String shows them for a message of a test.
func (a args) String() string {
	texts := make([]string, len(a))
	for i, raw := range a {
		texts[i] = string(raw)
	}
	return strings.Join(texts, ", ")
}

// text is an argument that is a string, or its JSON.
func (a args) text(i int) string {
	if i >= len(a) {
		return ""
	}
	var text string
	if json.Unmarshal(a[i], &text) != nil {
		return string(a[i])
	}
	return text
}

func newRemote(name string, send func([]byte) error) *remote {
	return &remote{name: name, send: send, answers: map[int]chan said{}, changed: make(chan struct{})}
}

// hear takes a line of the script.
func (r *remote) hear(line []byte) error {
	var s said
	if err := json.Unmarshal(line, &s); err != nil {
		return fmt.Errorf("%s says %.200q: %w", r.name, line, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.Event == "" {
		if answer := r.answers[s.ID]; answer != nil {
			delete(r.answers, s.ID)
			answer <- s
		}
		return nil
	}
	r.events = append(r.events, event{s.Event, s.Args})
	r.wake()
	return nil
}

// end tells that nothing more will come.
func (r *remote) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.wake()
}

func (r *remote) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// try calls a method of the script.
func (r *remote) try(ctx context.Context, method string, args ...any) (json.RawMessage, error) {
	if args == nil {
		args = []any{}
	}
	answer := make(chan said, 1)
	r.mu.Lock()
	r.last++
	id := r.last
	r.answers[id] = answer
	r.mu.Unlock()
	line, err := json.Marshal(map[string]any{"id": id, "method": method, "args": args})
	if err != nil {
		return nil, err
	}
	if err := r.send(line); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", r.name, method, err)
	}
	select {
	case s := <-answer:
		if s.Error != "" {
			return nil, fmt.Errorf("%s: %s: %s", r.name, method, s.Error)
		}
		return s.Result, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %s: no answer: %w", r.name, method, errors.Join(ctx.Err(), r.trouble()))
	}
}

// call is try for what has to succeed.
func (r *remote) call(t *testing.T, method string, args ...any) json.RawMessage {
	t.Helper()
	return must[json.RawMessage](t)(r.try(testContext(t), method, args...))
}

// callInto is call, with the result decoded.
func callInto[T any](t *testing.T, r *remote, method string, args ...any) T {
	t.Helper()
	var v T
	raw := r.call(t, method, args...)
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %s gave %.300s: %v", r.name, method, raw, err)
	}
	return v
}

// await takes the first event of a name that match accepts; nil accepts any. Other events stay.
func (r *remote) await(t *testing.T, name string, match func(args) bool) args {
	t.Helper()
	ctx := testContext(t)
	for {
		r.mu.Lock()
		for i, ev := range r.events {
			if ev.name == name && (match == nil || match(ev.args)) {
				r.events = append(r.events[:i], r.events[i+1:]...)
				r.mu.Unlock()
				return ev.args
			}
		}
		changed, ended := r.changed, r.ended
		r.mu.Unlock()
		if ended {
			t.Fatalf("%s ended without %s", r.name, name)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%s: no %s within %v; there is %s", r.name, name, patience, r.names())
		}
	}
}

// pending is how many events of a name nobody has asked for.
func (r *remote) pending(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, ev := range r.events {
		if ev.name == name {
			n++
		}
	}
	return n
}

func (r *remote) names() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, ev := range r.events {
		names = append(names, ev.name)
	}
	return "[" + strings.Join(names, " ") + "]"
}

// trouble is what a page has to complain about.
func (r *remote) trouble() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, ev := range r.events {
		if ev.name == "page-error" || ev.name == "room-error" {
			errs = append(errs, fmt.Errorf("%s: %s %s", r.name, ev.name, ev.args))
		}
	}
	return errors.Join(errs...)
}

// is matches an event by one argument.
func is(i int, want string) func(args) bool {
	return func(a args) bool { return a.text(i) == want }
}

// has matches an event whose first argument is an object with these members.
func has(want map[string]any) func(args) bool {
	return func(a args) bool {
		var got map[string]any
		if len(a) == 0 || json.Unmarshal(a[0], &got) != nil {
			return false
		}
		for key, value := range want {
			if fmt.Sprint(got[key]) != fmt.Sprint(value) {
				return false
			}
		}
		return true
	}
}

// containsAll tells whether all parts are in a text.
func containsAll(text string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}
