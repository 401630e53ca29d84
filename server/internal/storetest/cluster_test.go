// SPDX-License-Identifier: Apache-2.0

package storetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/classrec/classrec/server/internal/storetest"
)

// The cluster replicates, outlives one server of three, and a client that is
// cut off is alone until it is healed.
func TestCluster(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	began := time.Now()
	c := storetest.NewCluster(t, 3)
	t.Logf("up in %v", time.Since(began).Round(time.Millisecond))
	link := c.Client(t)
	conn, err := nats.Connect(link.URLs(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.PingInterval(200*time.Millisecond), nats.MaxPingsOutstanding(2))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	publish := func(patience time.Duration) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		for {
			try, cancel := context.WithTimeout(ctx, time.Second)
			_, err := js.Publish(try, "s", []byte("x"), jetstream.WithRetryAttempts(0))
			cancel()
			if err == nil || ctx.Err() != nil {
				return err
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
	if err := publish(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	c.Stop(0)
	if err := publish(20 * time.Second); err != nil {
		t.Fatalf("with two of three: %v", err)
	}
	c.Stop(1)
	if err := publish(time.Second); err == nil {
		t.Fatal("one of three acknowledges")
	}
	c.Start(0)
	c.Start(1)
	if err := publish(25 * time.Second); err != nil {
		t.Fatalf("whole again: %v", err)
	}
	link.Cut()
	if err := publish(time.Second); err == nil {
		t.Fatal("acknowledged through a cut")
	}
	link.Heal()
	if err := publish(20 * time.Second); err != nil {
		t.Fatalf("healed: %v", err)
	}
}
