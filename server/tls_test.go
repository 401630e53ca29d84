// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/apitest"
)

// The files of TLS are read again when they change, at every door, a change for
// the worse does not count, and what is older than TLS 1.2 is refused.
func TestTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.server(t)
	rooms := newAuthority(t)
	rooms.server(t)
	cfg := apitest.Config(t.TempDir())
	cfg.AdminListen = "127.0.0.1:0"
	cfg.TLSCertFile, cfg.TLSKeyFile = ca.file("server.pem"), ca.file("server.key")
	cfg.RoomCertFile, cfg.RoomKeyFile = rooms.file("server.pem"), rooms.file("server.key")
	s := newSecured(t, cfg)
	shown := func(ca *authority, address string, change func(*tls.Config)) (*x509.Certificate, error) {
		trust := ca.trust(nil)
		change(trust)
		conn, err := tls.Dial("tcp", address, trust)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0], nil
	}
	type door struct {
		name, address string
		ca            *authority
		protocol      string
	}
	doors := []door{
		{"gRPC", s.GRPCAddr().String(), ca, "h2"},
		{"admin", s.AdminAddr().String(), ca, "h2"},
		{"HTTP", s.HTTPAddr().String(), ca, "http/1.1"},
		{"rooms", s.RoomAddr().String(), rooms, "http/1.1"},
	}
	before := map[string]*x509.Certificate{}
	for _, d := range doors {
		speaks := func(c *tls.Config) { c.NextProtos = []string{d.protocol} }
		cert, err := shown(d.ca, d.address, speaks)
		if err != nil {
			t.Fatalf("%s: %v", d.name, err)
		}
		before[d.name] = cert
		old := func(c *tls.Config) { speaks(c); c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }
		if _, err := shown(d.ca, d.address, old); err == nil {
			t.Errorf("%s takes TLS 1.1", d.name)
		}
	}
	for _, ca := range []*authority{ca, rooms} {
		ca.server(t)
		touch(t, ca.file("server.pem"), ca.file("server.key"))
	}
	for _, d := range doors {
		speaks := func(c *tls.Config) { c.NextProtos = []string{d.protocol} }
		eventually(t, "the new certificate of "+d.name, func() bool {
			now, err := shown(d.ca, d.address, speaks)
			return err == nil && now.SerialNumber.Cmp(before[d.name].SerialNumber) != 0
		})
	}
	mustWrite(t, ca.file("server.pem"), "no certificate")
	mustWrite(t, rooms.file("server.key"), "no key")
	for deadline := time.Now().Add(1500 * time.Millisecond); time.Now().Before(deadline); { // they are looked at once a second
		for _, d := range doors {
			if _, err := shown(d.ca, d.address, func(c *tls.Config) { c.NextProtos = []string{d.protocol} }); err != nil {
				t.Fatalf("%s with a broken file: %v", d.name, err)
			}
		}
	}
}

// touch has files differ by their time from what they were, also where that is
// coarse.
func touch(t *testing.T, files ...string) {
	t.Helper()
	later := time.Now().Add(time.Second)
	for _, file := range files {
		if err := os.Chtimes(file, later, later); err != nil {
			t.Fatal(err)
		}
	}
}

