// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/classrec/classrec/server"
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
