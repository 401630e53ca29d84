// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/classrec/classrec/server/internal/ingest"
	"github.com/classrec/classrec/server/internal/publisher"
)

func mustContain(t testing.TB, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("no %q in:\n%s", want, text)
	}
}

// proxy is a UDP relay between a publisher and the server that can be cut, as a cable is.
type proxy struct {
	front, back *net.UDPConn // the publisher's side, the server's side
	target      *net.UDPAddr
	client      atomic.Pointer[net.UDPAddr]
	isCut       atomic.Bool
	wg          sync.WaitGroup
}

func newProxy(t testing.TB, s *ingest.Server) *proxy {
	t.Helper()
	p := &proxy{}
	var err error
	if p.front, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		t.Fatal(err)
	}
	if p.back, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		t.Fatal(err)
	}
	p.target, _ = s.Addrs()[0].(*net.UDPAddr)
	p.wg.Go(func() {
		p.relay(p.front, p.back, func(from *net.UDPAddr) *net.UDPAddr { p.client.Store(from); return p.target })
	})
	p.wg.Go(func() { p.relay(p.back, p.front, func(*net.UDPAddr) *net.UDPAddr { return p.client.Load() }) })
	t.Cleanup(func() {
		_ = p.front.Close()
		_ = p.back.Close()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) relay(from, to *net.UDPConn, dest func(*net.UDPAddr) *net.UDPAddr) {
	buf := make([]byte, 2048)
	for {
		n, src, err := from.ReadFromUDP(buf)
		if err != nil {
			return
		}
		if d := dest(src); d != nil && !p.isCut.Load() {
			_, _ = to.WriteToUDP(buf[:n], d)
		}
	}
}

func (p *proxy) cut() { p.isCut.Store(true) }

// exchange offers into s through the proxy: the offer goes without candidates, the answer with the proxy's address.
func (p *proxy) exchange(s *ingest.Server, h ingest.Handler) publisher.Exchange {
	return func(ctx context.Context, offer string) (string, error) {
		var kept []string
		for _, line := range strings.SplitAfter(offer, "\n") {
			if !strings.HasPrefix(line, "a=candidate:") {
				kept = append(kept, line)
			}
		}
		_, answer, err := s.Accept(ctx, strings.Join(kept, ""), h)
		front, _ := p.front.LocalAddr().(*net.UDPAddr)
		old, with := " "+strconv.Itoa(p.target.Port)+" typ host", " "+strconv.Itoa(front.Port)+" typ host"
		return strings.ReplaceAll(answer, old, with), err
	}
}
