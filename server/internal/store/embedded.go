// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// startTimeout bounds how long the server may take to accept connections
	// once it has recovered its files.
	startTimeout = 10 * time.Second
	// maxMemory bounds JetStream's streams and consumers in memory; the store
	// has only small consumers there.
	maxMemory = 64 << 20
	// noStoreLimit leaves the bound to the disk. The server's own default, a
	// share of what is free when it starts, would refuse writes after a
	// restart on a disk that the log itself has filled.
	noStoreLimit = 1 << 50
)

// embedded is a NATS server within the process. It opens no port.
type embedded struct {
	server       *server.Server
	lock         *os.File
	maxStore     int64
	syncInterval time.Duration // 0: each write
}

func startEmbedded(cfg Config) (*embedded, error) {
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	maxStore := cfg.MaxBytes
	if maxStore <= 0 {
		maxStore = noStoreLimit
	}
	log := &serverLog{log: cfg.Logger}
	srv, err := server.NewServer(&server.Options{
		ServerName:             "classrec",
		DontListen:             true,
		JetStream:              true,
		StoreDir:               cfg.Dir,
		SyncAlways:             cfg.SyncInterval <= 0,
		SyncInterval:           max(cfg.SyncInterval, 0),
		JetStreamMaxMemory:     maxMemory,
		JetStreamMaxStore:      maxStore,
		MaxPayload:             maxRecordBytes + 64<<10,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
	})
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	e := &embedded{server: srv, lock: lock, maxStore: maxStore, syncInterval: max(cfg.SyncInterval, 0)}
	srv.SetLoggerV2(log, false, false, false)
	srv.Start()
	if log.lastFatal() != "" || !srv.ReadyForConnections(startTimeout) || !srv.JetStreamEnabled() {
		_ = e.close()
		return nil, fmt.Errorf("%w: the embedded server did not start in %s: %s",
			ErrUnavailable, cfg.Dir, cmp.Or(log.lastFatal(), "no reason given"))
	}
	return e, nil
}

// health returns why the log cannot be written, if so. After an error of the
// disk the server answers no write any more, not even with a refusal.
func (e *embedded) health() error {
	h := e.server.Healthz(&server.HealthzOptions{Account: server.DEFAULT_GLOBAL_ACCOUNT, Stream: streamName})
	if h.Error == "" {
		return nil
	}
	return errors.New(h.Error)
}

// restart closes the server's files and recovers them again, which is what
// makes it write again after an error of the disk. What it had not synced is
// gone then.
func (e *embedded) restart() error {
	if err := e.server.ShutdownJetStream(); err != nil {
		return err
	}
	return e.server.EnableJetStream(&server.JetStreamConfig{
		StoreDir:     filepath.Dir(e.lock.Name()),
		SyncAlways:   e.syncInterval == 0,
		SyncInterval: e.syncInterval,
		MaxMemory:    maxMemory,
		MaxStore:     e.maxStore,
		Strict:       true,
	})
}

// close stops the server, waits for it, and gives the directory up.
func (e *embedded) close() error {
	e.server.Shutdown()
	e.server.WaitForShutdown()
	return e.lock.Close()
}

// serverLog passes the server's log on, one level down: what it notices, we
// need only for debugging.
type serverLog struct {
	log   *slog.Logger
	mu    sync.Mutex
	fatal string
}

func (l *serverLog) Noticef(format string, v ...any) { l.log.Debug(l.text(format, v)) }
func (l *serverLog) Debugf(format string, v ...any)  { l.log.Debug(l.text(format, v)) }
func (l *serverLog) Tracef(format string, v ...any)  { l.log.Debug(l.text(format, v)) }
func (l *serverLog) Warnf(format string, v ...any)   { l.log.Warn(l.text(format, v)) }
func (l *serverLog) Errorf(format string, v ...any)  { l.log.Error(l.text(format, v)) }

func (l *serverLog) Fatalf(format string, v ...any) {
	text := l.text(format, v)
	l.mu.Lock()
	l.fatal = text
	l.mu.Unlock()
	l.log.Error(text)
}

func (l *serverLog) text(format string, v []any) string {
	return "nats: " + fmt.Sprintf(format, v...)
}

// lastFatal is why the server does not work, if it has said so.
func (l *serverLog) lastFatal() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}
