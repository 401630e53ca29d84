// SPDX-License-Identifier: Apache-2.0

package engineio

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// DialConfig says whom to dial and how. URL is required, the zero value of the rest is ready for use.
type DialConfig struct {
	URL              string   // http, https, ws or wss; the path is taken as it is, the query is completed
	Revision         Revision // 3
	TLSClientConfig  *tls.Config
	NetDialContext   func(ctx context.Context, network, addr string) (net.Conn, error) // nil = net
	Header           http.Header
	MaxMessageBytes  int64         // 4 MiB; a larger message closes the connection
	SendQueueBytes   int           // 1 MiB; what may wait to be sent
	WriteTimeout     time.Duration // 5 s; for one write
	HandshakeTimeout time.Duration // 10 s; from dialing to the open packet, if ctx does not end earlier
}

// DefaultClientMaxMessageBytes is how much a client takes in one message; servers send long lists.
const DefaultClientMaxMessageBytes = 4 << 20

func (cfg DialConfig) withDefaults() DialConfig {
	if cfg.Revision == 0 {
		cfg.Revision = Revision3
	}
	defaultTo(&cfg.MaxMessageBytes, DefaultClientMaxMessageBytes)
	defaultTo(&cfg.SendQueueBytes, DefaultSendQueueBytes)
	defaultTo(&cfg.WriteTimeout, DefaultWriteTimeout)
	defaultTo(&cfg.HandshakeTimeout, DefaultHandshakeTimeout)
	return cfg
}

// address is the URL to dial.
func (cfg DialConfig) address() (string, error) {
	if !cfg.Revision.Valid() {
		return "", fmt.Errorf("revision %d is not spoken", int(cfg.Revision))
	}
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return "", fmt.Errorf("parse URL: %w", err)
	}
	switch u.Scheme {
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	case "ws", "wss":
	default:
		return "", fmt.Errorf("URL scheme %q is not one of http, https, ws, wss", u.Scheme)
	}
	q := u.Query()
	q.Set("EIO", strconv.Itoa(int(cfg.Revision)))
	q.Set("transport", "websocket")
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// Dial connects and reads the open packet. The caller has to call [Conn.Serve], also to end a connection that it does not want.
// A server that refuses the handshake gives a [ResponseError]. ctx bounds Dial only.
func Dial(ctx context.Context, cfg DialConfig) (*Conn, error) {
	cfg = cfg.withDefaults()
	address, err := cfg.address()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.HandshakeTimeout)
	defer cancel()
	e := &env{
		epoch:           time.Now(),
		maxMessageBytes: cfg.MaxMessageBytes,
		sendQueueBytes:  cfg.SendQueueBytes,
		writeTimeout:    cfg.WriteTimeout,
		ping:            newFrame(PacketPing, nil),
	}
	dialer := websocket.Dialer{
		NetDialContext:  cfg.NetDialContext,
		TLSClientConfig: cfg.TLSClientConfig,
		ReadBufferSize:  readBufferBytes,
		WriteBufferSize: readBufferBytes,
		WriteBufferPool: &e.upgrades,
	}
	ws, response, err := dialer.DialContext(ctx, address, cfg.Header) //nolint:bodyclose // the library says it need not be
	if err != nil {
		if errors.Is(err, websocket.ErrBadHandshake) && response != nil {
			err = &ResponseError{Status: response.StatusCode}
		}
		return nil, fmt.Errorf("dial: %w", withCause(ctx, err))
	}
	ws.SetReadLimit(cfg.MaxMessageBytes)
	h, err := readOpen(ctx, ws)
	if err != nil {
		_ = ws.Close()
		return nil, fmt.Errorf("wait for the open packet: %w", withCause(ctx, err))
	}
	e.pingInterval, e.pingTimeout = h.PingInterval, h.PingTimeout
	c := newConn(e, h.SID, cfg.Revision)
	c.socket = newClientSocket(ws, c)
	c.client = &clientBeat{conn: c}
	return c, nil
}

// readOpen reads the first packet. It leaves the connection unusable when ctx ends meanwhile.
func readOpen(ctx context.Context, ws *websocket.Conn) (Handshake, error) {
	stop := context.AfterFunc(ctx, func() { _ = ws.NetConn().Close() })
	defer stop()
	kind, r, err := ws.NextReader()
	if err != nil {
		return Handshake{}, err
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return Handshake{}, err
	}
	if kind != websocket.TextMessage {
		return Handshake{}, ErrBinary
	}
	p, err := ParsePacket(text)
	if err != nil {
		return Handshake{}, err
	}
	if p.Type != PacketOpen {
		return Handshake{}, fmt.Errorf("%w: the first packet has type %q", ErrMalformed, byte(p.Type))
	}
	if !stop() {
		return Handshake{}, ctx.Err()
	}
	return ParseHandshake(p.Data)
}

// withCause makes visible that it was ctx that ended the operation.
func withCause(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}
