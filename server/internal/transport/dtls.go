// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/srtp/v3"
)

const (
	// flightInterval is how long an answer of the handshake is waited for before the last flight is sent again. It does
	// not grow: at 15 % loss, three flights of some datagrams each have to get through within the connection's timeout.
	flightInterval = 250 * time.Millisecond
	// replayWindow is how far behind the newest packet one may be: as far as one may be asked for.
	replayWindow = 8192
)

// secure does the handshake and then waits for the publisher's good-bye.
func (s *Session) secure() {
	conn, err := s.newDTLS()
	if err != nil {
		s.end(fmt.Errorf("%w: %w", ErrConnect, err))
		return
	}
	s.securing.Go(func() {
		<-s.done
		_ = conn.Close() // says good-bye; there is nobody to tell of an error
		_ = s.dtls.Close()
	})
	s.end(s.handshake(conn))
}

// handshake returns when the connection is over.
func (s *Session) handshake(conn *dtls.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.t.cfg.ConnectTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		s.t.log.Debug("handshake failed", "error", err)
		return fmt.Errorf("%w: handshake failed", ErrConnect)
	}
	in, out, err := s.keys(conn)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConnect, err)
	}
	s.mu.Lock()
	s.rtt.first(s.dtls.roundTrip())
	s.mu.Unlock()
	if err := s.keyed(in, out); err != nil {
		return err
	}
	buf := make([]byte, 256)
	for {
		_, err := conn.Read(buf) // nobody has asked for data; the end of it is the good-bye
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, dtls.ErrConnClosed), errors.Is(err, net.ErrClosed):
			return ErrPeerClosed
		default:
			select {
			case <-s.done:
				return nil
			default:
			}
			s.t.log.Debug("secure connection", "error", err)
		}
	}
}

// newDTLS makes our end of the handshake.
func (s *Session) newDTLS() (*dtls.Conn, error) {
	options := []dtls.Option{
		dtls.WithCertificates(s.t.cert),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80, dtls.SRTP_AEAD_AES_256_GCM),
		dtls.WithExtendedMasterSecret(dtls.RequestExtendedMasterSecret),
		dtls.WithInsecureSkipVerify(true), // it is the fingerprint that counts
		dtls.WithVerifyPeerCertificate(s.verify),
		dtls.WithLoggerFactory(slogFactory{s.t.log}),
		dtls.WithFlightInterval(flightInterval),
		dtls.WithDisableRetransmitBackoff(true),
	}
	if s.params.Active {
		client := make([]dtls.ClientOption, 0, len(options))
		for _, o := range options {
			client = append(client, o)
		}
		return dtls.ClientWithOptions(s.dtls, s.dtls.RemoteAddr(), client...)
	}
	server := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert)}
	for _, o := range options {
		server = append(server, o)
	}
	return dtls.ServerWithOptions(s.dtls, s.dtls.RemoteAddr(), server...)
}

// verify compares the publisher's certificate with the fingerprints of the offer (RFC 8122 section 6.2).
func (s *Session) verify(raw [][]byte, _ [][]*x509.Certificate) error {
	if len(raw) == 0 {
		return errors.New("no certificate")
	}
	cert, err := x509.ParseCertificate(raw[0])
	if err != nil {
		return err
	}
	for _, f := range s.params.Fingerprints {
		algorithm, want, _ := strings.Cut(f, " ")
		hash, err := fingerprint.HashFromString(algorithm)
		if err != nil {
			continue // another one may be known
		}
		if got, err := fingerprint.Fingerprint(cert, hash); err == nil && strings.EqualFold(got, strings.TrimSpace(want)) {
			return nil
		}
	}
	return errors.New("certificate does not match the offer's fingerprint")
}

