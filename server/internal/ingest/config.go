// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"
)

// Config of a [Server]. The zero value works: it listens on loopback, on a port of the system's choice.
type Config struct {
	// UDPListen is the address for media, host:port. Default "127.0.0.1:0". The host may be a loopback address (then
	// only programs on the same machine can publish), an address of the machine, or unspecified ("0.0.0.0:5000",
	// "[::]:5000", ":5000"), which opens one socket on each address of the machine; loopback is then used only
	// when there is nothing else.
	UDPListen string
	// PublicIPs are announced to publishers in place of the local addresses, for a machine behind 1:1 NAT.
	PublicIPs []string
	// VideoCodecs are the video codecs that are accepted; the publisher's order decides between them (RFC 3264 section
	// 6.1), or a [Preferrer]. Default VP8, VP9, H264, AV1, H265 (also the only names allowed). The answer names exactly one codec for
	// each section, so that a track never changes its codec.
	VideoCodecs []string

	// MaxPeers is how many peers may exist at once. Default 2000.
	MaxPeers int
	// MaxTracks is how many media sections one offer may have, and how many streams may then come. Default 8.
	MaxTracks int
	// MaxOfferBytes bounds an offer. Default 64 KiB.
	MaxOfferBytes int
	// ConnectTimeout is how long a peer may take from Accept to a secure connection. Default 15 s.
	ConnectTimeout time.Duration
	// SilenceTimeout is how long a connected peer may send nothing at all (media, RTCP or connectivity checks) before
	// it is closed as lost. Default 10 s.
	SilenceTimeout time.Duration
	// KeyframeInterval is the shortest time between two keyframe requests on one track. Default 500 ms.
	KeyframeInterval time.Duration
	// SectionTimeout is how long a section may give nothing recordable before a [SilenceHandler] is told. Default 5 s.
	SectionTimeout time.Duration
	// NoTCP leaves out ICE-TCP (RFC 6544), for which a TCP port of the same number is opened, where it is free.
	NoTCP bool
	// MaxTCP is how many TCP connections there may be. Default 1024; more are closed at once.
	MaxTCP int
	// ReadBufferBytes is the receive buffer asked from the system for each socket. Default 4 MiB; the system may give
	// less.
	ReadBufferBytes int

	// Logger gets what goes wrong with peers. nil = discard. No SDP is logged: it holds credentials.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.UDPListen == "" {
		c.UDPListen = "127.0.0.1:0"
	}
	if len(c.VideoCodecs) == 0 {
		c.VideoCodecs = videoCodecs()
	}
	c.MaxPeers = orDefault(c.MaxPeers, 2000)
	c.MaxTracks = orDefault(c.MaxTracks, 8)
	c.MaxOfferBytes = orDefault(c.MaxOfferBytes, 64<<10)
	c.ConnectTimeout = orDefault(c.ConnectTimeout, 15*time.Second)
	c.SilenceTimeout = orDefault(c.SilenceTimeout, 10*time.Second)
	c.KeyframeInterval = orDefault(c.KeyframeInterval, 500*time.Millisecond)
	c.SectionTimeout = orDefault(c.SectionTimeout, 5*time.Second)
	c.ReadBufferBytes = orDefault(c.ReadBufferBytes, 4<<20)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

func (c Config) validate() error {
	for _, ip := range c.PublicIPs {
		if net.ParseIP(ip) == nil {
			return fmt.Errorf("public ip %q is not an IP address", ip)
		}
	}
	for _, name := range c.VideoCodecs {
		if !slices.ContainsFunc(videoCodecs(), func(known string) bool { return strings.EqualFold(name, known) }) {
			return fmt.Errorf("video codec %q is not one of %s", name, strings.Join(videoCodecs(), ", "))
		}
	}
	return nil
}
