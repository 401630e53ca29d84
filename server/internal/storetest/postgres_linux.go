// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Postgres is a PostgreSQL server of the test's own, which an ordinary user
// runs on a free port of loopback. Its methods belong to one goroutine.
type Postgres struct {
	tb      testing.TB
	bin     string // where the programs are
	dir     string
	port    int
	options []string
	server  *exec.Cmd // nil while it is not up
	exited  chan struct{}
}

// NewPostgres starts a server with an empty database; options are set in its
// configuration, as synchronous_commit=remote_apply. It ends with the test, which
// fails where there is no PostgreSQL.
func NewPostgres(tb testing.TB, options ...string) *Postgres {
	tb.Helper()
	p := &Postgres{tb: tb, bin: postgresPrograms(tb), dir: postgresDir(tb), port: freePort(tb), options: options}
	p.run("initdb", "--pgdata", p.dir, "--username", "classrec", "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	p.Start()
	return p
}

// Standby makes a server that follows p, named standby, and starts it.
func (p *Postgres) Standby() *Postgres {
	p.tb.Helper()
	s := &Postgres{tb: p.tb, bin: p.bin, dir: postgresDir(p.tb), port: freePort(p.tb)}
	s.run("pg_basebackup", "--pgdata", s.dir, "--checkpoint", "fast", "--wal-method", "stream", "--write-recovery-conf",
		"--dbname", fmt.Sprintf("host=127.0.0.1 port=%d user=classrec application_name=standby", p.port))
	s.Start()
	return s
}

// URL is the database's.
func (p *Postgres) URL() string { return URLOf(p) }

// Addr is its host and port.
func (p *Postgres) Addr() string { return fmt.Sprintf("127.0.0.1:%d", p.port) }

// URLOf is the address of the one of the servers that takes changes.
func URLOf(servers ...*Postgres) string {
	var hosts []string
	for _, p := range servers {
		hosts = append(hosts, p.Addr())
	}
	return "postgres://classrec@" + strings.Join(hosts, ",") + "/postgres?sslmode=disable&target_session_attrs=read-write&connect_timeout=2"
}

// Start starts the server, and waits until it takes connections.
func (p *Postgres) Start() {
	p.tb.Helper()
	args := []string{"-D", p.dir, "-p", strconv.Itoa(p.port), "-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200", "-c", "fsync=off"}
	for _, option := range p.options {
		args = append(args, "-c", option)
	}
	p.server = p.command("postgres", args...)
	var log bytes.Buffer
	p.server.Stderr = &log
	if err := p.server.Start(); err != nil {
		p.tb.Fatalf("start PostgreSQL: %v", err)
	}
	exited, server := make(chan struct{}), p.server
	p.exited = exited
	go func() {
		_ = server.Wait() // it is killed
		close(exited)
	}()
	p.tb.Cleanup(p.Kill)
	ready := func() bool {
		return p.command("pg_isready", "--host", "127.0.0.1", "--port", strconv.Itoa(p.port), "--quiet").Run() == nil
	}
	for deadline := time.Now().Add(time.Minute); !ready(); time.Sleep(50 * time.Millisecond) {
		select {
		case <-exited:
			p.tb.Fatalf("PostgreSQL has ended:\n%s", log.String())
		default:
		}
		if time.Now().After(deadline) {
			p.tb.Fatal("PostgreSQL does not come up")
		}
	}
}

// Kill ends the server at once, as a crash would: what it has not written is
// lost.
func (p *Postgres) Kill() {
	if p.server == nil {
		return
	}
	_ = p.server.Process.Signal(syscall.SIGQUIT) // it may be gone
	<-p.exited
	p.server = nil
}

// Promote makes a standby take changes.
func (p *Postgres) Promote() {
	p.tb.Helper()
	p.run("pg_ctl", "promote", "--pgdata", p.dir, "--wait")
}

// SQL runs statements and returns what psql prints.
func (p *Postgres) SQL(statements string) string {
	p.tb.Helper()
	return p.run("psql", "--dbname", fmt.Sprintf("host=127.0.0.1 port=%d user=classrec dbname=postgres", p.port),
		"--quiet", "--no-align", "--tuples-only", "--set", "ON_ERROR_STOP=1", "--command", statements)
}

func (p *Postgres) run(program string, args ...string) string {
	p.tb.Helper()
	out, err := p.command(program, args...).CombinedOutput()
	if err != nil {
		p.tb.Fatalf("%s: %v\n%s", program, err, out)
	}
	return strings.TrimSpace(string(out))
}

// command is one of PostgreSQL's programs, which root may not run: then nobody
// does.
func (p *Postgres) command(program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), filepath.Join(p.bin, program), args...)
	cmd.Dir = p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() == 0 {
		uid, gid := nobody(p.tb)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	return cmd
}

func nobody(tb testing.TB) (uid, gid uint32) {
	tb.Helper()
	u, err := user.Lookup("nobody")
	if err != nil {
		tb.Fatal(err)
	}
	n, err := strconv.ParseUint(u.Uid, 10, 32)
	m, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err, err2); err != nil {
		tb.Fatal(err)
	}
	return uint32(n), uint32(m)
}

// postgresPrograms finds the newest PostgreSQL. Debian keeps each version's
// programs apart, and out of PATH.
func postgresPrograms(tb testing.TB) string {
	tb.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		tb.Fatal(err)
	}
	if len(found) > 0 {
		slices.Sort(found)
		return filepath.Dir(found[len(found)-1])
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		tb.Fatalf("there is no PostgreSQL (make setup-e2e): %v", err)
	}
	return filepath.Dir(path)
}

// postgresDir is a directory that the user who runs the server owns.
func postgresDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "classrec-postgres-") //nolint:usetesting // others may not enter that of the test
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	if os.Geteuid() == 0 {
		uid, gid := nobody(tb)
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

func freePort(tb testing.TB) int {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		tb.Fatal("no port")
	}
	return addr.Port
}
