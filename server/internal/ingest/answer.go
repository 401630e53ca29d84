// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"github.com/classrec/classrec/server/internal/transport"
)

// The header extensions that are received (RFC 8285), by what they are for.
const (
	extMID         = "urn:ietf:params:rtp-hdrext:sdes:mid"
	extRID         = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
	extRepairedRID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
	extTWCC        = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
)

// answer makes the complete answer: one section for each that was offered, in that order (RFC 3264 section 6), with
// port 0 for those refused, and every candidate of ours.
func (p *Peer) answer(t *transport.Transport) (string, error) {
	id, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return "", fmt.Errorf("make answer: %w", err)
	}
	d := &sdp.SessionDescription{
		Origin: sdp.Origin{
			Username: "-", SessionID: id.Uint64(), SessionVersion: 1, NetworkType: "IN", AddressType: "IP4", UnicastAddress: "127.0.0.1",
		},
		SessionName: "-", TimeDescriptions: []sdp.TimeDescription{{}},
	}
	d.WithPropertyAttribute(sdp.AttrKeyICELite)
	if _, ok := p.offer.session.Attribute(sdp.AttrKeyExtMapAllowMixed); ok {
		d.WithPropertyAttribute(sdp.AttrKeyExtMapAllowMixed)
	}
	for _, s := range p.offer.sections {
		if !s.accepted() {
			d.MediaDescriptions = append(d.MediaDescriptions, s.refusedAnswer())
			continue
		}
		i := p.offer.transportOf(s)
		m := s.answer()
		session := p.sessions[i]
		m.WithValueAttribute("ice-ufrag", session.Ufrag()).WithValueAttribute("ice-pwd", session.Pwd())
		m.WithValueAttribute("fingerprint", t.Fingerprint())
		m.WithValueAttribute("setup", setupOf(p.offer.active(s)))
		if s == p.offer.transports[i][0] {
			for _, c := range t.Candidates() {
				m.WithValueAttribute("candidate", c)
			}
			m.WithPropertyAttribute("end-of-candidates")
		}
		d.MediaDescriptions = append(d.MediaDescriptions, m)
	}
	p.offer.answerGroups(d)
	text, err := d.Marshal()
	if err != nil {
		return "", fmt.Errorf("%w: write answer: %w", ErrBadOffer, err)
	}
	return string(text), nil
}

// answer is the answer to an accepted section, without what is the transport's.
func (s *section) answer() *sdp.MediaDescription {
	m := &sdp.MediaDescription{
		MediaName: sdp.MediaName{
			Media: s.kind(), Port: sdp.RangedPort{Value: 9}, Protos: s.media.MediaName.Protos, // RFC 8829 section 5.3.1
		},
		ConnectionInformation: anywhere(),
	}
	if s.mid != "" {
		m.WithValueAttribute(sdp.AttrKeyMID, s.mid)
	}
	if s.sends {
		m.WithPropertyAttribute(sdp.AttrKeyRecvOnly)
	} else {
		m.WithPropertyAttribute(sdp.AttrKeyInactive)
	}
	m.WithPropertyAttribute("rtcp-mux")
	if _, ok := s.media.Attribute("rtcp-rsize"); ok {
		m.WithPropertyAttribute("rtcp-rsize")
	}
	for _, e := range s.extensions() {
		m.WithValueAttribute(sdp.AttrKeyExtMap, fmt.Sprintf("%d %s", e.id, e.uri))
	}
	for _, f := range s.answered() {
		pt := strconv.Itoa(int(f.pt))
		m.MediaName.Formats = append(m.MediaName.Formats, pt)
		m.WithValueAttribute("rtpmap", f.rtpmap())
		if fmtp := f.localParameters(); fmtp != "" {
			m.WithValueAttribute("fmtp", pt+" "+fmtp)
		}
	}
	for _, feedback := range s.feedback() {
		m.WithValueAttribute("rtcp-fb", fmt.Sprintf("%d %s", s.chosen[0].pt, feedback))
	}
	for _, rid := range s.rids {
		m.WithValueAttribute("rid", rid+" recv")
	}
	if len(s.rids) > 0 {
		m.WithValueAttribute("simulcast", "recv "+strings.Join(s.rids, ";"))
	}
	return m
}

