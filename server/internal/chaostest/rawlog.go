// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaostest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
)

// LogMessage is one message of the log as NATS keeps it.
type LogMessage struct {
	Sequence uint64
	At       time.Time // when NATS took it
	Room     string
	// Expected is what the writer took for the room's last message.
	Expected uint64
	// One of the two is set.
	Lease  *storev1.Lease
	Record *storev1.Record
}

// ReadRawLog reads the log from NATS itself, leases and all.
func ReadRawLog(ctx context.Context, urls string) (log []LogMessage, err error) {
	conn, err := nats.Connect(urls)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, "CLASSREC")
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return nil, err
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return nil, err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return nil, err
	}
	defer messages.Stop()
	for last := uint64(0); last < info.State.LastSeq; {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return nil, err
		}
		last = meta.Sequence.Stream
		m, err := logMessage(msg, meta)
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", last, err)
		}
		if m.Lease != nil || m.Record != nil {
			log = append(log, m)
		}
	}
	return log, nil
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

// logMessage makes sense of a message of a room; of others it does not.
func logMessage(msg jetstream.Msg, meta *jetstream.MsgMetadata) (LogMessage, error) {
	m := LogMessage{Sequence: meta.Sequence.Stream, At: meta.Timestamp}
	parts := strings.Split(msg.Subject(), ".")
	if len(parts) != 5 || !strings.HasPrefix(msg.Subject(), "classrec.log.") {
		return m, nil
	}
	room, err := base64.RawURLEncoding.DecodeString(parts[3])
	if err != nil {
		return m, err
	}
	m.Room = string(room)
	if m.Expected, err = strconv.ParseUint(msg.Headers().Get("Nats-Expected-Last-Subject-Sequence"), 10, 64); err != nil {
		return m, errors.New("it does not say what it was decided on")
	}
	if parts[4] == "lease" {
		m.Lease = new(storev1.Lease)
		return m, proto.Unmarshal(msg.Data(), m.Lease)
	}
	m.Record = new(storev1.Record)
	return m, proto.Unmarshal(msg.Data(), m.Record)
}
