// SPDX-License-Identifier: Apache-2.0

package publisher

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/classrec/classrec/server/internal/clips"
)

// newAPI registers what the clips need and no more: the offer names exactly the codecs that will be sent.
func (p *Publisher) newAPI() (*webrtc.API, error) {
	media := &webrtc.MediaEngine{}
	if p.cfg.Audio != nil {
		if err := media.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType: clips.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1",
				RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}},
			},
			PayloadType: 111,
		}, webrtc.RTPCodecTypeAudio); err != nil {
			return nil, fmt.Errorf("register audio codec: %w", err)
		}
	}
	if p.cfg.Video != nil {
		if err := registerVideo(media, p.cfg.Video.MimeType); err != nil {
			return nil, fmt.Errorf("register video codec: %w", err)
		}
	}
	chain := &interceptor.Registry{}
	if p.cfg.Loss != nil || p.cfg.ExtraStreams > 0 {
		chain.Add(networkFactory{&p.cfg}) // first is nearest to the network: what is lost was sent, for all others
	}
	logs := quiet()
	if err := webrtc.ConfigureNackWithOptions(media, chain,
		[]nack.GeneratorOption{nack.WithGeneratorLoggerFactory(logs)}, nack.WithResponderLoggerFactory(logs)); err != nil {
		return nil, fmt.Errorf("configure NACK: %w", err)
	}
	if err := webrtc.ConfigureRTCPReportsWithOptions(chain,
		[]report.ReceiverOption{report.WithReceiverLoggerFactory(logs)}, report.WithSenderLoggerFactory(logs)); err != nil {
		return nil, fmt.Errorf("configure reports: %w", err)
	}
	if err := webrtc.ConfigureTWCCHeaderExtensionSender(media, chain); err != nil {
		return nil, fmt.Errorf("configure TWCC: %w", err)
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(chain), webrtc.WithSettingEngine(settings())), nil
}

func registerVideo(media *webrtc.MediaEngine, mime string) error {
	fmtp := ""
	switch mime {
	case clips.MimeTypeVP9:
		fmtp = "profile-id=0"
	case clips.MimeTypeH264:
		fmtp = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
	}
	if err := media.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: mime, ClockRate: 90000, SDPFmtpLine: fmtp,
			RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}},
		},
		PayloadType: 96,
	}, webrtc.RTPCodecTypeVideo); err != nil {
		return err
	}
	return media.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeRTX, ClockRate: 90000, SDPFmtpLine: "apt=96"},
		PayloadType:        97,
	}, webrtc.RTPCodecTypeVideo)
}

// settings of the transport: any local address will do, loopback too, and no multicast is asked for names.
func settings() webrtc.SettingEngine {
	var e webrtc.SettingEngine
	e.LoggerFactory = quiet()
	e.SetIncludeLoopbackCandidate(true)
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	return e
}

// quiet is the log of pion's parts, which would go to stderr: what a synthetic publisher's network does is seen by who
// it publishes to.
func quiet() logging.LoggerFactory {
	logs := logging.NewDefaultLoggerFactory()
	logs.Writer = io.Discard
	return logs
}

// networkFactory makes the interceptor that loses and adds packets as Config.Loss and Config.ExtraStreams say.
type networkFactory struct{ cfg *Config }

// NewInterceptor implements [interceptor.Factory].
func (f networkFactory) NewInterceptor(string) (interceptor.Interceptor, error) {
	return &network{cfg: f.cfg}, nil
}

type network struct {
	interceptor.NoOp
	cfg *Config
}

// BindLocalStream implements [interceptor.Interceptor].
func (n *network) BindLocalStream(info *interceptor.StreamInfo, w interceptor.RTPWriter) interceptor.RTPWriter {
	kind, extra := Video, n.cfg.ExtraStreams
	if info.MimeType == clips.MimeTypeOpus {
		kind, extra = Audio, 0
	}
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
		p := Packet{Kind: kind, SequenceNumber: h.SequenceNumber, Timestamp: h.Timestamp}
		if h.SSRC != info.SSRC && len(payload) >= 2 { // retransmission format, RFC 4588 section 4
			p.Resent, p.SequenceNumber = true, binary.BigEndian.Uint16(payload)
		}
		if n.cfg.Loss != nil && n.cfg.Loss(p) {
			return h.MarshalSize() + len(payload), nil
		}
		for i := range extra {
			other := h.Clone()
			other.SSRC += uint32(i) + 1
			if _, err := w.Write(&other, payload, a); err != nil {
				return 0, err
			}
		}
		return w.Write(h, payload, a)
	})
}
