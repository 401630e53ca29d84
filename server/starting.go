// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"net/http"
	"sync"
)

// httpPort serves --http-listen from the first moment on: /healthz, and /readyz,
// which says what is waited for. Other requests wait until the server has begun.
type httpPort struct {
	ready  func(context.Context) error
	server *http.Server
	done   chan struct{} // closed when it serves no more
	err    error         // why; set before done is closed

	opening sync.Once
	opened  chan struct{} // closed when handler is set
	handler http.Handler
}

func (s *Server) openHTTP(context.Context) error {
	p := &httpPort{ready: s.ready, done: make(chan struct{}), opened: make(chan struct{})}
	p.server = newHTTPServer(s.cfg.Doors.timed(p), s.cfg.Logger.With("part", "HTTP port"))
	l := s.tls.listener(s.httpListener)
	go func() {
		defer close(p.done)
		p.err = p.server.Serve(l)
	}()
	s.http = p
	s.parts.add(part{name: "HTTP port", stop: func(context.Context) error {
		err := p.server.Close()
		<-p.done
		return err
	}})
	return nil
}

// ServeHTTP is http.Handler's.
func (p *httpPort) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case <-p.opened:
		p.handler.ServeHTTP(w, r)
		return
	default:
	}
	w.Header().Set("Cache-Control", "no-store")
	switch r.URL.Path {
	case "/healthz":
		_, _ = fmt.Fprintln(w, "ok")
	case "/readyz":
		w.Header().Set("Retry-After", "1")
		http.Error(w, fmt.Sprintf("not ready: %v", p.ready(r.Context())), http.StatusServiceUnavailable)
	default:
		select {
		case <-p.opened:
			p.handler.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}
}

// serveHTTP has the port serve a handler, from when the part before it runs.
func (s *Server) serveHTTP(name string, handler http.Handler) {
	p := s.http
	s.parts.add(part{
		name: name,
		run: func(context.Context) error {
			p.opening.Do(func() {
				p.handler = handler
				close(p.opened)
			})
			<-p.done
			return ignore(p.err, http.ErrServerClosed)
		},
		stop: func(ctx context.Context) error {
			ctx, cancel := s.phase(ctx, deliverPart)
			defer cancel()
			if p.server.Shutdown(ctx) != nil {
				return p.server.Close() // whoever is not done by now is cut off
			}
			return nil
		},
	})
}
