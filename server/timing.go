// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// answerPiece is how much of an answer has to be taken within
// [Doors.AnswerTimeout].
const answerPiece = 256 << 10

// timed gives the steps of a request their times, whatever next does of it: its
// body has to come within one, and each piece of its answer has to be taken
// within the other. net/http itself reads what next leaves of a body, and would
// wait for it for ever.
func (d Doors) timed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &pacedWriter{ResponseWriter: w, rc: http.NewResponseController(w), timeout: d.AnswerTimeout}
		if r.Body != nil && r.Body != http.NoBody {
			_ = answer.rc.SetReadDeadline(time.Now().Add(d.BodyTimeout)) // no deadlines: no bound
			r = r.WithContext(r.Context())                               // a copy: net/http looks into the body of its own
			r.Body = &timedBody{ReadCloser: r.Body, rc: answer.rc}
		}
		defer answer.end()
		next.ServeHTTP(answer, r)
	})
}

// timedBody is a body that has a deadline. When it is there, the deadline is
// taken off: the answer may take as long as it takes, and the connection is
// watched meanwhile. After any other end net/http closes the connection, which
// it finds out by reading again.
type timedBody struct {
	io.ReadCloser
	rc *http.ResponseController
}

// Read reads.
func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// pacedWriter bounds the time of each piece that is written, for handlers that
// set no deadlines of their own.
type pacedWriter struct {
	http.ResponseWriter
	rc       *http.ResponseController
	timeout  time.Duration
	own      bool // the handler sets deadlines
	hijacked bool
}

func (w *pacedWriter) bound() {
	if !w.own {
		_ = w.rc.SetWriteDeadline(time.Now().Add(w.timeout)) // no deadlines: no bound
	}
}

// end bounds what net/http writes when the handler has returned; then it takes
// the deadline off itself.
func (w *pacedWriter) end() {
	if w.own = false; !w.hijacked {
		w.bound()
	}
}

// Write writes, piece by piece.
func (w *pacedWriter) Write(p []byte) (total int, err error) {
	for {
		w.bound()
		n, err := w.ResponseWriter.Write(p[:min(len(p), answerPiece)])
		total, p = total+n, p[n:]
		if err != nil || len(p) == 0 {
			return total, err
		}
	}
}

// ReadFrom keeps the way by which the system copies files to connections by
// itself: it takes a file, or a part of one that is cut once.
func (w *pacedWriter) ReadFrom(from io.Reader) (total int64, err error) {
	whole, limited := from.(*io.LimitedReader)
	for {
		piece := &io.LimitedReader{R: from, N: answerPiece}
		if limited {
			piece = &io.LimitedReader{R: whole.R, N: min(whole.N, answerPiece)}
		}
		w.bound()
		n, err := io.Copy(w.ResponseWriter, piece)
		total += n
		if limited {
			whole.N -= n
		}
		if err != nil || piece.N > 0 || limited && whole.N <= 0 {
			return total, err
		}
	}
}

// FlushError is Flush for http.ResponseController.
func (w *pacedWriter) FlushError() error {
	w.bound()
	return w.rc.Flush()
}

// Flush sends off what has been written.
func (w *pacedWriter) Flush() { _ = w.FlushError() }

// SetWriteDeadline is for http.ResponseController.
func (w *pacedWriter) SetWriteDeadline(at time.Time) error {
	w.own = true
	return w.rc.SetWriteDeadline(at)
}

// Hijack gives the connection to the handler, without deadlines.
func (w *pacedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := w.rc.Hijack()
	w.hijacked = err == nil
	return conn, rw, err
}

// Unwrap is for http.ResponseController.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
