// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"errors"
	"net/netip"
)

// SetPublic says which addresses are public, to a client that is not used yet.
func SetPublic(c *Client, public func(netip.Addr) bool) { c.public = public }

// ParseRecordLists reads a body as an answer of both record lists.
func (c *Client) ParseRecordLists(body []byte) ([]string, []RecordListItem, error) {
	k := &call{op: "list", source: SourceRecordList, scrub: c.scrub}
	urls, err := c.parseUserRecordList(k, body)
	items, _, itemsErr := c.parseItems(k, body)
	return urls, items, errors.Join(err, itemsErr)
}
