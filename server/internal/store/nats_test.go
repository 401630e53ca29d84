// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

// natsServer is a NATS server of the test's own, for stores that join one.
type natsServer struct {
	dir string
	srv *server.Server
}

func newNATS(t testing.TB) *natsServer {
	t.Helper()
	n := &natsServer{dir: t.TempDir()}
	n.start(t, server.RANDOM_PORT)
	t.Cleanup(n.stop)
	return n
}

func (n *natsServer) start(t testing.TB, port int) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host:       "127.0.0.1",
		Port:       port,
		JetStream:  true,
		StoreDir:   n.dir,
		SyncAlways: true,
		NoSigs:     true,
		NoLog:      true,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.srv = srv
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats server is not up")
	}
}

func (n *natsServer) stop() {
	n.srv.Shutdown()
	n.srv.WaitForShutdown()
}

// restart stops the server, calls between, and starts it again on its port.
func (n *natsServer) restart(t testing.TB, between func()) {
	t.Helper()
	_, port := n.address(t)
	n.stop()
	between()
	n.start(t, port)
}

func (n *natsServer) address(t testing.TB) (url string, port int) {
	t.Helper()
	addr, ok := n.srv.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("nats server has no port: %v", n.srv.Addr())
	}
	return "nats://" + addr.String(), addr.Port
}

func (n *natsServer) open(t testing.TB) *store.Store {
	t.Helper()
	url, _ := n.address(t)
	return storetest.OpenConfig(t, store.Config{NATSURL: url, AckTimeout: 2 * time.Second})
}

// connect returns a plain JetStream client to the same server.
func (n *natsServer) connect(t testing.TB) jetstream.JetStream {
	t.Helper()
	url, _ := n.address(t)
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
