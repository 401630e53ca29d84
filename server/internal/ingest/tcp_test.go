// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/classrec/classrec/server/internal/ingest"
)

// TestPeer_TCP publishes over ICE-TCP: the publisher is told of no UDP.
func TestPeer_TCP(t *testing.T) {
	t.Parallel()
	o, h := newOfferer(t, webrtc.SDPSemanticsUnifiedPlan), newSink()
	o.add(t, "camera")
	s := newServer(t, ingest.Config{})
	_, answer, err := s.Accept(t.Context(), o.offer(t), h)
	if err != nil {
		t.Fatal(err)
	}
	var kept strings.Builder
	for line := range strings.Lines(answer) {
		if !strings.Contains(line, " udp ") {
			kept.WriteString(line)
		}
	}
	mustContain(t, kept.String(), "tcptype passive")
	o.accept(t, kept.String())
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan struct{})
	go func() { defer close(sent); o.send(ctx) }()
	t.Cleanup(func() { cancel(); <-sent })
	waitSenders(t, h, 1)
	first := receive(t, h.packets, "packet")
	last := first
	for range 50 {
		last = receive(t, h.packets, "packet")
	}
	if d := last.rtp.SequenceNumber - first.rtp.SequenceNumber; d != 50 {
		t.Errorf("51 packets end %d after the first", d)
	}
}

// TestServer_TCPStrangers has connections that say nothing, or nonsense: they are cut.
func TestServer_TCPStrangers(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{})
	for _, text := range []string{"GET / HTTP/1.1\r\n\r\n", "\x00\x04\x80\x60\x00\x00", ""} {
		conn, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%q was answered", text)
		} else if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // it is not wrapped
			t.Errorf("%q: the connection stays", text)
		}
		_ = conn.Close()
	}
}
