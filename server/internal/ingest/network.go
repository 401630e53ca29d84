// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"errors"
	"fmt"
	"net"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
)

// listen opens the shared sockets: one, or one for each address of the machine when the host is unspecified, because
// an answer has to leave from the address that was announced.
func listen(cfg Config) (ice.UDPMux, error) {
	addr, err := net.ResolveUDPAddr("udp", cfg.UDPListen)
	if err != nil {
		return nil, err
	}
	logger := slogFactory{cfg.Logger}.NewLogger("ice-mux")
	ips := []net.IP{addr.IP}
	if addr.IP == nil || addr.IP.IsUnspecified() {
		if ips, err = localIPs(addr.IP != nil && addr.IP.To4() != nil); err != nil {
			return nil, err
		}
	}
	var muxes []ice.UDPMux
	closeAll := func() {
		for _, m := range muxes {
			_ = m.Close() // the error that stopped us is the one to tell
		}
	}
	port := addr.Port
	for _, ip := range ips {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip, Port: port, Zone: addr.Zone})
		if err != nil {
			closeAll()
			return nil, err
		}
		if err := conn.SetReadBuffer(cfg.ReadBufferBytes); err != nil {
			cfg.Logger.Debug("receive buffer not set", "error", err)
		}
		if local, ok := conn.LocalAddr().(*net.UDPAddr); ok {
			port = local.Port // the same port on every address
		}
		muxes = append(muxes, ice.NewUDPMuxDefault(ice.UDPMuxParams{Logger: logger, UDPConn: conn}))
	}
	if len(muxes) == 1 {
		return muxes[0], nil
	}
	return ice.NewMultiUDPMuxDefault(muxes...), nil
}

// localIPs lists the unicast addresses of the machine, loopback only when there is nothing else. Link-local addresses
// are left out: they mean nothing without a zone, and a candidate has none.
func localIPs(only4 bool) ([]net.IP, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var ips, loopback []net.IP
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.IsLinkLocalUnicast() || (only4 && n.IP.To4() == nil) {
			continue
		}
		if n.IP.IsLoopback() {
			loopback = append(loopback, n.IP)
		} else {
			ips = append(ips, n.IP)
		}
	}
	if len(ips) == 0 {
		ips = loopback
	}
	if len(ips) == 0 {
		return nil, errors.New("machine has no usable address")
	}
	return ips, nil
}

// settings are the transport's settings for one peer.
func (s *Server) settings() webrtc.SettingEngine {
	var e webrtc.SettingEngine
	e.LoggerFactory = slogFactory{s.log}
	e.SetICEUDPMux(s.mux)
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	e.SetIncludeLoopbackCandidate(true) // what to listen on was decided by listen
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	e.SetICETimeouts(s.cfg.SilenceTimeout/2, s.cfg.SilenceTimeout/2, s.cfg.SilenceTimeout/5)
	e.DisableActiveTCP(true)
	if len(s.cfg.PublicIPs) > 0 {
		if err := e.SetICEAddressRewriteRules(webrtc.ICEAddressRewriteRule{
			External: s.cfg.PublicIPs, AsCandidateType: webrtc.ICECandidateTypeHost, Mode: webrtc.ICEAddressRewriteReplace,
		}); err != nil {
			s.log.Error("public addresses not applied", "error", err)
		}
	}
	return e
}