// An authority that is taken out of the file counts no more for new connections,
// also where a session is resumed that it was good for; the others stay.
func TestTLS_ClientCARemoved(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	ours.server(t)
	for _, ca := range []*authority{ours, theirs} {
		ca.issue(t, "me", &x509.Certificate{DNSNames: []string{"me.example"}})
	}
	dir := t.TempDir()
	bundle := filepath.Join(dir, "clients.pem")
	read := func(ca *authority) string {
		text, err := os.ReadFile(ca.file("ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	mustWrite(t, bundle, read(ours)+read(theirs))
	cfg := apitest.Config(dir)
	cfg.AuthFile = filepath.Join(dir, "auth.yaml")
	mustWrite(t, cfg.AuthFile, "certificates:\n  - {name: me.example, scopes: [list]}\n")
	cfg.TLSCertFile, cfg.TLSKeyFile, cfg.TLSClientCAFile = ours.file("server.pem"), ours.file("server.key"), bundle
	s := newSecured(t, cfg)
	sessions := map[*authority]tls.ClientSessionCache{ours: tls.NewLRUClientSessionCache(8), theirs: tls.NewLRUClientSessionCache(8)}
	// Each call makes a connection of its own.
	overHTTP := func(ca *authority, version uint16, resumes bool) (taken bool) {
		trust := ours.trust(ca.pair(t, "me"))
		if trust.MaxVersion = version; resumes {
			trust.ClientSessionCache = sessions[ca]
		}
		transport := &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.HTTPAddr().String()+"/v1/rooms/42/recordings", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return false
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
	overGRPC := func(ca *authority, version uint16, resumes bool) (taken bool) {
		trust := ours.trust(ca.pair(t, "me"))
		if trust.MaxVersion = version; resumes {
			trust.ClientSessionCache = sessions[ca]
		}
		conn, err := grpc.NewClient(s.GRPCAddr().String(), grpc.WithTransportCredentials(credentials.NewTLS(trust)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = classrecv1.NewRecordingServiceClient(conn).ListRecordings(apitest.Context(t), &classrecv1.ListRecordingsRequest{Room: "42"})
		return err == nil
	}
	ways := map[string]func(*authority, uint16, bool) bool{"HTTP": overHTTP, "gRPC": overGRPC}
	versions := map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}
	for way, call := range ways {
		for name, version := range versions {
			for range 2 { // the second time a session is resumed
				if !call(ours, version, true) || !call(theirs, version, true) {
					t.Fatalf("%s, %s: not taken", way, name)
				}
			}
		}
	}
	mustWrite(t, bundle, read(ours))
	touch(t, bundle)
	eventually(t, "their authority to count no more", func() bool { return !overGRPC(theirs, 0, false) })
	for way, call := range ways {
		for name, version := range versions {
			for _, resumes := range []bool{false, true} {
				if call(theirs, version, resumes) {
					t.Errorf("%s, %s, resumed: %v: an authority that was removed is good", way, name, resumes)
				}
				if !call(ours, version, resumes) {
					t.Errorf("%s, %s, resumed: %v: the one that stays is not", way, name, resumes)
				}
			}
		}
	}
}

// The client library shows its certificate, and is known by it.
func TestClient_MutualTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.server(t)
	ca.issue(t, "me", &x509.Certificate{DNSNames: []string{"me.example"}})
	dir := t.TempDir()
	cfg := apitest.Config(dir)
	cfg.AuthFile = filepath.Join(dir, "auth.yaml")
	mustWrite(t, cfg.AuthFile, "certificates:\n  - {name: me.example, scopes: [list]}\n")
	cfg.TLSCertFile, cfg.TLSKeyFile, cfg.TLSClientCAFile = ca.file("server.pem"), ca.file("server.key"), ca.file("ca.pem")
	s := newSecured(t, cfg)
	for name, tc := range map[string]struct {
		files client.TLSFiles
		want  codes.Code
	}{
		"mine": {client.TLSFiles{CA: ca.file("ca.pem"), Cert: ca.file("me.pem"), Key: ca.file("me.key")}, codes.OK},
		"none": {client.TLSFiles{CA: ca.file("ca.pem")}, codes.Unauthenticated},
	} {
		secured, err := client.LoadTLS(tc.files)
		if err != nil {
			t.Fatal(err)
		}
		api, err := client.Dial(s.GRPCAddr().String(), client.Config{TLS: secured})
		if err != nil {
			t.Fatal(err)
		}
		_, err = api.ListRecordings(apitest.Context(t), &classrecv1.ListRecordingsRequest{Room: "42"})
		if status.Code(err) != tc.want {
			t.Errorf("%s: %v", name, err)
		}
		api.Close()
	}
}
