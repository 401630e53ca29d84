// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// batchReader reads many datagrams with one system call (recvmmsg), each into a packet of its own. It is written out
// here because x/net's ReadBatch allocates an address for each datagram, and gives no time of arrival.
type batchReader struct {
	raw     syscall.RawConn
	take    func() *Packet
	packets [batchSize]*Packet
	msgs    [batchSize]mmsghdr
	iovecs  [batchSize]syscall.Iovec
	names   [batchSize]syscall.RawSockaddrInet6
	control [batchSize][64]byte
	from    [batchSize]netip.AddrPort

	got    int
	errno  syscall.Errno
	recvFn func(uintptr) bool // receive, bound once
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr syscall.Msghdr
	n   uint32
}

// soTimestampNS asks for the time of arrival (SO_TIMESTAMPNS), and is the type of the message that bears it.
const soTimestampNS = 35

func newBatchReader(conn *net.UDPConn, bytes int, take func() *Packet) (*batchReader, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &batchReader{raw: raw, take: take}
	_ = raw.Control(func(fd uintptr) {
		// Without it, the time of arrival is that of reading.
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, soTimestampNS, 1)
		// Beyond net.core.rmem_max, for who may.
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, bytes)
	})
	for i := range r.packets {
		r.replace(i, take())
	}
	r.recvFn = r.receive
	return r, nil
}

// replace puts another packet in the place of one that has been handed on.
func (r *batchReader) replace(i int, p *Packet) {
	r.packets[i] = p
	p.buf = p.buf[:cap(p.buf)]
	r.iovecs[i].Base = &p.buf[0]
	r.iovecs[i].SetLen(len(p.buf))
}

// read waits for datagrams and returns how many there are.
func (r *batchReader) read() (int, error) {
	for i := range r.msgs {
		r.replace(i, r.packets[i])
		h := &r.msgs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&r.names[i])) //nolint:gosec // the form of the system call
		h.Namelen = syscall.SizeofSockaddrInet6
		h.Iov, h.Iovlen = &r.iovecs[i], 1
		h.Control = &r.control[i][0]
		h.SetControllen(len(r.control[i]))
		h.Flags = 0
	}
	if err := r.raw.Read(r.recvFn); err != nil {
		return 0, err
	}
	if r.errno != 0 {
		return 0, os.NewSyscallError("recvmmsg", r.errno)
	}
	now := time.Now()
	for i := range r.got {
		p := r.packets[i]
		p.buf = p.buf[:min(int(r.msgs[i].n), len(p.buf))]
		p.Arrival = r.arrival(i, now)
		r.from[i] = addrPort(&r.names[i])
	}
	return r.got, nil
}

// receive is what is done when the socket is ready.
func (r *batchReader) receive(fd uintptr) bool {
	n, _, errno := syscall.Syscall6(syscall.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.msgs[0])), batchSize, //nolint:gosec // the form of the system call
		syscall.MSG_DONTWAIT, 0, 0)
	if errno == syscall.EAGAIN || errno == syscall.EINTR {
		return false
	}
	r.got, r.errno = int(n), errno
	if errno != 0 {
		r.got = 0
	}
	return true
}

// packet returns the i-th datagram and where it came from.
func (r *batchReader) packet(i int) (*Packet, netip.AddrPort) { return r.packets[i], r.from[i] }

// arrival is the time that the system has noted for a datagram, as one with a monotonic reading.
func (r *batchReader) arrival(i int, now time.Time) time.Time {
	c := r.control[i][:]
	n := int(r.msgs[i].hdr.Controllen) //nolint:gosec // at most the buffer's length
	const header = syscall.SizeofCmsghdr
	if n < header+16 {
		return now
	}
	h := (*syscall.Cmsghdr)(unsafe.Pointer(&c[0])) //nolint:gosec // the form of a control message
	if h.Level != syscall.SOL_SOCKET || h.Type != soTimestampNS {
		return now
	}
	ts := *(*syscall.Timespec)(unsafe.Pointer(&c[header])) //nolint:gosec // the form of a control message
	if age := now.UnixNano() - ts.Nano(); age > 0 && age < int64(time.Second) {
		return now.Add(-time.Duration(age))
	}
	return now // the clock was set meanwhile
}

// addrPort converts a socket's address.
func addrPort(a *syscall.RawSockaddrInet6) netip.AddrPort {
	port := func(p *uint16) uint16 {
		return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:]) //nolint:gosec // it is in network order
	}
	if a.Family == syscall.AF_INET {
		a4 := (*syscall.RawSockaddrInet4)(unsafe.Pointer(a)) //nolint:gosec // the family says so
		return netip.AddrPortFrom(netip.AddrFrom4(a4.Addr), port(&a4.Port))
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), port(&a.Port))
}
