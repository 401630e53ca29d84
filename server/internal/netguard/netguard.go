// SPDX-License-Identifier: Apache-2.0

// Package netguard tells addresses of the Internet from those inside somebody's
// network, where a stranger may choose the target of a connection.
package netguard

import (
	"errors"
	"net/netip"
	"slices"
	"syscall"
)

// ErrRefused is what a refused connection fails with.
var ErrRefused = errors.New("the address is not public, and not allowed")

// IsPublic tells whether an address is one of the Internet.
func IsPublic(a netip.Addr) bool { return New(nil).Permits(a) }

// notPublic are the networks that are nobody's on the Internet, or somebody's
// inside: the IANA registries of special-purpose addresses, and the one cloud
// metadata service that has a public address.
func notPublic() []netip.Prefix {
	var list []netip.Prefix
	for _, text := range []string{
		"0.0.0.0/8",        // this network
		"10.0.0.0/8",       // private
		"100.64.0.0/10",    // carrier-grade NAT
		"127.0.0.0/8",      // loopback
		"168.63.129.16/32", // Azure's metadata
		"169.254.0.0/16",   // link-local; metadata of most clouds
		"172.16.0.0/12",    // private
		"192.0.0.0/24",     // IETF protocol assignments
		"192.0.2.0/24",     // documentation
		"192.88.99.0/24",   // 6to4 relays
		"192.168.0.0/16",   // private
		"198.18.0.0/15",    // benchmarking
		"198.51.100.0/24",  // documentation
		"203.0.113.0/24",   // documentation
		"224.0.0.0/4",      // multicast
		"240.0.0.0/4",      // reserved; broadcast
		"::/96",            // unspecified, loopback, IPv4-compatible
		"64:ff9b:1::/48",   // NAT64 of local use
		"100::/64",         // discard
		"2001::/23",        // Teredo, ORCHID and other protocols
		"2001:db8::/32",    // documentation
		"3fff::/20",        // documentation
		"5f00::/16",        // segment routing
		"fc00::/7",         // unique local
		"fe80::/10",        // link-local
		"fec0::/10",        // site-local, once
		"ff00::/8",         // multicast
	} {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// Guard refuses addresses when they are dialed.
type Guard struct{ refused, allowed []netip.Prefix }

// New returns a guard that lets pass what is public, or in one of the networks.
func New(allowed []netip.Prefix) Guard { return Guard{refused: notPublic(), allowed: allowed} }

// Control is a net.Dialer's: it gets the address that a name was resolved to,
// right before the connection is made. The error is [ErrRefused].
func (g Guard) Control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !g.Permits(to.Addr()) {
		return ErrRefused
	}
	return nil
}

// Permits tells whether an address may be talked to. One that a gateway would
// make another of is taken for that.
func (g Guard) Permits(a netip.Addr) bool {
	a = a.WithZone("").Unmap()
	if contains(g.allowed, a) {
		return true
	}
	if contains(g.refused, a) || !a.IsValid() {
		return false
	}
	if v4, ok := embedded(a); ok {
		return g.Permits(v4)
	}
	return true
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// embedded returns the IPv4 address that a gateway would make of a: NAT64 (RFC
// 6052) and 6to4 (RFC 3056).
func embedded(a netip.Addr) (netip.Addr, bool) {
	b := a.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case netip.MustParsePrefix("2002::/16").Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}
