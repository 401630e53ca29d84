// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/impair"
)

// whipProxy is the WHIP endpoint of a server for independent publishers. Each session goes through a link of its own, and
// what passes there is counted.
type whipProxy struct {
	s *apitest.Server

	mu     sync.Mutex
	routes map[string]*route // by the path of the endpoint
}

// route is the way of one session's media.
type route struct {
	network impair.Config
	link    *impair.Link

	mu     sync.Mutex
	codecs map[byte]string                // by payload type, of the answer
	sent   map[byte]map[uint32]struct{}   // timestamps by payload type
	copies map[byte]int                   // packets by payload type
	seen   map[string]map[uint16]struct{} // sequence numbers by SSRC and payload type
	again  int                            // packets sent once more in their own numbers
	lost   int                            // RTP packets
}

func newWHIPProxy(t *testing.T, s *apitest.Server) *whipProxy {
	t.Helper()
	p := &whipProxy{s: s, routes: map[string]*route{}}
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, r := range p.routes {
			if r.link != nil {
				r.link.Close()
			}
		}
	})
	return p
}

// serve serves the proxy for publishers that are no page, and returns its URL.
func (p *whipProxy) serve(t *testing.T) string {
	t.Helper()
	web := httptest.NewServer(p)
	t.Cleanup(web.Close)
	return web.URL
}

// through makes the next session of a path go through a network of its own.
func (p *whipProxy) through(path string, network impair.Config) *route {
	r := &route{network: network, codecs: map[byte]string{}, sent: map[byte]map[uint32]struct{}{}, copies: map[byte]int{}, seen: map[string]map[uint16]struct{}{}}
	inner, lose := network.Drop, losing(network.Seed, network.Up)
	r.network.Up.Loss = 0 // is done here, to know what is lost
	r.network.Drop = func(d impair.Datagram) bool {
		lost := inner != nil && inner(d) || d.Up && lose()
		if d.Up && d.Kind == impair.RTP {
			r.count(d.Data, lost)
		}
		return lost
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.routes[path] = r
	return r
}

// losing decides for one datagram after the other whether it is lost, in bursts as impair.Conditions has them.
func losing(seed uint64, c impair.Conditions) func() bool {
	rng := rand.New(rand.NewPCG(seed, 3))
	burst := max(c.Burst, 1)
	in := false
	return func() bool {
		if in && burst > 1 {
			in = rng.Float64() >= 1/burst
		} else {
			in = rng.Float64() < c.Loss/(burst*(1-c.Loss)+c.Loss*(1-min(burst-1, 1)))
		}
		return in
	}
}

// ServeHTTP forwards an exchange, with the link in place of the server.
func (p *whipProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		return
	}
	if r.Method == http.MethodPatch { // candidates would show a way around the link
		w.WriteHeader(http.StatusNoContent)
		return
	}
	offer := impair.WithoutCandidates(string(body))
	req, err := http.NewRequestWithContext(r.Context(), r.Method, p.s.RoomURL()+r.URL.EscapedPath(), strings.NewReader(offer))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	req.Header.Set("Content-Type", r.Header.Get("Content-Type"))
	resp, err := p.s.HTTP().Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode == http.StatusCreated {
		text, err = p.reroute(r.URL.Path, text)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	for _, name := range []string{"Content-Type", "Location", "ETag"} {
		if v := resp.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(text)
}

var (
	candidateLine = regexp.MustCompile(`a=candidate:\S+ \d+ (?i:udp) \d+ (\S+) (\d+) typ host.*\r\n`)
	anyCandidate  = regexp.MustCompile(`a=candidate:.*\r\n`)
	rtpmapLine    = regexp.MustCompile(`a=rtpmap:(\d+) ([^/\r\n]+)`)
	sectionLine   = regexp.MustCompile(`m=(audio|video) [1-9]`)
)

// reroute puts the session's link in place of the answer's candidates.
func (p *whipProxy) reroute(path string, answer []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.routes[path]
	if r == nil {
		return nil, fmt.Errorf("no network for %s", path)
	}
	match := candidateLine.FindSubmatch(answer)
	if match == nil {
		return nil, fmt.Errorf("an answer without a candidate:\n%s", answer)
	}
	to, err := netip.ParseAddrPort(net.JoinHostPort(string(match[1]), string(match[2])))
	if err != nil {
		return nil, err
	}
	if r.link != nil {
		r.link.Close()
	}
	r.network.Listen = to.Addr()
	if r.link, err = impair.New(addrOf(to), r.network); err != nil {
		return nil, err
	}
	r.mu.Lock()
	for _, m := range rtpmapLine.FindAllSubmatch(answer, -1) {
		if pt, err := strconv.ParseUint(string(m[1]), 10, 8); err == nil {
			r.codecs[byte(pt)] = strings.ToLower(string(m[2]))
		}
	}
	r.mu.Unlock()
	ours := fmt.Sprintf("a=candidate:1 1 udp 2130706431 %s %d typ host\r\n", r.link.Addr().Addr(), r.link.Addr().Port())
	bare := anyCandidate.ReplaceAll(answer, nil)
	at := sectionLine.FindIndex(bare)
	if at == nil {
		return nil, fmt.Errorf("an answer without a section:\n%s", answer)
	}
	end := at[0] + strings.Index(string(bare[at[0]:]), "a=mid:")
	return []byte(string(bare[:end]) + ours + string(bare[end:])), nil
}

// addrOf makes a net.Addr of an address.
type addrOf netip.AddrPort

func (a addrOf) Network() string { return "udp" }
func (a addrOf) String() string  { return netip.AddrPort(a).String() }

// count takes an RTP packet (RFC 3550, 5.1) on its way to the server. Packets of one timestamp are one frame.
func (r *route) count(b []byte, lost bool) {
	if len(b) < 12 {
		return
	}
	pt, number, at := b[1]&0x7f, binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[4:])
	r.mu.Lock()
	defer r.mu.Unlock()
	r.copies[pt]++
	if lost {
		r.lost++
	}
	key := string(b[8:12]) + string(rune(pt))
	if r.seen[key] == nil {
		r.seen[key] = map[uint16]struct{}{}
	}
	if _, again := r.seen[key][number]; again {
		r.again++
		return
	}
	r.seen[key][number] = struct{}{}
	if r.sent[pt] == nil {
		r.sent[pt] = map[uint32]struct{}{}
	}
	r.sent[pt][at] = struct{}{}
}

// passed is what came from the publisher, before anything was lost.
type passed struct {
	frames, packets, audio, resent, lost int
	codec                                string // of the video
}

func (r *route) passed() passed {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := passed{resent: r.again, lost: r.lost}
	for pt, n := range r.copies {
		switch codec := r.codecs[pt]; codec {
		case "opus", "red", "pcmu", "pcma", "g722":
			p.audio += len(r.sent[pt])
		case "rtx":
			p.resent += n
		case "ulpfec", "flexfec-03", "":
		default:
			p.codec = codec
			p.frames += len(r.sent[pt])
			p.packets += n
		}
	}
	return p
}
