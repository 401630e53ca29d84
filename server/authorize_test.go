// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/auth"
)

// newToken makes a token in the file of a data directory.
func newToken(t *testing.T, dir string, token auth.Token) (auth.Token, string) {
	t.Helper()
	made, secret, err := auth.TokenFile{Path: dir + "/tokens.json"}.Create(token, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return made, secret
}

// A server does not listen to the network without asking who is there, and says
// what to set.
func TestNew_RefusesToBeOpen(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*server.Config)
		flag   string // "": it is taken
	}{
		"gRPC everywhere":        {func(c *server.Config) { c.GRPCListen = ":0" }, "--grpc-listen"},
		"gRPC everywhere, IPv4":  {func(c *server.Config) { c.GRPCListen = "0.0.0.0:0" }, "--grpc-listen"},
		"HTTP everywhere":        {func(c *server.Config) { c.HTTPListen = "[::]:0" }, "--http-listen"},
		"admin everywhere":       {func(c *server.Config) { c.AdminListen = ":0" }, "--admin-listen"},
		"a name":                 {func(c *server.Config) { c.GRPCListen = "classrec.example:0" }, "--grpc-listen"},
		"rooms everywhere":       {func(c *server.Config) { c.RoomListen = ":0" }, "--room-listen"},
		"rooms, http everywhere": {func(c *server.Config) { c.RoomHTTPListen = ":0" }, "--room-http-listen"},
		"localhost":              {func(c *server.Config) { c.GRPCListen = "localhost:0" }, ""},
		"on purpose":             {func(c *server.Config) { c.GRPCListen, c.RoomListen, c.InsecureNoAuth = ":0", ":0", true }, ""},
		"with tokens":            {func(c *server.Config) { c.GRPCListen = ":0"; c.TokensFile = c.DataDir + "/other.json" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := anywhere(t.TempDir())
			tc.change(&cfg)
			s, err := server.New(t.Context(), cfg)
			if err == nil {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			switch {
			case tc.flag == "" && err != nil:
				t.Error(err)
			case tc.flag != "" && err == nil:
				t.Error("it listens")
			case tc.flag != "" && (!strings.Contains(err.Error(), tc.flag) || !strings.Contains(err.Error(), "--insecure-no-auth")):
				t.Errorf("does not say what to set: %v", err)
			}
		})
	}
}

// A token that is made while a server runs is taken, one that is revoked is
// refused, and what it has opened ends.
func TestTokens_WhileRunning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRunning(t, anywhere(dir))
	if _, err := r.api.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: "42"}); err != nil {
		t.Fatalf("without authentication: %v", err)
	}
	_, secret := newToken(t, dir, auth.Token{Name: "ci", Scopes: []auth.Scope{auth.ScopeWatch, auth.ScopeList}})
	list := &classrecv1.ListRecordingsRequest{Room: "42"}
	eventually(t, "authentication to be asked for", func() bool {
		_, err := r.api.ListRecordings(t.Context(), list)
		return status.Code(err) == codes.Unauthenticated
	})
	api, err := client.Dial(r.GRPCAddr().String(), client.Config{Token: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	if _, err := api.ListRecordings(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	stream, err := api.WatchClassBegin(t.Context(), &classrecv1.WatchClassBeginRequest{Room: "-"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if _, err := (auth.TokenFile{Path: dir + "/tokens.json"}).Revoke("ci", time.Now()); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err = stream.Recv(); err != nil {
			break
		}
	}
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("the watch of a revoked token ended with %v", err)
	}
	if _, err := api.ListRecordings(t.Context(), list); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a revoked token: %v", err)
	}
}

// eventually polls until done, for at most half a minute.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(30 * time.Second); !done(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
