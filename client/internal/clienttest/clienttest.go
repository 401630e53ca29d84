// SPDX-License-Identifier: Apache-2.0

// Package clienttest gives tests of the client and of its command line the real
// other end: a whole classrec with its room server in this process, people who
// publish media into its rooms by WHIP, and connections that break when told.
//
// Everything is ended by the test's cleanup. A helper that cannot do its work
// fails the test.
package clienttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"github.com/classrec/classrec/server"
)

// Patience bounds what has to come; only a test that fails uses it up.
const Patience = 60 * time.Second

// Context ends with our patience, or with the test.
func Context(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), Patience)
	tb.Cleanup(cancel)
	return ctx
}

// Server is a classrec server that runs.
type Server struct {
	*server.Server
	stop func()
}

// Config is a configuration that takes any free ports and keeps its data in
// dir. Its ffmpeg does not exist, so that every machine tests the same.
func Config(dir string) server.Config {
	return server.Config{
		GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0", RoomListen: "127.0.0.1:0", RoomHTTPListen: "127.0.0.1:0",
		DataDir: dir, FFmpeg: filepath.Join(dir, "no-ffmpeg"), ShutdownTimeout: 2 * time.Second,
	}
}

// New runs a server until the test ends.
func New(tb testing.TB, cfg server.Config) *Server {
	tb.Helper()
	s, err := server.New(Context(tb), cfg)
	if err != nil {
		tb.Fatalf("start server: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	running := &Server{Server: s, stop: sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Errorf("run server: %v", err)
		}
	})}
	tb.Cleanup(running.stop)
	return running
}

// Stop ends the server in order and waits for it.
func (s *Server) Stop() { s.stop() }

// GRPC is the address of gRPC, HTTP the URL of REST.
func (s *Server) GRPC() string { return s.GRPCAddr().String() }

// HTTP is the URL of REST, without a slash at its end.
func (s *Server) HTTP() string { return "http://" + s.HTTPAddr().String() }

// Publish puts somebody into a room who publishes sound, and returns once it
// flows; done ends it.
func (s *Server) Publish(tb testing.TB, room, user string) (done func()) {
	tb.Helper()
	fail := func(err error) {
		if err != nil {
			tb.Fatalf("publish as %s: %v", user, err)
		}
	}
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	fail(err)
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, "audio", user)
	fail(err)
	_, err = pc.AddTrack(track)
	fail(err)
	connected := make(chan struct{})
	var once sync.Once
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(connected) })
		}
	})
	offer, err := pc.CreateOffer(nil)
	fail(err)
	gathered := webrtc.GatheringCompletePromise(pc)
	fail(pc.SetLocalDescription(offer))
	<-gathered
	fail(whip(tb, pc, "http://"+s.RoomHTTPAddr().String()+"/whip/"+room+"/"+user))
	select {
	case <-connected:
	case <-Context(tb).Done():
		tb.Fatalf("publish as %s: not connected", user)
	}
	ctx, cancel := context.WithCancel(context.Background())
	played := make(chan struct{})
	flows := make(chan struct{})
	go func() {
		defer close(played)
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			// 20 ms of silence (RFC 6716 section 3.1).
			if track.WriteSample(media.Sample{Data: []byte{0xf8, 0xff, 0xfe}, Duration: 20 * time.Millisecond}) != nil {
				return
			}
			if n == 10 {
				close(flows)
			}
		}
	}()
	done = sync.OnceFunc(func() {
		cancel()
		<-played
		_ = pc.GracefulClose() // the room notices
	})
	tb.Cleanup(done)
	<-flows
	return done
}

// whip makes the exchange of RFC 9725.
func whip(tb testing.TB, pc *webrtc.PeerConnection, url string) error {
	tb.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(Context(tb), http.MethodPost, url, bytes.NewReader([]byte(pc.LocalDescription().SDP)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/sdp")
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return errors.New(resp.Status)
	}
	return pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)})
}

// Proxy passes connections on to an address, and breaks them when told.
type Proxy struct {
	listener net.Listener
	target   string

	mu     sync.Mutex
	conns  map[net.Conn]bool
	limit  int64 // bytes from the target until the next cut; < 0: none
	closed bool
	wait   sync.WaitGroup
}

// NewProxy listens on loopback until the test ends.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{listener: l, target: target, conns: map[net.Conn]bool{}, limit: -1}
	p.wait.Go(p.accept)
	tb.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.Cut()
		p.wait.Wait()
	})
	return p
}

// Addr is where it listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut breaks all connections; new ones are let through.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// CutAfter breaks all connections once when so many more bytes have come from
// the target.
func (p *Proxy) CutAfter(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = bytes
}

func (p *Proxy) accept() {
	for {
		down, err := p.listener.Accept()
		if err != nil {
			return
		}
		up, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.target)
		if err != nil {
			_ = down.Close()
			continue
		}
		p.mu.Lock()
		p.conns[down], p.conns[up] = true, true
		if p.closed {
			_, _ = down.Close(), up.Close()
		}
		p.mu.Unlock()
		pass := func(to, from net.Conn, counted bool) {
			p.pass(to, from, counted)
			_, _ = to.Close(), from.Close()
			p.mu.Lock()
			delete(p.conns, from)
			p.mu.Unlock()
		}
		p.wait.Go(func() { pass(up, down, false) })
		p.wait.Go(func() { pass(down, up, true) })
	}
}

func (p *Proxy) pass(to io.Writer, from io.Reader, counted bool) {
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		cut := false
		if counted {
			n, cut = p.count(n)
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if cut {
			p.Cut()
		}
		if err != nil || cut {
			return
		}
	}
}

// count takes bytes off the limit, and says when it is reached.
func (p *Proxy) count(n int) (pass int, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit < 0 {
		return n, false
	}
	if int64(n) < p.limit {
		p.limit -= int64(n)
		return n, false
	}
	pass, p.limit = int(p.limit), -1
	return pass, true
}
