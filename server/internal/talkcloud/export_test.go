// SPDX-License-Identifier: Apache-2.0

package talkcloud

import "net/netip"

// SetPublic says which addresses are public, to a client that is not used yet.
func SetPublic(c *Client, public func(netip.Addr) bool) { c.public = public }
