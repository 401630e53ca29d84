// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/apitest"
)

// The files of TLS are read again when they change, a change for the worse does
// not count, and what is older than TLS 1.2 is refused at every door.
func TestTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.server(t)
	cfg := apitest.Config(t.TempDir())
	cfg.AdminListen = "127.0.0.1:0"
	cfg.TLSCertFile, cfg.TLSKeyFile = ca.file("server.pem"), ca.file("server.key")
	s := newSecured(t, cfg)
	shown := func(address string, change func(*tls.Config)) (*x509.Certificate, error) {
		trust := ca.trust(nil)
		change(trust)
		conn, err := tls.Dial("tcp", address, trust)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0], nil
	}
	asIs := func(*tls.Config) {}
	for name, address := range map[string]string{
		"gRPC": s.GRPCAddr().String(), "admin": s.AdminAddr().String(), "HTTP": s.HTTPAddr().String(), "rooms": s.RoomAddr().String(),
	} {
		protocols := func(c *tls.Config) { c.InsecureSkipVerify, c.NextProtos = true, []string{"h2", "http/1.1"} }
		if _, err := shown(address, protocols); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		old := func(c *tls.Config) { protocols(c); c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }
		if _, err := shown(address, old); err == nil {
			t.Errorf("%s takes TLS 1.1", name)
		}
	}
	before, err := shown(s.HTTPAddr().String(), asIs)
	if err != nil {
		t.Fatal(err)
	}
	ca.server(t)
	later := time.Now().Add(time.Second) // so that the files differ by their time also where that is coarse
	for _, name := range []string{"server.pem", "server.key"} {
		if err := os.Chtimes(ca.file(name), later, later); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the new certificate", func() bool {
		now, err := shown(s.HTTPAddr().String(), asIs)
		return err == nil && now.SerialNumber.Cmp(before.SerialNumber) != 0
	})
	mustWrite(t, ca.file("server.pem"), "no certificate")
	for deadline := time.Now().Add(1500 * time.Millisecond); time.Now().Before(deadline); { // it is looked at once a second
		if _, err := shown(s.HTTPAddr().String(), asIs); err != nil {
			t.Fatalf("with a broken file: %v", err)
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
