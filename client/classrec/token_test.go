// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/classrec/classrec/client/internal/clienttest"
)

// Against a server that asks who is there, with tokens that `classrecd token` has made, each way to give one works for
// every command, and what is wrong with one is said, with an exit code of its own, and without showing it.
func TestTokens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	classrecd := filepath.Join(t.TempDir(), "classrecd")
	if out, err := exec.CommandContext(clienttest.Context(t), "go", "build", "-o", classrecd, "../../server/classrecd").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	admin := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(clienttest.Context(t), classrecd, append(append([]string{"token"}, args...), "--data-dir", dir)...).Output()
		if err != nil {
			t.Fatalf("classrecd token %s: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	token := func(name string, args ...string) (file string) {
		t.Helper()
		secret := admin(append([]string{"create", name}, args...)...)
		if listed := admin("list"); strings.Contains(listed, secret) || !strings.Contains(listed, name) {
			t.Errorf("listed is %s", listed)
		}
		file = filepath.Join(t.TempDir(), "token")
		write(t, file, secret+"\n")
		return file
	}
	all, reader := token("all", "--scope", "start,stop,list,watch"), token("reader", "--scope", "list,watch")
	s := clienttest.New(t, clienttest.Config(dir))
	with := func(file string, args ...string) []string {
		return append(args, "--server", s.GRPC(), "--token-file", file)
	}

	name := strings.TrimSpace(must(t, with(all, "start", "42", "-o", "name")...))
	done := s.Publish(t, "42", "alice")
	watch := begin(t, with(reader, "watch", "42")...)
	watch.stdout.wait(t, "42")
	watch.interrupt()
	done()
	must(t, with(all, "stop", name, "--wait")...)
	if got := must(t, with(reader, "list", "--room", "42", "-o", "name")...); !strings.Contains(got, name) {
		t.Errorf("listed is %s", got)
	}
	if got := must(t, with(reader, "download", name, "-d", t.TempDir())...); !strings.Contains(got, "alice.mkv") {
		t.Errorf("downloaded is %s", got)
	}

	unknown := filepath.Join(t.TempDir(), "token")
	write(t, unknown, "crt_unknown_secret")
	admin("revoke", "all")
	for what, tc := range map[string]struct {
		args []string
		exit int
		says string
	}{
		"none":      {[]string{"get", name, "--server", s.GRPC()}, exitPermission, "CREDENTIALS_MISSING"},
		"unknown":   {with(unknown, "get", name), exitPermission, "CREDENTIALS_INVALID"},
		"no scope":  {with(reader, "stop", name), exitPermission, "SCOPE_MISSING"},
		"no scope ": {with(reader, "start", "43"), exitPermission, "SCOPE_MISSING"},
	} {
		out := command(clienttest.Context(t), tc.args...)
		if out.exit != tc.exit || !strings.Contains(out.stderr, tc.says) || strings.Contains(out.stderr+out.stdout, "secret") {
			t.Errorf("%s: %+v", what, out)
		}
	}
	// A server takes notice of a revoked token within a second.
	ctx := clienttest.Context(t)
	for {
		out := command(ctx, with(all, "get", name)...)
		if out.exit == exitPermission && strings.Contains(out.stderr, "CREDENTIALS_REVOKED") {
			break
		}
		if out.exit != 0 || ctx.Err() != nil {
			t.Fatalf("revoked: %+v", out)
		}
	}
}
