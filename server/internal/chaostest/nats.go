// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaostest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BuildNATS builds nats-server into a directory, of the version that classrecd embeds, and returns the program.
func BuildNATS(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "nats-server")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/nats-io/nats-server/v2")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build nats-server: %w\n%s", err, out)
	}
	return program, nil
}

// NATS is a cluster of nats-server processes with JetStream, synced to the disk at every write. They are killed and
// started again on the same data, and reached at the same addresses. Its methods belong to one goroutine, but for Link,
// which comes before.
type NATS struct {
	tb      testing.TB
	program string
	log     *os.File
	servers []*natsServer
}

// natsServer is one of them.
type natsServer struct {
	dir     string
	routes  []*Proxy // the ways of the others to it, by their number; nil its own
	clients []*Proxy // the ways of clients to it
	cmd     *exec.Cmd
	exited  chan struct{}
	monitor string // where it tells of its health
}

// NewNATS makes a cluster, none of whose servers is started yet. The directory gets their data and their log.
func NewNATS(tb testing.TB, program, dir string, servers int) *NATS {
	tb.Helper()
	c := &NATS{tb: tb, program: program, servers: make([]*natsServer, servers)}
	for i := range c.servers {
		s := &natsServer{dir: filepath.Join(dir, fmt.Sprintf("nats-%d", i)), routes: make([]*Proxy, servers)}
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			tb.Fatal(err)
		}
		for j := range s.routes {
			if j != i {
				s.routes[j] = NewProxy(tb)
			}
		}
		c.servers[i] = s
	}
	c.log = logFile(tb, filepath.Join(dir, "nats.log"))
	for i, s := range c.servers {
		var routes []string
		for j, other := range c.servers {
			if j != i {
				routes = append(routes, fmt.Sprintf("%q", "nats-route://"+other.routes[i].Addr()))
			}
		}
		// Clients and servers know the addresses that they were given, and no others: they are those of proxies.
		conf := fmt.Sprintf(`server_name: nats-%d
listen: "127.0.0.1:-1"
http: "127.0.0.1:-1"
ports_file_dir: %q
max_payload: 8MB
jetstream { store_dir: %q, sync_interval: always }
cluster {
  name: chaos, listen: "127.0.0.1:-1", no_advertise: true, cluster_advertise: "127.0.0.1:1", pool_size: -1
  routes: [%s]
}
`, i, s.dir, filepath.Join(s.dir, "jetstream"), strings.Join(routes, ", "))
		if err := os.WriteFile(s.config(), []byte(conf), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	tb.Cleanup(func() {
		for i := range c.servers {
			c.Kill(i)
		}
	})
	return c
}

func (s *natsServer) config() string { return filepath.Join(s.dir, "nats.conf") }

// Start starts a server, and lets the others and clients in once it listens.
func (c *NATS) Start(ctx context.Context, i int) error {
	s := c.servers[i]
	cmd := exec.Command(c.program, "--config", s.config())
	cmd.Stderr = c.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed
		close(exited)
	}()
	s.cmd, s.exited = cmd, exited
	var ports struct{ Nats, Monitoring, Cluster []string }
	file := filepath.Join(s.dir, fmt.Sprintf("nats-server_%d.ports", cmd.Process.Pid))
	for {
		text, err := os.ReadFile(file)
		if err == nil && json.Unmarshal(text, &ports) == nil && len(ports.Nats) > 0 && len(ports.Cluster) > 0 && len(ports.Monitoring) > 0 {
			break
		}
		select {
		case <-exited:
			return fmt.Errorf("NATS server %d has ended", i)
		default:
		}
		if !Pause(ctx, 10*time.Millisecond) {
			return fmt.Errorf("NATS server %d does not come up: %w", i, ctx.Err())
		}
	}
	s.monitor = ports.Monitoring[0]
	for _, p := range s.routes {
		if p != nil {
			p.Target(hostOf(ports.Cluster[0]))
		}
	}
	for _, p := range s.clients {
		p.Target(hostOf(ports.Nats[0]))
	}
	return nil
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// AwaitHealthy waits until a server says that it has all that the others have, and serves it.
func (c *NATS) AwaitHealthy(ctx context.Context, i int) error {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.servers[i].monitor+"/healthz", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		if !Pause(ctx, 50*time.Millisecond) {
			return fmt.Errorf("NATS server %d is not healthy: %w", i, ctx.Err())
		}
	}
}

// Kill ends a server by SIGKILL.
func (c *NATS) Kill(i int) {
	s := c.servers[i]
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // may be gone
	<-s.exited
	s.cmd = nil
	for _, p := range append(append([]*Proxy(nil), s.routes...), s.clients...) {
		if p != nil {
			p.Target("")
			p.Cut()
		}
	}
}

// Hold makes the network between a server and the other servers go quiet; its clients keep it. Release lets it go on.
func (c *NATS) Hold(i int) { c.between(i, (*Proxy).Hold) }

// Release is the reverse of Hold.
func (c *NATS) Release(i int) { c.between(i, (*Proxy).Release) }

func (c *NATS) between(i int, do func(*Proxy)) {
	for j, other := range c.servers {
		if j != i {
			do(c.servers[i].routes[j])
			do(other.routes[i])
		}
	}
}

// Link is one client's own way to all servers.
type Link []*Proxy

// Link makes one. The servers are started afterwards.
func (c *NATS) Link(tb testing.TB) Link {
	tb.Helper()
	w := make(Link, len(c.servers))
	for i, s := range c.servers {
		w[i] = NewProxy(tb)
		s.clients = append(s.clients, w[i])
	}
	return w
}

// URLs is the address of the cluster by this link.
func (w Link) URLs() string {
	urls := make([]string, len(w))
	for i, p := range w {
		urls[i] = "nats://" + p.Addr()
	}
	return strings.Join(urls, ",")
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
