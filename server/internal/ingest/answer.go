// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// Pion answers one transport, and of each of its sections one stream. So it is given an offer of its own: the accepted
// sections of a transport, each with the chosen formats only, all bundled, and one section for each declared stream.
// Its answers are put together for the publisher: one section for each that was offered, in that order (RFC 3264 section
// 6), with port 0 for those refused.

// attributesOurs are those that are set anew for pion.
func attributesOurs() []string {
	return []string{
		sdp.AttrKeyMID, "ice-ufrag", "ice-pwd", "fingerprint", "rtpmap", "fmtp", "rtcp-fb", sdp.AttrKeySSRC, sdp.AttrKeySSRCGroup,
		"rid", "simulcast", "bundle-only", sdp.AttrKeySendRecv, sdp.AttrKeySendOnly, sdp.AttrKeyRecvOnly, sdp.AttrKeyInactive,
		sdp.AttrKeyMsid, "candidate", "end-of-candidates", "setup",
	}
}

// forPion is the offer of one transport.
func (o *offer) forPion(sections []*section) (string, error) {
	d := &sdp.SessionDescription{
		Origin: o.session.Origin, SessionName: o.session.SessionName, TimeDescriptions: o.session.TimeDescriptions,
	}
	for _, a := range o.session.Attributes {
		if a.Key == sdp.AttrKeyExtMapAllowMixed || a.Key == "ice-options" || a.Key == sdp.AttrKeyICELite {
			d.Attributes = append(d.Attributes, a)
		}
	}
	bundle := "BUNDLE"
	for _, s := range sections {
		d.MediaDescriptions = append(d.MediaDescriptions, s.forPion(o.session)...)
	}
	for _, m := range d.MediaDescriptions {
		mid, _ := m.Attribute(sdp.AttrKeyMID)
		bundle += " " + mid
	}
	d.WithValueAttribute(sdp.AttrKeyGroup, bundle)
	text, err := d.Marshal()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	return string(text), nil
}

// forPion is a section, once for each stream that it declares.
func (s *section) forPion(d *sdp.SessionDescription) []*sdp.MediaDescription {
	streams := s.streams
	if len(streams) == 0 {
		streams = []ssrcSet{{}}
	}
	var out []*sdp.MediaDescription
	for i, stream := range streams {
		m := s.common(d, s.labelOf(i))
		for _, a := range stream.repairs {
			m.WithValueAttribute(a.Key, a.Value)
		}
		if msid := stream.msid; msid != "" {
			m.WithValueAttribute(sdp.AttrKeyMsid, msid)
		} else if msid, ok := s.media.Attribute(sdp.AttrKeyMsid); ok {
			m.WithValueAttribute(sdp.AttrKeyMsid, msid)
		} else if len(s.rids) > 0 {
			m.WithValueAttribute(sdp.AttrKeyMsid, "- "+s.label) // without one pion knows no rids
		}
		if stream.ssrc != "" {
			m.WithValueAttribute(sdp.AttrKeySSRC, stream.ssrc+" cname:publisher")
		}
		out = append(out, m)
	}
	return out
}

// labelOf names the section of the i-th stream towards pion.
func (s *section) labelOf(i int) string {
	if i == 0 {
		return s.label
	}
	return s.label + "." + strconv.Itoa(i)
}

// common is what the sections of all streams have in common.
func (s *section) common(d *sdp.SessionDescription, label string) *sdp.MediaDescription {
	m := &sdp.MediaDescription{
		MediaName: sdp.MediaName{
			Media: s.kind(), Port: sdp.RangedPort{Value: 9}, Protos: []string{"UDP", "TLS", "RTP", "SAVPF"},
		},
		ConnectionInformation: &sdp.ConnectionInformation{NetworkType: "IN", AddressType: "IP4", Address: &sdp.Address{Address: "0.0.0.0"}},
	}
	m.WithValueAttribute(sdp.AttrKeyMID, label).WithValueAttribute("ice-ufrag", s.ice.ufrag).WithValueAttribute("ice-pwd", s.ice.pwd)
	m.WithValueAttribute("fingerprint", s.ice.fingerprint)
	direction := sdp.AttrKeyInactive
	if s.sends {
		direction = sdp.AttrKeySendOnly
	}
	m.WithPropertyAttribute(direction)
	for _, f := range s.chosen {
		pt := strconv.Itoa(int(f.pt))
		m.MediaName.Formats = append(m.MediaName.Formats, pt)
		m.WithValueAttribute("rtpmap", f.rtpmap())
		if f.fmtp != "" {
			m.WithValueAttribute("fmtp", pt+" "+f.fmtp)
		}
	}
	for _, rid := range s.rids {
		m.WithValueAttribute("rid", rid+" send")
	}
	if len(s.rids) > 0 {
		m.WithValueAttribute("simulcast", "send "+strings.Join(s.rids, ";"))
	}
	for _, a := range s.media.Attributes {
		if !slices.Contains(attributesOurs(), a.Key) || a.Key == "rtcp-fb" && s.speaksOf(a.Value) ||
			a.Key == "candidate" || a.Key == "setup" {
			m.Attributes = append(m.Attributes, a)
		}
	}
	for _, a := range d.Attributes {
		_, own := s.media.Attribute(a.Key)
		if a.Key == "setup" && !own || a.Key == sdp.AttrKeyExtMap { // RFC 8285 section 6
			m.Attributes = append(m.Attributes, a)
		}
	}
	return m
}

