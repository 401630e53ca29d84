// SPDX-License-Identifier: Apache-2.0

package room

import (
	"encoding/json"
	"reflect"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// wait is a change that waits to be sent and then to be confirmed. Its session's goroutine owns it.
type wait struct {
	kind    Kind // Published or Deleted
	message talkcloud.Message
	sent    bool               // a connection was given out to send it on
	before  *talkcloud.Message // the saved copy when it was sent, nil for none

	conn   chan *talkcloud.Conn // gets the connection to send on, once
	result chan result          // gets the outcome, once
}

type result struct {
	message talkcloud.Message
	err     error
	lost    bool // the connection was lost before the echo, and the list does not show the change
}

func newWait(kind Kind, m talkcloud.Message) *wait {
	return &wait{kind: kind, message: m, conn: make(chan *talkcloud.Conn, 1), result: make(chan result, 1)}
}

func (r result) failure(op string) error {
	if r.lost {
		return &talkcloud.Error{
			Op: op, Source: talkcloud.SourceSocket, Kind: talkcloud.KindUnavailable,
			Message: "the connection was lost before the echo", Err: ErrNotConfirmed,
		}
	}
	return r.err
}

// echoedBy reports whether a live event confirms the change. Any deletion of the message does: it
// is gone, and the platform need not echo the deletion of what is no more.
func (w *wait) echoedBy(kind Kind, m talkcloud.Message, user talkcloud.UserID) bool {
	return w.sent && w.kind == kind && w.message.Key() == m.Key() &&
		(kind == Deleted || m.FromID == "" || m.FromID == user)
}

// sameData reports whether two messages carry the same data, however it is written.
func sameData(a, b talkcloud.Message) bool {
	one, two := a.DataText(), b.DataText()
	if one == two {
		return true
	}
	var x, y any
	return json.Unmarshal([]byte(one), &x) == nil && json.Unmarshal([]byte(two), &y) == nil && reflect.DeepEqual(x, y)
}

// judge decides a change that was under way when the connection was lost, by what the room's list
// shows afterwards.
func (w *wait) judge(saved map[string]talkcloud.Message, user talkcloud.UserID) result {
	found, has := saved[w.message.Key()]
	switch {
	case w.kind == Deleted && !has && w.before != nil:
		gone := w.message
		gone.TS = 0
		return result{message: gone}
	case w.kind == Published && has && (found.FromID == "" || found.FromID == user) &&
		(w.before == nil || !w.before.Equal(found)):
		return result{message: found}
	}
	return result{lost: true}
}
