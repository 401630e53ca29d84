// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"net"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"github.com/classrec/classrec/server/internal/transport"
)

// udp is a socket that sends to a transport.
type udp struct {
	t    testing.TB
	conn *net.UDPConn
}

func newUDP(t testing.TB, tr *transport.Transport) udp {
	t.Helper()
	addr, _ := tr.Addrs()[0].(*net.UDPAddr)
	conn, err := net.DialUDP("udp", nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return udp{t, conn}
}

// check sends a connectivity check.
func (u udp) check(username, password string, more ...stun.Setter) {
	u.t.Helper()
	setters := append([]stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(username)}, more...)
	m, err := stun.Build(append(setters, stun.NewShortTermIntegrity(password), stun.Fingerprint)...)
	if err != nil {
		u.t.Fatal(err)
	}
	if _, err := u.conn.Write(m.Raw); err != nil {
		u.t.Fatal(err)
	}
}

// answered reports whether anything comes back.
func (u udp) answered(within time.Duration) *stun.Message {
	_ = u.conn.SetReadDeadline(time.Now().Add(within))
	buf := make([]byte, 1500)
	n, err := u.conn.Read(buf)
	if err != nil {
		return nil
	}
	m := &stun.Message{Raw: buf[:n]}
	if err := m.Decode(); err != nil {
		u.t.Error(err)
	}
	return m
}

// TestICE answers the checks that bear the session's credentials, and nothing else: neither an offer nor anything that
// comes from elsewhere makes it send.
func TestICE(t *testing.T) {
	t.Parallel()
	tr := listen(t, transport.Config{NoTCP: true})
	s, err := tr.Open(transport.Params{Active: true, Fingerprints: []string{"sha-256 00"}, Media: []transport.Media{{PayloadType: opus}}})
	if err != nil {
		t.Fatal(err)
	}
	u := newUDP(t, tr)
	for name, send := range map[string]func(){
		"wrong password": func() { u.check(s.Ufrag()+":peer", "xxxxxxxxxxxxxxxxxxxxxx") },
		"unknown user":   func() { u.check("nobody:peer", s.Pwd()) },
		"no credentials": func() { _, _ = u.conn.Write(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw) },
		"handshake":      func() { _, _ = u.conn.Write(append([]byte{22, 254, 253}, make([]byte, 100)...)) },
		"media":          func() { _, _ = u.conn.Write(append([]byte{0x80, 111}, make([]byte, 100)...)) },
		"garbage":        func() { _, _ = u.conn.Write(make([]byte, 1200)) },
	} {
		send()
		if u.answered(50*time.Millisecond) != nil {
			t.Errorf("%s: was answered", name)
		}
	}
	if n := len(s.Paths()); n != 0 {
		t.Errorf("%d addresses are known", n)
	}
	u.check(s.Ufrag()+":peer", s.Pwd(), stun.RawAttribute{Type: stun.AttrUseCandidate})
	m := u.answered(5 * time.Second)
	if m == nil || m.Type != stun.BindingSuccess || stun.NewShortTermIntegrity(s.Pwd()).Check(m) != nil {
		t.Fatalf("answered %v", m)
	}
	var mapped stun.XORMappedAddress
	if err := mapped.GetFrom(m); err != nil || mapped.String() != u.conn.LocalAddr().String() {
		t.Errorf("mapped %v (%v), want %v", mapped, err, u.conn.LocalAddr())
	}
	// Now the handshake begins, to this address.
	buf := make([]byte, 1500)
	_ = u.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := u.conn.Read(buf); err != nil || n < 13 || buf[0] != 22 {
		t.Errorf("%d bytes of a handshake: %v", n, err)
	}
	for range 40 { // the addresses of one publisher are bounded
		other := newUDP(t, tr)
		other.check(s.Ufrag()+":peer", s.Pwd())
		if other.answered(5*time.Second) == nil {
			t.Error("a further address is not answered")
		}
	}
	if n := len(s.Paths()); n > 16 {
		t.Errorf("%d addresses are known", n)
	}
}
