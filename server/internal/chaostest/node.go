// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaostest

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// Node is a classrecd that lives again and again on one data directory, and stays reachable at the same addresses. Its
// lives are begun and ended by one goroutine; everything else may be used by all.
type Node struct {
	tb      testing.TB
	program string
	args    []string
	dir     string
	log     *os.File

	grpc, http, room *Proxy

	daemon *Daemon // of the life that is on; only the goroutine that begins and ends lives uses it

	mu      sync.Mutex
	lives   []*Life
	changed chan struct{} // closed and replaced when a life begins to serve, or ends
}

// Life is one run of a node's process.
type Life struct {
	// Number counts from 0.
	Number int
	// Began is when the process was started.
	Began time.Time

	node *Node
	down chan struct{} // closed when it is over

	// Guarded by the node's lock.
	up      time.Time // zero before it serves
	ended   time.Time // zero while it lasts
	replica string    // its name among replicas
}

// NewNode makes a node that is not started yet. It keeps its data in dir/data and its log in dir/log.
func NewNode(tb testing.TB, program, dir string, args ...string) *Node {
	tb.Helper()
	n := &Node{
		tb: tb, program: program, dir: dir, log: logFile(tb, filepath.Join(dir, "log")),
		grpc: NewProxy(tb), http: NewProxy(tb), room: NewProxy(tb), changed: make(chan struct{}),
	}
	n.args = append([]string{
		"--data-dir", filepath.Join(dir, "data"),
		"--grpc-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--room-listen", "127.0.0.1:0", "--room-class-rate", "0",
		"--files-base-url", "http://" + n.http.Addr() + "/files",
	}, args...)
	tb.Cleanup(func() {
		if n.daemon != nil {
			n.daemon.destroy()
		}
	})
	return n
}

// Begin starts the process, and does not wait until it serves.
func (n *Node) Begin() *Life {
	n.tb.Helper()
	n.mu.Lock()
	l := &Life{Number: len(n.lives), Began: time.Now(), node: n, down: make(chan struct{})}
	n.lives = append(n.lives, l)
	n.mu.Unlock()
	fmt.Fprintf(n.log, "{\"msg\":\"life\",\"number\":%d}\n", l.Number)
	d, err := Start(n.program, n.args, n.log)
	if err != nil {
		n.tb.Fatalf("start classrecd: %v", err)
	}
	n.daemon = d
	return l
}

// AwaitUp waits until the life that was begun serves, and lets callers in.
func (n *Node) AwaitUp(ctx context.Context) error {
	at, err := n.daemon.Up(ctx)
	if err != nil {
		return err
	}
	n.grpc.Target(at.GRPC)
	n.http.Target(at.HTTP)
	n.room.Target(at.Room)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lives[len(n.lives)-1].up, n.lives[len(n.lives)-1].replica = time.Now(), at.Replica
	n.announce()
	return nil
}

// Kill ends the life that is on by SIGKILL.
func (n *Node) Kill() {
	at := time.Now()
	n.daemon.Kill()
	n.over(at)
}

// Terminate ends it by SIGTERM, and by SIGKILL when it has not ended within patience. The error tells that, or an exit
// code that is not 0.
func (n *Node) Terminate(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	at := time.Now()
	err := n.daemon.Terminate(ctx)
	if err != nil && ctx.Err() != nil {
		n.daemon.Kill()
	}
	n.over(at)
	return err
}

// Freeze stops the process where it stands, as a machine does that is out of memory or cut off; its connections stay.
// Thaw lets it go on.
func (n *Node) Freeze() { n.daemon.Freeze() }

// Thaw is the reverse of Freeze.
func (n *Node) Thaw() { n.daemon.Thaw() }

// over notes the end of a life.
func (n *Node) over(at time.Time) {
	for _, p := range []*Proxy{n.grpc, n.http, n.room} {
		p.Target("")
		p.Cut()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.lives[len(n.lives)-1]
	l.ended = at
	close(l.down)
	n.announce()
}

func (n *Node) announce() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// Serving waits for a life that serves, and returns it.
func (n *Node) Serving(ctx context.Context) (*Life, error) {
	for {
		n.mu.Lock()
		changed := n.changed
		if k := len(n.lives); k > 0 && !n.lives[k-1].up.IsZero() && n.lives[k-1].ended.IsZero() {
			defer n.mu.Unlock()
			return n.lives[k-1], nil
		}
		n.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Lives are all lives so far, in order.
func (n *Node) Lives() []*Life {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]*Life(nil), n.lives...)
}

// LifeAt returns the life that was on at a time, or nil.
func (n *Node) LifeAt(at time.Time) *Life {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.lives {
		if !at.Before(l.Began) && (l.ended.IsZero() || at.Before(l.ended)) {
			return l
		}
	}
	return nil
}

// Down is closed when the life is over.
func (l *Life) Down() <-chan struct{} { return l.down }

// Ended is when the process was killed or told to end; zero while the life lasts.
func (l *Life) Ended() time.Time {
	l.node.mu.Lock()
	defer l.node.mu.Unlock()
	return l.ended
}

// EndOr is Ended, or another time while the life lasts.
func (l *Life) EndOr(otherwise time.Time) time.Time {
	if at := l.Ended(); !at.IsZero() {
		return at
	}
	return otherwise
}

// Up is when it began to serve; zero when it never did.
func (l *Life) Up() time.Time {
	l.node.mu.Lock()
	defer l.node.mu.Unlock()
	return l.up
}

// Replica is its name among replicas, "" before it serves, or when it is none.
func (l *Life) Replica() string {
	l.node.mu.Lock()
	defer l.node.mu.Unlock()
	return l.replica
}

// Exited is closed when the process of the life that is on is gone: of itself, when nobody has ended it.
func (n *Node) Exited() <-chan struct{} { return n.daemon.Exited() }

// GRPCAddr is where its API is, in every life.
func (n *Node) GRPCAddr() string { return n.grpc.Addr() }

// HTTPAddr is where REST and the files are.
func (n *Node) HTTPAddr() string { return n.http.Addr() }

// RoomAddr is where its platform is, over https.
func (n *Node) RoomAddr() string { return n.room.Addr() }

// Roots trusts the platform's certificate, which is made in the first life.
func (n *Node) Roots() (*x509.CertPool, error) {
	pem, err := os.ReadFile(filepath.Join(n.dir, "data", "room.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("the room server's certificate is none")
	}
	return pool, nil
}

// Dial makes a connection for the API, which is closed with the test. It tries again quickly when the node is away.
func (n *Node) Dial(tb testing.TB, options ...grpc.DialOption) *grpc.ClientConn {
	tb.Helper()
	conn, err := dial(n.GRPCAddr(), options...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

// API is the generated client over [Node.Dial].
func (n *Node) API(tb testing.TB) classrecv1.RecordingServiceClient {
	tb.Helper()
	return classrecv1.NewRecordingServiceClient(n.Dial(tb))
}

func dial(addr string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient(addr, append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.2, MaxDelay: 50 * time.Millisecond},
			MinConnectTimeout: 2 * time.Second,
		}),
	}, options...)...)
}
