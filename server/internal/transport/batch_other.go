// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package transport

import (
	"net"
	"net/netip"
	"time"
)

// batchReader reads one datagram at a time where there is no recvmmsg.
type batchReader struct {
	conn *net.UDPConn
	p    *Packet
	from netip.AddrPort
}

func newBatchReader(conn *net.UDPConn, _ int, take func() *Packet) (*batchReader, error) {
	return &batchReader{conn: conn, p: take()}, nil
}

func (r *batchReader) replace(_ int, p *Packet) { r.p = p }

func (r *batchReader) read() (int, error) {
	r.p.buf = r.p.buf[:cap(r.p.buf)]
	n, from, err := r.conn.ReadFromUDPAddrPort(r.p.buf)
	if err != nil {
		return 0, err
	}
	r.p.buf, r.p.Arrival = r.p.buf[:n], time.Now()
	r.from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	return 1, nil
}

func (r *batchReader) packet(int) (*Packet, netip.AddrPort) { return r.p, r.from }