// speaksOf reports whether an rtcp-fb attribute is of one of the chosen formats.
func (s *section) speaksOf(feedback string) bool {
	pt, _, _ := strings.Cut(feedback, " ")
	return pt == "*" || slices.ContainsFunc(s.chosen, func(f format) bool { return pt == strconv.Itoa(int(f.pt)) })
}

// answer makes the complete answer.
func (p *Peer) answer(ctx context.Context) (string, error) {
	var out *sdp.SessionDescription
	sections := map[string]*sdp.MediaDescription{} // by mid
	for i, pc := range p.pcs {
		d, err := p.answerTransport(ctx, pc, p.offer.transports[i])
		if err != nil {
			return "", err
		}
		for _, m := range d.MediaDescriptions {
			mid, _ := m.Attribute(sdp.AttrKeyMID)
			sections[mid] = m
		}
		if out == nil {
			out = d // what pion says of the session is the same for all: the certificate and the options
		}
	}
	out.MediaDescriptions = nil
	for _, s := range p.offer.sections {
		m := sections[s.label]
		if !s.accepted() || m == nil || m.MediaName.Port.Value == 0 {
			m = s.refusedAnswer()
		}
		out.MediaDescriptions = append(out.MediaDescriptions, s.toPublisher(m))
	}
	p.offer.answerGroups(out)
	text, err := out.Marshal()
	if err != nil {
		return "", fmt.Errorf("%w: write answer: %w", ErrBadOffer, err)
	}
	return string(text), nil
}

// answerTransport has pion answer one transport.
func (p *Peer) answerTransport(ctx context.Context, pc *webrtc.PeerConnection, sections []*section) (*sdp.SessionDescription, error) {
	text, err := p.offer.forPion(sections)
	if err != nil {
		return nil, err
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: text}); err != nil {
		return nil, p.bad("apply offer", err)
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return nil, p.bad("create answer", err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return nil, p.bad("apply answer", err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return nil, fmt.Errorf("gather candidates: %w", ctx.Err())
	}
	d := new(sdp.SessionDescription)
	if err := d.UnmarshalString(pc.LocalDescription().SDP); err != nil {
		return nil, p.bad("read answer", err)
	}
	return d, nil
}

// bad is the error for an offer that pion refuses. Its reason may quote the offer, so it is for debugging only.
func (p *Peer) bad(what string, err error) error {
	p.log.Debug("offer refused by pion", "step", what, "error", err)
	return fmt.Errorf("%w: cannot %s", ErrBadOffer, what)
}

// refusedAnswer is the answer to a section that is not accepted.
func (s *section) refusedAnswer() *sdp.MediaDescription {
	m := &sdp.MediaDescription{
		MediaName:             sdp.MediaName{Media: s.kind(), Formats: s.media.MediaName.Formats},
		ConnectionInformation: &sdp.ConnectionInformation{NetworkType: "IN", AddressType: "IP4", Address: &sdp.Address{Address: "0.0.0.0"}},
	}
	return m.WithValueAttribute(sdp.AttrKeyMID, s.label).WithPropertyAttribute(sdp.AttrKeyInactive)
}

// toPublisher gives a section of pion's answer the name and the protocol that the publisher offered.
func (s *section) toPublisher(m *sdp.MediaDescription) *sdp.MediaDescription {
	m.MediaName.Protos = s.media.MediaName.Protos // RFC 8829 section 5.3.1
	kept := m.Attributes[:0]
	for _, a := range m.Attributes {
		if a.Key == sdp.AttrKeyMID {
			if s.mid == "" {
				continue // none was offered
			}
			a.Value = s.mid
		}
		kept = append(kept, a)
	}
	m.Attributes = kept
	return m
}

// answerGroups answers the BUNDLE groups: of each, the sections that are accepted.
func (o *offer) answerGroups(out *sdp.SessionDescription) {
	out.Attributes = slices.DeleteFunc(out.Attributes, func(a sdp.Attribute) bool { return a.Key == sdp.AttrKeyGroup })
	for _, group := range o.bundles() {
		value := "BUNDLE"
		for _, mid := range group {
			for i, s := range o.sections {
				if s.mid == mid && s.accepted() && out.MediaDescriptions[i].MediaName.Port.Value != 0 {
					value += " " + mid
				}
			}
		}
		if value != "BUNDLE" {
			out.WithValueAttribute(sdp.AttrKeyGroup, value)
		}
	}
}
