// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// tlsCheckEvery is how often the files are looked at, at most.
const tlsCheckEvery = time.Second

// tlsFiles is TLS from files, which are read again when they change. A change
// that makes no sense leaves all as it was.
type tlsFiles struct {
	cert, key, clientCA string
	flags               string // those that cert and key are from
	log                 *slog.Logger

	mu      sync.Mutex
	looked  time.Time
	stamps  [3]fileStamp
	current *tls.Config
}

type fileStamp struct {
	modified time.Time
	size     int64
}

// openTLS reads the files; nil where there are none.
func openTLS(cfg Config) (*tlsFiles, error) {
	if cfg.TLSCertFile == "" {
		return nil, nil
	}
	t := &tlsFiles{
		cert: cfg.TLSCertFile, key: cfg.TLSKeyFile, clientCA: cfg.TLSClientCAFile,
		flags: "--tls-cert-file, --tls-key-file", log: cfg.Logger.With("part", "TLS"),
	}
	return t, t.load()
}

// openRoomTLS reads those of the embedded platform, and makes them where there are
// none.
func openRoomTLS(cfg Config, now time.Time) (*tlsFiles, error) {
	if err := roomCertificate(cfg, now); err != nil {
		return nil, err
	}
	t := &tlsFiles{
		cert: cmp.Or(cfg.RoomCertFile, cfg.path(roomCertName)), key: cmp.Or(cfg.RoomKeyFile, cfg.path(roomKeyName)),
		flags: "--room-cert-file, --room-key-file", log: cfg.Logger.With("part", "TLS"),
	}
	return t, t.load()
}

// load reads the files if one of them has changed.
func (t *tlsFiles) load() error {
	t.looked = time.Now()
	var stamps [3]fileStamp
	for i, file := range []string{t.cert, t.key, t.clientCA} {
		if file == "" {
			continue
		}
		info, err := os.Stat(file)
		if err != nil {
			return fmt.Errorf("%s: %w", [...]string{t.flags, t.flags, "--tls-client-ca-file"}[i], err)
		}
		stamps[i] = fileStamp{info.ModTime(), info.Size()}
	}
	if t.current != nil && stamps == t.stamps {
		return nil
	}
	t.stamps = stamps // what is wrong now is told once
	pair, err := tls.LoadX509KeyPair(t.cert, t.key)
	if err != nil {
		return fmt.Errorf("%s: %w", t.flags, err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if t.clientCA != "" {
		text, err := os.ReadFile(t.clientCA)
		if err != nil {
			return fmt.Errorf("--tls-client-ca-file: %w", err)
		}
		cfg.ClientCAs = x509.NewCertPool()
		if !cfg.ClientCAs.AppendCertsFromPEM(text) {
			return errors.New("--tls-client-ca-file: has no PEM certificate")
		}
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
	}
	t.current = cfg
	return nil
}

// config is for a listener of these protocols (ALPN).
func (t *tlsFiles) config(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			now := t.now().Clone()
			now.NextProtos = protocols
			return now, nil
		},
	}
}

func (t *tlsFiles) now() *tls.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.looked) >= tlsCheckEvery {
		if err := t.load(); err != nil {
			t.log.Error("the files of TLS cannot be read; what was read before stays", "error", err)
		}
	}
	return t.current
}

// reload reads the files now, whether or not they have changed; what cannot be
// read leaves what was read before.
func (t *tlsFiles) reload() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stamps = [3]fileStamp{}
	if err := t.load(); err != nil {
		t.log.Error("the files of TLS cannot be read; what was read before stays", "error", err)
	}
}

// grpc are the credentials of gRPC servers; nil for plain text.
func (t *tlsFiles) grpc() credentials.TransportCredentials {
	if t == nil {
		return nil
	}
	return credentials.NewTLS(t.config("h2"))
}

// listener secures l for HTTP; in plain text it is l.
func (t *tlsFiles) listener(l net.Listener) net.Listener {
	if t == nil {
		return l
	}
	return tls.NewListener(l, t.config("http/1.1")) // WebSocket needs it
}
