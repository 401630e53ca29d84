// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"fmt"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/webrtc/v4"
)

// newAPI registers the chosen formats of the sections of one transport, and the interceptors. Both are made anew for
// each, because pion keeps what was negotiated in them.
func (s *Server) newAPI(sections []*section) (*webrtc.API, error) {
	media := &webrtc.MediaEngine{}
	known := map[uint8]bool{}
	layered := false
	for _, sec := range sections {
		layered = layered || len(sec.rids) > 0
		for _, f := range sec.chosen {
			if known[f.pt] {
				continue
			}
			known[f.pt] = true
			if err := media.RegisterCodec(f.local(sec.kind()), webrtc.NewRTPCodecType(sec.kind())); err != nil {
				return nil, fmt.Errorf("register %s: %w", f.name, err)
			}
		}
	}
	if layered {
		if err := webrtc.ConfigureSimulcastExtensionHeaders(media); err != nil {
			return nil, fmt.Errorf("register simulcast extensions: %w", err)
		}
	}
	chain, err := s.interceptors(media)
	if err != nil {
		return nil, fmt.Errorf("configure interceptors: %w", err)
	}
	return webrtc.NewAPI(
		webrtc.WithMediaEngine(media),
		webrtc.WithInterceptorRegistry(chain),
		webrtc.WithSettingEngine(s.settings()),
	), nil
}

// interceptors are those for NACK, reports and transport-wide congestion control.
func (s *Server) interceptors(media *webrtc.MediaEngine) (*interceptor.Registry, error) {
	chain, logs := &interceptor.Registry{}, slogFactory{s.log}
	if err := webrtc.ConfigureNackWithOptions(media, chain,
		[]nack.GeneratorOption{nack.WithGeneratorLoggerFactory(logs)}, nack.WithResponderLoggerFactory(logs)); err != nil {
		return nil, err
	}
	if err := webrtc.ConfigureRTCPReportsWithOptions(chain,
		[]report.ReceiverOption{report.WithReceiverLoggerFactory(logs)}, report.WithSenderLoggerFactory(logs)); err != nil {
		return nil, err
	}
	return chain, webrtc.ConfigureTWCCSenderWithOptions(media, chain, twcc.WithLoggerFactory(logs))
}
