// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
)

func mustCertificate(t *testing.T, cfg server.Config, now time.Time) tls.Certificate {
	t.Helper()
	cert, err := server.Certificate(cfg, now)
	if err != nil {
		t.Fatal(err)
	}
	if cert.Leaf == nil {
		t.Fatal("no certificate")
	}
	return cert
}

func TestCertificate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	cfg := server.Config{DataDir: t.TempDir(), RoomListen: "0.0.0.0:8443"}
	made := mustCertificate(t, cfg, now)
	if _, ok := made.Leaf.PublicKey.(*ecdsa.PublicKey); !ok {
		t.Errorf("the key is %T", made.Leaf.PublicKey)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "::1"} {
		if err := made.Leaf.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	same := func(a, b tls.Certificate) bool { return bytes.Equal(a.Leaf.Raw, b.Leaf.Raw) }
	if !same(made, mustCertificate(t, cfg, now)) {
		t.Error("it was not kept")
	}

	// One that has run out, or is for other hosts, is replaced.
	later := mustCertificate(t, cfg, made.Leaf.NotAfter)
	if same(made, later) {
		t.Error("kept beyond its time")
	}
	cfg.RoomListen = "192.0.2.7:8443"
	other := mustCertificate(t, cfg, made.Leaf.NotAfter)
	if err := other.Leaf.VerifyHostname("192.0.2.7"); err != nil {
		t.Error(err)
	}

	// Half of it is made anew; garbage is somebody's mistake.
	if err := os.Remove(filepath.Join(cfg.DataDir, "room.key")); err != nil {
		t.Fatal(err)
	}
	mustCertificate(t, cfg, now)
	if err := os.WriteFile(filepath.Join(cfg.DataDir, "room.key"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Certificate(cfg, now); err == nil {
		t.Error("garbage was taken")
	}
}

// A key that is missing or empty beside what was made with it is not made anew:
// that would lose what it has sealed, silently.
func TestKeys_Lost(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"seal.key", "enterprise.key"} {
		for _, how := range []string{"missing", "empty"} {
			t.Run(key+" "+how, func(t *testing.T) {
				t.Parallel()
				s := apitest.New(t)
				s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"42"}`})
				s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"room":"42"}`})
				s.Stop()
				path := filepath.Join(s.Dir(), key)
				kept, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if how == "missing" {
					err = os.Remove(path)
				} else {
					err = os.WriteFile(path, nil, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err := server.New(t.Context(), apitest.Config(s.Dir())); err == nil || !strings.Contains(err.Error(), key) {
					t.Errorf("it starts, with %v", err)
				}
				if err := os.WriteFile(path, kept, 0o600); err != nil {
					t.Fatal(err)
				}
				s.Start() // with the key it is as before
			})
		}
	}
}
