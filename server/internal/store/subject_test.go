// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/classrec/classrec/server/internal/store"
)

var subjectSeeds = []string{
	"classrec.log.default.cm9vbQ.01HZX", "classrec.log.default.5pWZ5a6k.id", "classrec.log..cm9vbQ.id",
	"classrec.log.default..id", "classrec.log.default.cm9vbR.id", "classrec.log.default.cm9vbQ==.id",
	"classrec.log.default.cm9v\nbQ.id", "classrec.log.default.cm9vbQ.id.more", "classrec.log.*.cm9vbQ.>",
	"classrec.log", "", "....",
}

// What is understood is exactly what is made.
func FuzzParseSubject(f *testing.F) {
	for _, s := range subjectSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		tenantName, room, id, ok := store.ParseSubject(subject)
		if ok && store.Subject(tenantName, room, id) != subject {
			t.Fatalf("%q is taken for %q, %q, %q", subject, tenantName, room, id)
		}
		if ok && room == "" {
			t.Fatalf("%q has no room", subject)
		}
	})
}

// Any room makes a legal subject, and comes back.
func FuzzSubject(f *testing.F) {
	for _, room := range []string{"room", "a.b", "*", ">", " ", "教室", "\xff", "\x00", strings.Repeat("x", 128)} {
		f.Add(room)
	}
	f.Fuzz(func(t *testing.T, room string) {
		subject := store.Subject("default", room, "id")
		if room == "" {
			return
		}
		if !server.IsValidLiteralSubject(subject) {
			t.Fatalf("room %q makes %q", room, subject)
		}
		tenantName, got, id, ok := store.ParseSubject(subject)
		if !ok || tenantName != "default" || got != room || id != "id" {
			t.Fatalf("room %q comes back as %q, %q, %q, %v", room, tenantName, got, id, ok)
		}
	})
}

// A message of the log is taken in or refused, whatever it is.
func FuzzDecode(f *testing.F) {
	f.Add("classrec.log.default.cm9vbQ.id", []byte{})
	f.Add("classrec.log.default.cm9vbQ.id", []byte("garbage"))
	f.Add("classrec.log.default.cm9vbQ.id", store.Encode(newRecord("room", "id", available)))
	f.Add("classrec.log.default.cm9vbQ.other", store.Encode(newRecord("room", "id", available)))
	f.Fuzz(func(t *testing.T, subject string, data []byte) {
		e, err := store.Decode(subject, data, 1)
		if (e == nil) == (err == nil) {
			t.Fatalf("%v, %v", e, err)
		}
		if err == nil && store.Subject(e.Record.GetTenant(), e.Record.GetRecording().GetRoom(), e.Record.GetId()) != subject {
			t.Fatalf("%v is taken for one of %q", e, subject)
		}
	})
}
