// SPDX-License-Identifier: Apache-2.0

package engineio

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/gorilla/websocket"
)

// clientSocket is the client's end of a WebSocket, by the WebSocket library.
type clientSocket struct {
	ws           *websocket.Conn
	conn         *Conn
	writeTimeout time.Duration
}

func newClientSocket(ws *websocket.Conn, c *Conn) *clientSocket {
	s := &clientSocket{ws: ws, conn: c, writeTimeout: c.env.writeTimeout}
	ws.SetReadLimit(c.env.maxMessageBytes)
	ws.SetCloseHandler(func(code int, text string) error {
		c.closeReceived(&CloseError{Code: code, Reason: text})
		return nil
	})
	ws.SetPingHandler(func(data string) error {
		c.heard()
		return s.writeControl(websocket.PongMessage, []byte(data))
	})
	return s
}

func (s *clientSocket) netConn() net.Conn     { return s.ws.NetConn() }
func (s *clientSocket) frame(f *Frame) []byte { return f.text() }

func (s *clientSocket) read(handle func([]byte) error) error {
	var message bytes.Buffer
	for {
		kind, r, err := s.ws.NextReader()
		if err != nil {
			return s.readError(err)
		}
		if kind != websocket.TextMessage {
			return ErrBinary
		}
		message.Reset()
		if _, err := message.ReadFrom(r); err != nil {
			return s.readError(err)
		}
		if err := s.conn.receive(message.Bytes(), handle); err != nil {
			return err
		}
		if message.Cap() > keepBufferBytes {
			message = bytes.Buffer{}
		}
	}
}

// keepBufferBytes is the size up to which a read buffer is used again.
const keepBufferBytes = 4 << 10

// readError turns an error of the WebSocket library into one of ours.
func (s *clientSocket) readError(err error) error {
	var ce *websocket.CloseError
	switch {
	case errors.As(err, &ce):
		return &readError{&CloseError{Code: ce.Code, Reason: ce.Text}}
	case errors.Is(err, websocket.ErrReadLimit):
		return &readError{fmt.Errorf("%w: over %d bytes", ErrMessageTooBig, s.conn.env.maxMessageBytes)}
	default:
		return &readError{err}
	}
}

func (s *clientSocket) write(batch [][]byte) error {
	for _, text := range batch {
		if err := s.ws.SetWriteDeadline(time.Now().Add(s.writeTimeout)); err != nil {
			return err
		}
		if err := s.ws.WriteMessage(websocket.TextMessage, text); err != nil {
			return slow(err)
		}
	}
	return nil
}

func (s *clientSocket) writeClose(body []byte) error {
	return s.writeControl(websocket.CloseMessage, body)
}

func (s *clientSocket) writeControl(kind int, data []byte) error {
	return slow(s.ws.WriteControl(kind, data, time.Now().Add(s.writeTimeout)))
}

// slow names the error of a write that the peer let time out.
func slow(err error) error {
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return fmt.Errorf("%w: %w", ErrSlowPeer, err)
	}
	return err
}
