// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"fmt"
	"strings"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/webrtc/v4"
)

// opus is what is announced for audio. DTX and FEC are the sender's choice; the recorder takes both.
func opusCodec() webrtc.RTPCodecParameters {
	return webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2,
			SDPFmtpLine: "minptime=10;useinbandfec=1",
		},
		PayloadType: 111,
	}
}

// videoCodecs returns the payload formats of one codec, with a retransmission format for each (RFC 4588).
func videoCodecs(name string) ([]webrtc.RTPCodecParameters, bool) {
	var mime string
	var fmtps []string
	var first webrtc.PayloadType
	switch strings.ToUpper(name) {
	case "VP8":
		mime, fmtps, first = webrtc.MimeTypeVP8, []string{""}, 96
	case "VP9":
		mime, fmtps, first = webrtc.MimeTypeVP9, []string{"profile-id=0"}, 98
	case "H264":
		// Constrained Baseline, Baseline, Main and High; packetization mode 1 before 0 (RFC 6184 section 6).
		mime, first = webrtc.MimeTypeH264, 100
		for _, profile := range []string{"42e01f", "42001f", "4d001f", "64001f"} {
			for _, mode := range []string{"1", "0"} {
				fmtps = append(fmtps, "level-asymmetry-allowed=1;packetization-mode="+mode+";profile-level-id="+profile)
			}
		}
	default:
		return nil, false
	}
	feedback := []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}}
	var out []webrtc.RTPCodecParameters
	for i, fmtp := range fmtps {
		pt := first + webrtc.PayloadType(2*i)
		out = append(out,
			webrtc.RTPCodecParameters{
				RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mime, ClockRate: 90000, SDPFmtpLine: fmtp, RTCPFeedback: feedback},
				PayloadType:        pt,
			},
			webrtc.RTPCodecParameters{
				RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeRTX, ClockRate: 90000, SDPFmtpLine: fmt.Sprintf("apt=%d", pt)},
				PayloadType:        pt + 1,
			})
	}
	return out, true
}

// newAPI registers the codecs and the interceptors for one peer. Both are made anew for each, because pion keeps what
// was negotiated in them.
func (s *Server) newAPI() (*webrtc.API, error) {
	media := &webrtc.MediaEngine{}
	if err := media.RegisterCodec(opusCodec(), webrtc.RTPCodecTypeAudio); err != nil {
		return nil, fmt.Errorf("register opus: %w", err)
	}
	for _, name := range s.cfg.VideoCodecs {
		codecs, _ := videoCodecs(name) // names were checked by New
		for _, c := range codecs {
			if err := media.RegisterCodec(c, webrtc.RTPCodecTypeVideo); err != nil {
				return nil, fmt.Errorf("register %s: %w", name, err)
			}
		}
	}
	chain, logs := &interceptor.Registry{}, slogFactory{s.log}
	for _, add := range []func() error{
		func() error {
			return webrtc.ConfigureNackWithOptions(media, chain,
				[]nack.GeneratorOption{nack.WithGeneratorLoggerFactory(logs)}, nack.WithResponderLoggerFactory(logs))
		},
		func() error {
			return webrtc.ConfigureRTCPReportsWithOptions(chain,
				[]report.ReceiverOption{report.WithReceiverLoggerFactory(logs)}, report.WithSenderLoggerFactory(logs))
		},
		func() error {
			return webrtc.ConfigureTWCCSenderWithOptions(media, chain, twcc.WithLoggerFactory(logs))
		},
	} {
		if err := add(); err != nil {
			return nil, fmt.Errorf("configure interceptors: %w", err)
		}
	}
	return webrtc.NewAPI(
		webrtc.WithMediaEngine(media),
		webrtc.WithInterceptorRegistry(chain),
		webrtc.WithSettingEngine(s.settings()),
	), nil
}
