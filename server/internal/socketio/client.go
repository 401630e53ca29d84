// SPDX-License-Identifier: Apache-2.0

package socketio

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/classrec/classrec/server/internal/engineio"
)

// DialConfig says whom to dial and how. URL is required, the zero value of the rest is ready for use.
type DialConfig struct {
	URL             string // http, https, ws or wss with host and port; the path is /socket.io/ unless the URL has one
	Revision        int    // Engine.IO revision, 3 (the default) or 4
	TLSClientConfig *tls.Config
	NetDialContext  func(ctx context.Context, network, addr string) (net.Conn, error) // nil = net
	Header          http.Header
	MaxMessageBytes int64         // 4 MiB; a larger message ends the connection
	SendQueueBytes  int           // 1 MiB; what may wait to be sent; full = ended with ErrSlowPeer
	EventQueue      int           // 256 events that nobody has taken yet; full = ended with ErrEventQueueFull
	WriteTimeout    time.Duration // 5 s; for one write
	// HandshakeTimeout is how long Dial may take, if ctx does not end earlier: 10 s.
	HandshakeTimeout time.Duration
	Logger           *slog.Logger // nil = none
}

const defaultEventQueue = 256

// Client is the client's end of one connection. It does not connect again. Its methods may be called from any goroutine.
// Who has dialed has to call [Client.Close], also when the connection has ended by itself.
type Client struct {
	eng       *engineio.Conn
	logger    *slog.Logger
	calls     calls
	events    chan Event
	done      chan struct{} // closed, after events, when the connection has ended
	connected chan struct{} // closed when the namespace is connected
	join      sync.Once     // closes connected
}

// Dial connects to the server and to its root namespace. ctx bounds Dial only, not the connection. A server that refuses gives a
// [ResponseError] or a [RefusedError].
func Dial(ctx context.Context, cfg DialConfig) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("parse URL: %w", err)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/socket.io/"
	}
	if cfg.EventQueue <= 0 {
		cfg.EventQueue = defaultEventQueue
	}
	if cfg.HandshakeTimeout <= 0 {
		cfg.HandshakeTimeout = engineio.DefaultHandshakeTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.HandshakeTimeout)
	defer cancel()
	eng, err := engineio.Dial(ctx, engineio.DialConfig{
		URL:              u.String(),
		Revision:         engineio.Revision(cfg.Revision),
		TLSClientConfig:  cfg.TLSClientConfig,
		NetDialContext:   cfg.NetDialContext,
		Header:           cfg.Header,
		MaxMessageBytes:  cfg.MaxMessageBytes,
		SendQueueBytes:   cfg.SendQueueBytes,
		WriteTimeout:     cfg.WriteTimeout,
		HandshakeTimeout: cfg.HandshakeTimeout,
	})
	if err != nil {
		return nil, err
	}
	c := &Client{
		eng:       eng,
		logger:    cfg.Logger,
		events:    make(chan Event, cfg.EventQueue),
		done:      make(chan struct{}),
		connected: make(chan struct{}),
	}
	if eng.Revision() == engineio.Revision4 {
		_ = eng.Send(packetFrame(Packet{Type: PacketConnect, Namespace: RootNamespace})) // if it fails, so does serve
	}
	go c.serve()
	select {
	case <-c.connected:
		return c, nil
	case <-c.done:
		return nil, fmt.Errorf("connect: %w", c.Err())
	case <-ctx.Done():
		eng.Cut(ctx.Err())
		<-c.done
		return nil, fmt.Errorf("connect: %w", ctx.Err())
	}
}

// ID is the session id that the server gave the connection.
func (c *Client) ID() string { return c.eng.ID() }

// Emit queues an event, in the order of the calls. nil says that it was queued, not that it arrived. On a connection that has ended the
// error is what [Client.Err] returns. It does not block: when the server does not read and the queue is full, the connection
// ends with [ErrSlowPeer]. ctx is only looked at before.
func (c *Client) Emit(ctx context.Context, name string, args ...any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := NewFrame(name, args...)
	if err != nil {
		return err
	}
	return c.eng.Send(f.frame)
}

// Call emits an event and waits for the server's acknowledgement, until ctx or the connection ends. When ctx ends first it is unknown
// whether the server got the event.
func (c *Client) Call(ctx context.Context, name string, args ...any) ([]json.RawMessage, error) {
	return c.calls.call(ctx, c.eng, name, args)
}

// Events are the server's events, in order. The client closes the channel when the connection has ended; events that came before
// can still be taken, and Err tells why it ended.
func (c *Client) Events() <-chan Event { return c.events }

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err tells why the connection ended or is ending, nil while it is open: [ErrDisconnected], [ErrPingTimeout], [ErrEventQueueFull],
// [ErrSlowPeer], [ErrClosed] after Close, a [CloseError] and so on.
func (c *Client) Err() error { return c.eng.Err() }

// Close sends what is queued, a disconnect packet and a close frame, and waits until the connection has ended: at most the write timeout
// and a second. It always returns nil, also when the connection has ended before.
func (c *Client) Close() error {
	_ = c.eng.Send(packetFrame(Packet{Type: PacketDisconnect, Namespace: RootNamespace})) // fails only if already ending
	c.eng.Close(ErrClosed, closeNormal, "")
	<-c.done
	return nil
}

func (c *Client) serve() {
	err := c.eng.Serve(c.receive)
	c.logger.Debug("connection ended", "id", c.eng.ID(), "reason", err)
	c.calls.fail(err)
	close(c.events)
	close(c.done)
}

func (c *Client) receive(message []byte) error {
	p, err := ParsePacket(message)
	if err != nil {
		return err
	}
	if p.Namespace != RootNamespace {
		return nil // never asked for
	}
	switch p.Type {
	case PacketConnect:
		c.join.Do(func() { close(c.connected) })
	case PacketError:
		c.eng.Close(refusal(p.Data), closeNormal, "")
	case PacketDisconnect:
		c.eng.Close(ErrDisconnected, closeNormal, "")
	case PacketEvent:
		ev, err := newEvent(c.eng, p)
		if err != nil {
			return err
		}
		select {
		case c.events <- ev:
		default:
			return ErrEventQueueFull
		}
	case PacketAck:
		reply, err := splitArray(p.Data)
		if err != nil {
			return err
		}
		c.calls.answered(p.ID, reply)
	case PacketBinaryEvent, PacketBinaryAck:
		return errUnexpected
	}
	return nil
}

// refusal decodes the data of an error packet: a string in protocol 4, an object with a message in protocol 5.
func refusal(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		return &RefusedError{Message: text}
	}
	var object struct {
		Message string `json:"message"`
	}
	if err := json.Unmarshal(data, &object); err != nil {
		return errors.Join(&RefusedError{}, err)
	}
	return &RefusedError{Message: object.Message}
}
