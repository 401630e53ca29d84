// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// streamWriter writes the messages of one stream as they come.
type streamWriter struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	json    protojson.MarshalOptions
	sse     bool
	buf     []byte // of the entry that is being written
}

// newStreamWriter begins the answer.
func newStreamWriter(w http.ResponseWriter, r *http.Request, timeout time.Duration) *streamWriter {
	s := &streamWriter{
		w: w, rc: http.NewResponseController(w), timeout: timeout,
		json: protojson.MarshalOptions{EmitDefaultValues: true},
		sse:  wantsEvents(r.Header.Values("Accept")),
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy that gathers would hold events back
	if s.sse {
		h.Set("Content-Type", "text/event-stream")
	} else {
		h.Set("Content-Type", "application/x-ndjson")
	}
	return s
}

// wantsEvents says whether an Accept header names text/event-stream.
func wantsEvents(accept []string) bool {
	for _, value := range accept {
		for part := range strings.SplitSeq(value, ",") {
			mediaType, params, err := mime.ParseMediaType(part)
			if err != nil || mediaType != "text/event-stream" {
				continue
			}
			q, err := strconv.ParseFloat(params["q"], 64)
			return err != nil || q > 0
		}
	}
	return false
}

// message writes m: as a line {"result": …}, or as an event that is named for
// what it is, with the sequence to resume from as its id.
func (s *streamWriter) message(m *classrecv1.WatchClassBeginResponse) error {
	if !s.sse {
		return s.line("result", m)
	}
	name, sequence := eventOf(m)
	s.buf = append(s.buf[:0], "id: "...)
	s.buf = strconv.AppendUint(s.buf, sequence, 10)
	s.buf = append(s.buf, "\nevent: "...)
	s.buf = append(s.buf, name...)
	return s.data(m)
}

// fail writes the error that ends the stream: as a line {"error": …}, or as an
// event named error, which has no id, so that the last one stays the place to
// resume from.
func (s *streamWriter) fail(st *status.Status) error {
	if !s.sse {
		return s.line("error", st.Proto())
	}
	s.buf = append(s.buf[:0], "event: error"...)
	return s.data(st.Proto())
}

// line writes one line of NDJSON.
func (s *streamWriter) line(key string, m proto.Message) error {
	s.buf = append(s.buf[:0], `{"`+key+`":`...)
	return s.finish(m, "}\n")
}

// data ends an event.
func (s *streamWriter) data(m proto.Message) error {
	s.buf = append(s.buf, "\ndata: "...)
	return s.finish(m, "\n\n")
}

// finish writes what is in the buffer, m and end, and sends it off.
func (s *streamWriter) finish(m proto.Message, end string) error {
	var err error
	if s.buf, err = s.json.MarshalAppend(s.buf, m); err != nil {
		return err
	}
	s.buf = append(s.buf, end...)
	_ = s.rc.SetWriteDeadline(time.Now().Add(s.timeout)) // no deadlines: no bound
	if _, err := s.w.Write(s.buf); err != nil {
		return err
	}
	return s.rc.Flush()
}

// end takes the time limit of the last message off the connection: the stream's
// end is still to be written.
func (s *streamWriter) end() { _ = s.rc.SetWriteDeadline(time.Time{}) }

// eventOf names a message for an EventSource.
func eventOf(m *classrecv1.WatchClassBeginResponse) (name string, sequence uint64) {
	switch p := m.GetPayload().(type) {
	case *classrecv1.WatchClassBeginResponse_Event:
		if p.Event.GetAction() == classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE {
			return "remove", p.Event.GetSequence()
		}
		return "add", p.Event.GetSequence()
	case *classrecv1.WatchClassBeginResponse_Synced:
		return "synced", p.Synced.GetSequence()
	case *classrecv1.WatchClassBeginResponse_Heartbeat:
		return "heartbeat", p.Heartbeat.GetSequence()
	default:
		return "message", 0
	}
}
