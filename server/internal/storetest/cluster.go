// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// patience bounds what has to come; only a test that fails uses it up.
const patience = 2 * time.Minute

// Cluster is a NATS cluster with JetStream, on loopback, synced to disk at
// every write. Its methods belong to the test's goroutine.
type Cluster struct {
	tb      testing.TB
	nodes   []*node
	client  *Client   // the way that is never cut
	clients []*Client // all ways, that one too
}

// node is one server. It takes other ports at each start; what leads to it, on
// ports that stay, is told of them.
type node struct {
	options server.Options
	server  *server.Server // nil while it is stopped
	routes  []*link        // to the other servers, by number; nil to itself
}

// NewCluster starts a cluster of so many servers; the test's end stops it. It
// returns when the cluster takes streams.
func NewCluster(tb testing.TB, servers int) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb, nodes: make([]*node, servers)}
	dir := tb.TempDir()
	for i := range c.nodes {
		n := &node{options: server.Options{
			ServerName: fmt.Sprintf("nats-%d", i),
			Host:       "127.0.0.1",
			Port:       server.RANDOM_PORT,
			JetStream:  true,
			StoreDir:   filepath.Join(dir, fmt.Sprint(i)),
			SyncAlways: true,
			NoSigs:     true,
			MaxPayload: 8 << 20,
		}}
		if servers > 1 {
			n.routes = make([]*link, servers)
			for to := range n.routes {
				if to == i {
					continue
				}
				l := newLink(tb)
				n.routes[to] = l
				n.options.Routes = append(n.options.Routes, &url.URL{Scheme: "nats-route", Host: l.address()})
			}
			n.options.Cluster = server.ClusterOpts{
				Name:     "test",
				Host:     "127.0.0.1",
				Port:     server.RANDOM_PORT,
				PoolSize: -1,
				// Clients know the addresses that they were given, and no
				// others: they may be behind a proxy. So do servers: what they
				// tell each other of the others, nobody listens on.
				NoAdvertise: true,
				Advertise:   "127.0.0.1:1",
			}
		}
		c.nodes[i] = n
	}
	c.client = c.Client(tb)
	tb.Cleanup(c.close)
	for i := range c.nodes {
		c.start(i)
	}
	c.await("a leader that knows all servers", func() bool {
		for _, n := range c.nodes {
			if servers == 1 || n.server.JetStreamIsLeader() && len(n.server.JetStreamClusterPeers()) == servers {
				return true
			}
		}
		return false
	})
	return c
}

// URLs is the address of the cluster, as store.Config takes it. It stays the
// same when servers stop and start.
func (c *Cluster) URLs() string { return c.client.URLs() }

// Stop stops a server. The others hear of it, so that another leads at once what
// it has led.
func (c *Cluster) Stop(i int) {
	c.tb.Helper()
	n := c.nodes[i]
	if n.server == nil {
		return
	}
	n.server.Shutdown()
	n.server.WaitForShutdown()
	n.server = nil
}

// Kill stops a server as if it had been killed: nobody hears of it.
func (c *Cluster) Kill(i int) {
	c.tb.Helper()
	c.Cut(i)
	c.Stop(i)
	c.Heal(i)
}

// Cut makes the network swallow all that a server and the other servers send
// each other. Its clients keep it.
func (c *Cluster) Cut(i int) { c.setCut(i, true) }

// Heal ends a cut.
func (c *Cluster) Heal(i int) { c.setCut(i, false) }

func (c *Cluster) setCut(i int, cut bool) {
	for j, n := range c.nodes {
		if j != i {
			n.routes[i].setCut(cut)
			c.nodes[i].routes[j].setCut(cut)
		}
	}
}

// Leader returns the server that leads the stream of the default account; -1
// when none does.
func (c *Cluster) Leader(stream string) int {
	for i, n := range c.nodes {
		if n.server != nil && n.server.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
			return i
		}
	}
	return -1
}

// Start starts a stopped server again, on the same files. It does not
// wait for the cluster to be whole.
func (c *Cluster) Start(i int) {
	c.tb.Helper()
	if c.nodes[i].server == nil {
		c.start(i)
	}
}

func (c *Cluster) start(i int) {
	c.tb.Helper()
	n := c.nodes[i]
	options := n.options // the server keeps and changes what it is given
	s, err := server.NewServer(&options)
	if err != nil {
		c.tb.Fatalf("start NATS server %d: %v", i, err)
	}
	s.Start()
	n.server = s
	if !s.ReadyForConnections(patience) {
		c.tb.Fatalf("NATS server %d does not come up", i)
	}
	for _, cl := range c.clients {
		cl.links[i].lead(s.Addr())
	}
	for from, other := range c.nodes {
		if from != i {
			other.routes[i].lead(s.ClusterAddr())
		}
	}
}

// await waits until the condition holds.
func (c *Cluster) await(what string, holds func() bool) {
	c.tb.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			c.tb.Fatalf("waiting for %s: nothing for %v", what, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (c *Cluster) close() {
	for i := range c.nodes {
		c.Stop(i)
	}
}
