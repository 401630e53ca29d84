// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaostest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/storetest"
)

// Database is a PostgreSQL, and a standby that has all that was acknowledged. Its methods belong to one goroutine, but
// for Link and URL.
type Database struct {
	primary, standby *storetest.Postgres
}

// NewDatabase starts both. They end with the test.
func NewDatabase(tb testing.TB) *Database {
	tb.Helper()
	d := &Database{primary: storetest.NewPostgres(tb)}
	d.standby = d.primary.Standby()
	d.primary.SQL("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
	d.primary.SQL("SELECT pg_reload_conf()")
	return d
}

// Crash ends the one that takes changes as a power cut would, and Recover starts it again.
func (d *Database) Crash() { d.primary.Kill() }

// Recover is the reverse of Crash.
func (d *Database) Recover() { d.primary.Start() }

// Promote makes the standby the one that takes changes, after a Crash. It can be called once.
func (d *Database) Promote() {
	d.standby.Promote()
	d.primary, d.standby = d.standby, nil
}

// Promoted reports whether Promote was called.
func (d *Database) Promoted() bool { return d.standby == nil }

// Link is one client's own way to both.
type Link []*Proxy

// Link makes one.
func (d *Database) Link(tb testing.TB) Link {
	tb.Helper()
	w := Link{NewProxy(tb), NewProxy(tb)}
	w[0].Target(d.primary.Addr())
	w[1].Target(d.standby.Addr())
	return w
}

// URL is the address of the one that takes changes by this link.
func (w Link) URL() string {
	return fmt.Sprintf("postgres://classrec@%s,%s/postgres?sslmode=disable&target_session_attrs=read-write&connect_timeout=2", w[0].Addr(), w[1].Addr())
}

// Hold makes it go quiet; Release lets it go on; Cut resets its connections.
func (w Link) Hold() { w.each((*Proxy).Hold) }

// Release is the reverse of Hold.
func (w Link) Release() { w.each((*Proxy).Release) }

// Cut resets all connections.
func (w Link) Cut() { w.each((*Proxy).Cut) }

func (w Link) each(do func(*Proxy)) {
	for _, p := range w {
		do(p)
	}
}

// LogMessage is one event as the database keeps it.
type LogMessage struct {
	Sequence uint64
	At       time.Time // when it was stored
	Room     string
	// One of the two is set.
	Lease  *storev1.Lease
	Record *storev1.Record
}

// ReadRawLog reads the events from the database itself, leases and all.
func ReadRawLog(ctx context.Context, url string) (log []LogMessage, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, `SELECT sequence, time, room, recording, body FROM event ORDER BY sequence`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var m LogMessage
		var at int64
		var id string
		var body []byte
		if err := rows.Scan(&m.Sequence, &at, &m.Room, &id, &body); err != nil {
			return nil, err
		}
		m.At = time.UnixMicro(at)
		if id == "" {
			m.Lease = new(storev1.Lease)
			err = proto.Unmarshal(body, m.Lease)
		} else {
			m.Record = new(storev1.Record)
			err = proto.Unmarshal(body, m.Record)
		}
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", m.Sequence, err)
		}
		log = append(log, m)
	}
	return log, rows.Err()
}

// Holders are the replicas that hold rooms at the end of the log, by room.
func Holders(log []LogMessage) map[string]string {
	held := map[string]string{}
	for _, m := range log {
		switch {
		case m.Lease == nil:
		case m.Lease.GetHolder() == "":
			delete(held, m.Room)
		default:
			held[m.Room] = m.Lease.GetHolder()
		}
	}
	return held
}

// HolderAt is the replica that held a room at a time, and since when, by the log; "" when none did.
func HolderAt(log []LogMessage, room string, at time.Time) (holder string, since time.Time) {
	for _, m := range log {
		if m.Room == room && m.Lease != nil && !m.At.After(at) {
			holder, since = m.Lease.GetHolder(), m.At
		}
	}
	return holder, since
}