// keys derives the keys of both directions (RFC 5764 section 4.2).
func (s *Session) keys(conn *dtls.Conn) (in, out *srtp.Context, err error) {
	selected, ok := conn.SelectedSRTPProtectionProfile()
	if !ok {
		return nil, nil, errors.New("no SRTP profile in common")
	}
	profile := map[dtls.SRTPProtectionProfile]srtp.ProtectionProfile{
		dtls.SRTP_AEAD_AES_128_GCM:       srtp.ProtectionProfileAeadAes128Gcm,
		dtls.SRTP_AEAD_AES_256_GCM:       srtp.ProtectionProfileAeadAes256Gcm,
		dtls.SRTP_AES128_CM_HMAC_SHA1_80: srtp.ProtectionProfileAes128CmHmacSha1_80,
	}[selected]
	state, ok := conn.ConnectionState()
	if !ok {
		return nil, nil, errors.New("handshake is not complete")
	}
	cfg := srtp.Config{Profile: profile}
	if err := cfg.ExtractSessionKeysFromDTLS(&state, s.params.Active); err != nil {
		return nil, nil, err
	}
	k := cfg.Keys
	in, err = srtp.CreateContext(k.RemoteMasterKey, k.RemoteMasterSalt, profile,
		srtp.SRTPReplayProtection(replayWindow), srtp.SRTCPReplayProtection(128))
	if err != nil {
		return nil, nil, err
	}
	out, err = srtp.CreateContext(k.LocalMasterKey, k.LocalMasterSalt, profile)
	return in, out, err
}

// dtlsPipe is the packet connection that the handshake sees.
type dtlsPipe struct {
	send    func([]byte) error
	queue   chan []byte
	started bool // guarded by the session's mutex

	mu       sync.Mutex
	closed   chan struct{}
	isClosed bool
	expired  chan struct{} // closed when the deadline of reading has passed
	wrote    time.Time
	trip     time.Duration
}

func newDTLSPipe() *dtlsPipe {
	return &dtlsPipe{queue: make(chan []byte, 64), closed: make(chan struct{}), expired: make(chan struct{})}
}

// push takes a datagram; one too many is lost, and sent again.
func (p *dtlsPipe) push(data []byte) {
	p.mu.Lock()
	if !p.wrote.IsZero() {
		if trip := time.Since(p.wrote); p.trip == 0 || trip < p.trip {
			p.trip = trip
		}
		p.wrote = time.Time{}
	}
	p.mu.Unlock()
	select {
	case p.queue <- append([]byte(nil), data...):
	default:
	}
}

// roundTrip is the least time that an answer took, 0 when there was none.
func (p *dtlsPipe) roundTrip() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trip
}

// ReadFrom implements [net.PacketConn].
func (p *dtlsPipe) ReadFrom(b []byte) (int, net.Addr, error) {
	p.mu.Lock()
	expired := p.expired
	p.mu.Unlock()
	select {
	case data := <-p.queue:
		return copy(b, data), p.RemoteAddr(), nil
	case <-p.closed:
		return 0, nil, net.ErrClosed
	case <-expired:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

// WriteTo implements [net.PacketConn].
func (p *dtlsPipe) WriteTo(b []byte, _ net.Addr) (int, error) {
	p.mu.Lock()
	p.wrote = time.Now()
	p.mu.Unlock()
	_ = p.send(b) // what is not sent is lost, and sent again
	return len(b), nil
}

// Close implements [net.PacketConn].
func (p *dtlsPipe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.isClosed {
		p.isClosed = true
		close(p.closed)
	}
	return nil
}

// SetReadDeadline implements [net.PacketConn], for what the handshake needs of it: a deadline in the past interrupts
// reading, the zero one lets it go on.
func (p *dtlsPipe) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	isExpired := false
	select {
	case <-p.expired:
		isExpired = true
	default:
	}
	switch past := !t.IsZero() && !t.After(time.Now()); {
	case past && !isExpired:
		close(p.expired)
	case !past && isExpired:
		p.expired = make(chan struct{})
	}
	return nil
}

// SetDeadline implements [net.PacketConn].
func (p *dtlsPipe) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

// SetWriteDeadline implements [net.PacketConn]; writing does not wait.
func (p *dtlsPipe) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr implements [net.PacketConn].
func (p *dtlsPipe) LocalAddr() net.Addr { return pipeAddr{} }

// RemoteAddr is the other end's, which may change.
func (p *dtlsPipe) RemoteAddr() net.Addr { return pipeAddr{} }

// pipeAddr names nothing.
type pipeAddr struct{}

func (pipeAddr) Network() string { return "ice" }
func (pipeAddr) String() string  { return "ice" }
