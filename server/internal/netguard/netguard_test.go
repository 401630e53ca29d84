// SPDX-License-Identifier: Apache-2.0

package netguard_test

import (
	"net/netip"
	"testing"

	"github.com/classrec/classrec/server/internal/netguard"
)

func TestPermits(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.255", "168.63.129.16",
		"169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.168.1.1", "198.18.0.1", "224.0.0.1",
		"255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::127.0.0.1",
		"64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:0a00:0001::1", "2001:0:1::1", "2001:db8::1", "fc00::1",
		"fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
	} {
		if netguard.IsPublic(netip.MustParseAddr(text)) {
			t.Errorf("%s is permitted", text)
		}
	}
	for _, text := range []string{"8.8.8.8", "172.32.0.1", "100.128.0.1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "2606:4700::1111", "2a00::1"} {
		if !netguard.IsPublic(netip.MustParseAddr(text)) {
			t.Errorf("%s is refused", text)
		}
	}
	allowed := netip.MustParsePrefix("10.1.0.0/16")
	for text, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "64:ff9b::10.1.2.3": true, "10.2.0.1": false, "127.0.0.1": false} {
		if got := netguard.New([]netip.Prefix{allowed}).Permits(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s, where %s is allowed: %v", text, allowed, got)
		}
	}
	if netguard.IsPublic(netip.Addr{}) {
		t.Error("no address is permitted")
	}
}