// answered are the chosen formats in the order of the answer: redundancy goes first, since it is used only then.
func (s *section) answered() []format {
	out := slices.Clone(s.chosen)
	slices.SortStableFunc(out, func(a, b format) int { return boolToInt(b.is("red")) - boolToInt(a.is("red")) })
	return out
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// feedback is what we send about a section (RFC 4585 section 4.2). Audio is asked for too: Chromium, which does not offer
// it, sends again what an answer says will be asked for.
func (s *section) feedback() []string {
	var out []string
	if s.extension(extTWCC) != 0 {
		out = append(out, "transport-cc")
	}
	out = append(out, "nack")
	if s.kind() == "video" {
		out = append(out, "nack pli", "ccm fir")
	}
	return out
}

// extmap is a header extension that is received.
type extmap struct {
	id  uint8
	uri string
}

// extensions lists the offered header extensions that we receive. Those of the session count for all sections (RFC 8285
// section 6).
func (s *section) extensions() []extmap {
	var out []extmap
	for _, list := range [][]sdp.Attribute{s.media.Attributes, s.session.Attributes} {
		for _, a := range list {
			if a.Key != sdp.AttrKeyExtMap {
				continue
			}
			f := strings.Fields(a.Value)
			if len(f) < 2 || !slices.Contains([]string{extMID, extRID, extRepairedRID, extTWCC}, f[1]) {
				continue
			}
			number, _, _ := strings.Cut(f[0], "/") // the direction
			id, err := strconv.ParseUint(number, 10, 8)
			taken := slices.ContainsFunc(out, func(e extmap) bool { return e.uri == f[1] || uint64(e.id) == id })
			if err == nil && id > 0 && !taken {
				out = append(out, extmap{uint8(id), f[1]})
			}
		}
	}
	return out
}

// extension returns the identifier of one, or 0.
func (s *section) extension(uri string) uint8 {
	for _, e := range s.extensions() {
		if e.uri == uri {
			return e.id
		}
	}
	return 0
}

// refusedAnswer is the answer to a section that is not accepted.
func (s *section) refusedAnswer() *sdp.MediaDescription {
	m := &sdp.MediaDescription{
		MediaName: sdp.MediaName{
			Media: s.kind(), Protos: s.media.MediaName.Protos, Formats: s.media.MediaName.Formats,
		},
		ConnectionInformation: anywhere(),
	}
	if s.mid != "" {
		m.WithValueAttribute(sdp.AttrKeyMID, s.mid)
	}
	return m.WithPropertyAttribute(sdp.AttrKeyInactive)
}

func anywhere() *sdp.ConnectionInformation {
	return &sdp.ConnectionInformation{NetworkType: "IN", AddressType: "IP4", Address: &sdp.Address{Address: "0.0.0.0"}}
}

// answerGroups answers the BUNDLE groups: of each, the sections that are accepted.
func (o *offer) answerGroups(out *sdp.SessionDescription) {
	for _, group := range o.bundles() {
		value := "BUNDLE"
		for _, mid := range group {
			for _, s := range o.sections {
				if s.mid == mid && s.accepted() {
					value += " " + mid
				}
			}
		}
		if value != "BUNDLE" {
			out.WithValueAttribute(sdp.AttrKeyGroup, value)
		}
	}
}

// transportOf is the place in transports of the one that carries a section.
func (o *offer) transportOf(s *section) int {
	return slices.IndexFunc(o.transports, func(t []*section) bool { return slices.Contains(t, s) })
}

// active reports whether we begin the DTLS handshake: unless the publisher says that it will (RFC 8842 section 5.3).
func (o *offer) active(s *section) bool {
	setup, ok := s.media.Attribute("setup")
	if !ok {
		setup, _ = o.session.Attribute("setup")
	}
	return setup != "active"
}

func setupOf(active bool) string {
	if active {
		return "active"
	}
	return "passive"
}

// params are what the transport has to know of the sections that it carries.
func (o *offer) params(sections []*section) transport.Params {
	p := transport.Params{Active: o.active(sections[0])}
	for _, s := range sections {
		if !slices.Contains(p.Fingerprints, s.ice.fingerprint) {
			p.Fingerprints = append(p.Fingerprints, s.ice.fingerprint)
		}
		p.Media = append(p.Media, s.params())
	}
	return p
}

func (s *section) params() transport.Media {
	m := transport.Media{
		MID: s.mid, PayloadType: s.chosen[0].pt, ClockRate: s.chosen[0].rate, NACK: true,
		MIDExt: s.extension(extMID), RIDExt: s.extension(extRID), RepairedRIDExt: s.extension(extRepairedRID),
		TWCCExt: s.extension(extTWCC),
	}
	for _, f := range s.chosen[1:] {
		switch {
		case f.is("rtx"):
			m.RTX = f.pt
		case f.is("red"):
			m.RED = f.pt
		}
	}
	for _, set := range s.streams {
		m.Sources = append(m.Sources, transport.Source{SSRC: parseSSRC(set.ssrc), RTX: set.rtx()})
	}
	return m
}

// rtx is the SSRC of the stream's retransmissions (RFC 5576 section 4.2), or 0.
func (s ssrcSet) rtx() uint32 {
	for _, a := range s.repairs {
		if f := strings.Fields(a.Value); len(f) == 3 && f[0] == "FID" {
			return parseSSRC(f[2])
		}
	}
	return 0
}

// parseSSRC returns 0, which no stream has in practice, for what is no SSRC.
func parseSSRC(text string) uint32 {
	n, _ := strconv.ParseUint(text, 10, 32)
	return uint32(n)
}
