// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"net"
	"strings"
	"time"

	"github.com/pion/stun/v4"
)

// check answers a connectivity check (RFC 8445 section 7.3). One that bears no valid credentials of a session gets no
// answer at all, so nobody can be made a target.
func (t *Transport) check(data []byte, now time.Time, from *path) {
	m := &stun.Message{Raw: data}
	if m.Decode() != nil || m.Type != stun.BindingRequest {
		return // answers and indications: we ask nothing
	}
	username, err := m.Get(stun.AttrUsername)
	if err != nil {
		return
	}
	ours, _, _ := strings.Cut(string(username), ":")
	s := t.session(ours)
	if s == nil || stun.NewShortTermIntegrity(s.pwd).Check(m) != nil {
		return
	}
	mapped := stun.XORMappedAddress{IP: net.IP(from.addr.Addr().AsSlice()), Port: int(from.addr.Port())}
	answer, err := stun.Build(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess,
		&mapped, stun.NewShortTermIntegrity(s.pwd), stun.Fingerprint)
	if err != nil {
		t.log.Debug("connectivity check not answered", "error", err)
		return
	}
	if err := from.write(answer.Raw); err != nil {
		return // it is repeated
	}
	s.checked(from, m.Contains(stun.AttrUseCandidate), now)
}
