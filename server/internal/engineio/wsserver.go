// SPDX-License-Identifier: Apache-2.0

package engineio

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// serverSocket is the server's end of a WebSocket, after the upgrade. The WebSocket library keeps a read buffer and a deep stack for
// every idle connection, and makes a system call for every frame; so a server reads and writes its frames itself.
//
// The goroutine that reads waits with a stack as small as goroutines begin with and with no buffer. What comes is worked off by
// a second goroutine, which lives until nothing is left to work off, while the first waits for it.
type serverSocket struct {
	nc    net.Conn
	poll  func(fd uintptr) bool
	conn  *Conn
	in    *input // what was read; nil while waiting
	first [1]byte
	work  sync.WaitGroup
	err   error // of the last work
}

func newServerSocket(nc net.Conn, c *Conn) *serverSocket {
	s := &serverSocket{nc: nc, conn: c}
	s.poll = s.readNow
	return s
}

func (s *serverSocket) netConn() net.Conn     { return s.nc }
func (s *serverSocket) frame(f *Frame) []byte { return f.wire }

func (s *serverSocket) read(handle func([]byte) error) error {
	for {
		if err := s.wait(); err != nil {
			return err
		}
		s.work.Add(1)
		go s.process(handle)
		s.work.Wait()
		if s.err != nil {
			return s.err
		}
	}
}

// wait waits until something can be read, and reads it into a new input.
func (s *serverSocket) wait() error {
	var err error
	if s.conn.raw == nil {
		_, err = io.ReadFull(s.nc, s.first[:])
		if err == nil {
			s.in = s.conn.env.input(s.nc)
			s.in.w = copy(s.in.buf[:], s.first[:])
		}
	} else {
		err = s.conn.raw.Read(s.poll)
		if err == nil {
			err = s.in.err
		}
	}
	if err != nil {
		s.release()
		return networkError(err)
	}
	return nil
}

// readNow reads into a new input without waiting; false says that there is nothing to read.
func (s *serverSocket) readNow(fd uintptr) bool {
	s.in = s.conn.env.input(s.nc)
	s.in.w, s.in.err = rawRead(fd, s.in.buf[:])
	if errors.Is(s.in.err, errWouldBlock) {
		s.release()
		return false
	}
	if s.in.w == 0 && s.in.err == nil {
		s.in.err = io.EOF
	}
	return true
}

func (s *serverSocket) release() {
	if s.in != nil {
		s.conn.env.inputs.Put(s.in)
		s.in = nil
	}
}

func (s *serverSocket) process(handle func([]byte) error) {
	defer s.work.Done()
	s.err = s.processInput(handle)
	s.release()
}

// processInput works off the input, and what it takes to complete the message that it ends in.
func (s *serverSocket) processInput(handle func([]byte) error) error {
	var message []byte // of fragments
	fragmented := false
	for s.in.buffered() > 0 || fragmented {
		h, err := s.in.header()
		if err != nil {
			return err
		}
		if h.control() {
			if err := s.control(h); err != nil {
				return err
			}
			continue
		}
		switch {
		case (h.op == opContinuation) != fragmented:
			return fmt.Errorf("%w: fragment out of order", errFraming)
		case h.op == opBinary:
			return ErrBinary
		case h.n > s.conn.env.maxMessageBytes-int64(len(message)):
			return fmt.Errorf("%w: over %d bytes", ErrMessageTooBig, s.conn.env.maxMessageBytes)
		}
		fragmented = !h.fin
		if h.fin && h.op == opText && h.n <= inputBytes {
			text, err := s.in.take(h)
			if err != nil {
				return err
			}
			if err := s.conn.receive(text, handle); err != nil {
				return err
			}
			continue
		}
		if message, err = s.in.append(message, h); err != nil {
			return err
		}
		if h.fin {
			if err := s.conn.receive(message, handle); err != nil {
				return err
			}
			message = nil
		}
	}
	return nil
}

func (s *serverSocket) control(h header) error {
	body, err := s.in.take(h)
	if err != nil {
		return err
	}
	switch h.op {
	case opPing:
		return s.conn.enqueueControl(append(appendHeader(make([]byte, 0, maxHeaderBytes+len(body)), opPong, len(body)), body...))
	case opClose:
		ce, err := parseClose(body)
		if err != nil {
			return err
		}
		s.conn.closeReceived(ce)
		return &readError{ce}
	default: // opPong, to a ping that nobody sent
		return nil
	}
}

func (s *serverSocket) write(batch [][]byte) error {
	if len(batch) == 1 {
		_, err := s.nc.Write(batch[0])
		return err
	}
	joined := s.conn.env.join(batch)
	defer s.conn.env.joined.Put(joined)
	_, err := s.nc.Write(*joined)
	return err
}

func (s *serverSocket) writeClose(body []byte) error {
	_, err := s.nc.Write(closeFrame(body))
	return err
}

func closeFrame(body []byte) []byte {
	return append(appendHeader(make([]byte, 0, maxHeaderBytes+len(body)), opClose, len(body)), body...)
}

// networkError is what reading from a network connection has failed with.
func networkError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = &CloseError{Code: codeAbnormal, Reason: "unexpected EOF"}
	}
	return &readError{err}
}

// inputBytes is how much is read at once.
const inputBytes = 4 << 10

// input is a read buffer, which a connection has only while it works on something.
type input struct {
	nc   net.Conn
	r, w int
	err  error
	buf  [inputBytes]byte
}

// input returns a buffer for a connection.
func (e *env) input(nc net.Conn) *input {
	in, ok := e.inputs.Get().(*input)
	if !ok {
		in = new(input)
	}
	in.nc, in.r, in.w, in.err = nc, 0, 0, nil
	return in
}

func (in *input) buffered() int { return in.w - in.r }

// fill reads until n bytes are buffered; n is at most inputBytes.
func (in *input) fill(n int) error {
	if in.r+n > len(in.buf) {
		in.w = copy(in.buf[:], in.buf[in.r:in.w])
		in.r = 0
	}
	for in.buffered() < n {
		got, err := in.nc.Read(in.buf[in.w:])
		in.w += got
		if err != nil && in.buffered() < n {
			return networkError(err)
		}
	}
	return nil
}

// header takes the header of the next frame.
func (in *input) header() (header, error) {
	for {
		h, n, err := parseHeader(in.buf[in.r:in.w])
		if err != nil {
			return h, err
		}
		if n > 0 {
			in.r += n
			return h, nil
		}
		if err := in.fill(in.buffered() + 1); err != nil {
			return h, err
		}
	}
}

// take takes the whole payload of a frame, which has at most inputBytes. It is valid until the next call.
func (in *input) take(h header) ([]byte, error) {
	n := int(h.n)
	if err := in.fill(n); err != nil {
		return nil, err
	}
	body := in.buf[in.r : in.r+n]
	in.r += n
	unmask(body, h.mask, 0)
	return body, nil
}

// append takes the payload of a frame and appends it to message, whose memory grows only with what has come.
func (in *input) append(message []byte, h header) ([]byte, error) {
	for at := int64(0); at < h.n; {
		if in.buffered() == 0 {
			if err := in.fill(1); err != nil {
				return nil, err
			}
		}
		part := in.buf[in.r : in.r+int(min(int64(in.buffered()), h.n-at))]
		in.r += len(part)
		unmask(part, h.mask, at)
		at += int64(len(part))
		message = append(message, part...)
	}
	return message, nil
}
