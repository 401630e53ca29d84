// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// Spoil writes a message into the log of the cluster as no store of this
// version would: as the state of a recording, whatever data is.
func (c *Cluster) Spoil(tb testing.TB, tenant, room, id string, data []byte) {
	tb.Helper()
	conn, err := nats.Connect(c.URLs())
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	subject := "classrec.log." + tenant + "." + base64.RawURLEncoding.EncodeToString([]byte(room)) + "." + id
	if _, err := conn.Request(subject, data, 10*time.Second); err != nil {
		tb.Fatalf("write into the log: %v", err)
	}
}
