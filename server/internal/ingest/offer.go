// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// Bounds of one offer.
const (
	maxSections = 64
	// maxLayers is how many qualities of one picture are received; those that are offered beyond are not.
	maxLayers = 4
)

// offer is an SDP offer and what becomes of each of its sections.
type offer struct {
	session  *sdp.SessionDescription
	sections []*section
	// transports are the accepted sections by the connection that carries them: one for those in a BUNDLE group, or
	// with the same ICE credentials, and one for each other.
	transports [][]*section
}

// section is one m= section of an offer.
type section struct {
	index   int
	session *sdp.SessionDescription
	media   *sdp.MediaDescription
	mid     string // as offered; may be empty
	label   string // the same, or a name that is unique in the offer
	ice     iceCredentials
	sends   bool
	chosen  []format // the codec, and the formats that accompany it
	rids    []string // of its layers (RFC 8852), the publisher's order
	// streams are the SSRCs that it declares: one, or the tracks of Plan B, or the layers of one picture.
	streams []ssrcSet

	closed  bool   // by the publisher: its port is 0
	refusal string // why we refuse it; empty when we do not
}

// ssrcSet is a declared stream and the streams that repair it (RFC 5576).
type ssrcSet struct {
	ssrc    string
	repairs []sdp.Attribute // its ssrc-group lines
	msid    string
	layer   string // the same for all layers of one picture; empty when it is the only one
}

type iceCredentials struct{ ufrag, pwd, fingerprint string }

// Refusal is a section of an offer that was not accepted, although the publisher wanted to send in it.
type Refusal struct {
	Section int    // counted from 0
	Kind    string // "audio", "video", "application", or as the publisher named it
	Reason  string // for people; holds nothing secret
}

func (s *section) kind() string   { return s.media.MediaName.Media }
func (s *section) accepted() bool { return !s.closed && s.refusal == "" }

// tracks is how many tracks it may send.
func (s *section) tracks() int {
	if !s.sends {
		return 0
	}
	n, seen := 0, map[string]bool{}
	for _, a := range s.streams {
		if a.layer == "" || !seen[a.layer] {
			n++
		}
		seen[a.layer] = true
	}
	return max(1, n)
}

// parseOffer decides on each section of an offer. Lenient where publishers are known to be off the letter: lines in
// another order (TalkCloud's SDK puts b= before c=), CR or LF line ends, unknown attributes, sections without mid.
// Every error is an [ErrBadOffer]; its text says why, and holds nothing of the offer but names of kinds and codecs.
func parseOffer(text string, cfg *Config, prefer []string) (*offer, error) {
	if len(text) > cfg.MaxOfferBytes {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrBadOffer, cfg.MaxOfferBytes)
	}
	o := &offer{session: &sdp.SessionDescription{}}
	if err := o.session.UnmarshalString(text); err != nil {
		return nil, fmt.Errorf("%w: not a session description (RFC 8866)", ErrBadOffer) // pion's error quotes the line
	}
	if n := len(o.session.MediaDescriptions); n > maxSections {
		return nil, fmt.Errorf("%w: more than %d sections", ErrBadOffer, maxSections)
	}
	for i, m := range o.session.MediaDescriptions {
		o.sections = append(o.sections, newSection(i, o.session, m))
	}
	o.label()
	tracks := 0
	for _, s := range o.sections {
		if s.decide(o, cfg, prefer); !s.accepted() {
			continue
		}
		if tracks += s.tracks(); tracks > cfg.MaxTracks {
			s.refusal = fmt.Sprintf("more than %d tracks in one offer", cfg.MaxTracks)
		}
	}
	o.group()
	if !slices.ContainsFunc(o.sections, func(s *section) bool { return s.accepted() && s.sends }) {
		return nil, o.nothing()
	}
	return o, nil
}

func newSection(i int, d *sdp.SessionDescription, m *sdp.MediaDescription) *section {
	s := &section{index: i, session: d, media: m, sends: sends(d, m)}
	s.mid, _ = m.Attribute(sdp.AttrKeyMID)
	_, bundleOnly := m.Attribute("bundle-only")
	s.closed = m.MediaName.Port.Value == 0 && !bundleOnly
	return s
}

// label gives each section a unique name. Of two with one mid the second is refused.
func (o *offer) label() {
	used := map[string]bool{}
	for _, s := range o.sections {
		switch {
		case s.mid == "":
		case used[s.mid]:
			s.refusal = "its mid is used twice"
		default:
			s.label, used[s.mid] = s.mid, true
		}
	}
	for i, s := range o.sections {
		for n := i; s.label == ""; n += len(o.sections) {
			if label := "s" + strconv.Itoa(n); !used[label] {
				s.label, used[label] = label, true
			}
		}
	}
}

// decide fills in what becomes of a section.
func (s *section) decide(o *offer, cfg *Config, prefer []string) {
	if s.closed || s.refusal != "" {
		return
	}
	if k := s.kind(); k != "audio" && k != "video" {
		s.refusal = "neither audio nor video"
		return
	}
	if s.refusal = s.credentials(o); s.refusal != "" {
		return
	}
	offered := formatsOf(s.media)
	allowed := cfg.VideoCodecs
	if s.kind() == "audio" {
		allowed = audioCodecs()
	}
	if s.chosen = choose(s.kind(), offered, allowed, prefer); s.chosen == nil {
		s.refusal = fmt.Sprintf("%s: offered %s, recorded are %s", ErrUnsupportedOffer, names(offered), strings.Join(allowed, ", "))
		return
	}
	if clash := o.clash(s); clash != 0 {
		s.refusal = fmt.Sprintf("payload type %d stands for two formats", clash)
		return
	}
	if s.rids = s.layers(); len(s.rids) == 0 {
		s.declared()
	}
}

// clash returns a payload type of s that an earlier section uses for something else (RFC 9143 section 9.1); 0 for none.
func (o *offer) clash(s *section) uint8 {
	for _, other := range o.sections[:s.index] {
		if !other.accepted() {
			continue
		}
		for _, a := range other.chosen {
			for _, b := range s.chosen {
				if a.pt == b.pt && (a != b || other.kind() != s.kind()) && o.sameTransport(other, s) {
					return a.pt
				}
			}
		}
	}
	return 0
}

// nothing is the error for an offer of which no section is left.
func (o *offer) nothing() error {
	refused := o.refusals()
	if len(refused) == 0 {
		return fmt.Errorf("%w: nothing is sent in it", ErrBadOffer)
	}
	var reasons []string
	unsupported := true
	for _, r := range refused {
		reasons = append(reasons, r.String())
		unsupported = unsupported && strings.HasPrefix(r.Reason, ErrUnsupportedOffer.Error())
	}
	text := strings.Join(reasons[:min(len(reasons), 8)], "; ")
	if unsupported {
		return &unsupportedError{text}
	}
	return fmt.Errorf("%w: %s", ErrBadOffer, text)
}

// String names the section and the reason.
func (r Refusal) String() string {
	return fmt.Sprintf("section %d (%s): %s", r.Section, r.Kind, r.Reason)
}

// unsupportedError is an ErrBadOffer and an ErrUnsupportedOffer.
type unsupportedError struct{ text string }

func (e *unsupportedError) Error() string   { return ErrBadOffer.Error() + ": " + e.text }
func (e *unsupportedError) Unwrap() []error { return []error{ErrBadOffer, ErrUnsupportedOffer} }

// refusals lists the sections that we refuse and in which something was to be sent.
func (o *offer) refusals() []Refusal {
	var out []Refusal
	for _, s := range o.sections {
		if s.refusal != "" && s.sends {
			kind := s.kind()
			out = append(out, Refusal{Section: s.index, Kind: kind[:min(len(kind), 20)], Reason: s.refusal})
		}
	}
	return out
}

// sends reports whether the section offers to send to us. Its own direction goes before the session's (RFC 8866 section
// 6.7).
func sends(d *sdp.SessionDescription, m *sdp.MediaDescription) bool {
	for _, has := range []func(string) (string, bool){m.Attribute, d.Attribute} {
		for _, dir := range []string{sdp.AttrKeySendRecv, sdp.AttrKeySendOnly, sdp.AttrKeyRecvOnly, sdp.AttrKeyInactive} {
			if _, ok := has(dir); ok {
				return dir == sdp.AttrKeySendRecv || dir == sdp.AttrKeySendOnly
			}
		}
	}
	return true
}

// credentials finds the ICE credentials (lengths: RFC 8839 section 5.4) and the certificate fingerprint of a section:
// its own, the session's (RFC 8122 section 5), or those of the first of its BUNDLE group (RFC 9143 section 7.1.3).
func (s *section) credentials(o *offer) (problem string) {
	find := func(key string) string {
		if v, ok := s.media.Attribute(key); ok {
			return v
		}
		if v, ok := o.session.Attribute(key); ok {
			return v
		}
		if tag := o.tag(s.mid); tag != nil {
			v, _ := tag.media.Attribute(key)
			return v
		}
		return ""
	}
	s.ice = iceCredentials{find("ice-ufrag"), find("ice-pwd"), find("fingerprint")}
	switch {
	case len(s.ice.ufrag) < 4 || len(s.ice.ufrag) > 256:
		return "no valid ice-ufrag"
	case len(s.ice.pwd) < 22 || len(s.ice.pwd) > 256:
		return "no valid ice-pwd"
	case len(strings.Fields(s.ice.fingerprint)) != 2:
		return "no valid certificate fingerprint"
	}
	return ""
}

// hasUfrag reports whether ufrag is of this offer; another one would be an ICE restart.
func (o *offer) hasUfrag(ufrag string) bool {
	return slices.ContainsFunc(o.sections, func(s *section) bool { return s.ice.ufrag == ufrag })
}

// bundles lists the BUNDLE groups.
func (o *offer) bundles() [][]string {
	var out [][]string
	for _, a := range o.session.Attributes {
		if f := strings.Fields(a.Value); a.Key == sdp.AttrKeyGroup && len(f) > 1 && f[0] == "BUNDLE" {
			out = append(out, f[1:])
		}
	}
	return out
}

// tag is the first section of the BUNDLE group that mid is in, or nil.
func (o *offer) tag(mid string) *section {
	for _, group := range o.bundles() {
		if mid == "" || !slices.Contains(group, mid) {
			continue
		}
		for _, s := range o.sections {
			if s.mid == group[0] {
				return s
			}
		}
	}
	return nil
}

// sameTransport reports whether two sections share a connection.
func (o *offer) sameTransport(a, b *section) bool {
	tag := o.tag(a.mid)
	return tag != nil && tag == o.tag(b.mid) || a.ice.ufrag == b.ice.ufrag && a.ice.pwd == b.ice.pwd
}

// group sorts the accepted sections by transport. One in which nothing is sent has none of its own.
func (o *offer) group() {
	for _, s := range o.sections {
		if !s.accepted() {
			continue
		}
		i := slices.IndexFunc(o.transports, func(t []*section) bool { return o.sameTransport(t[0], s) })
		if i < 0 {
			i, o.transports = len(o.transports), append(o.transports, nil)
		}
		o.transports[i] = append(o.transports[i], s)
	}
	o.transports = slices.DeleteFunc(o.transports, func(t []*section) bool {
		if slices.ContainsFunc(t, func(s *section) bool { return s.sends }) {
			return false
		}
		for _, s := range t {
			s.closed = true
		}
		return true
	})
}

// layers lists the rids that the publisher offers to send (RFC 8851, RFC 8853; older drafts say "send rid=a;b") with
// the chosen codec. Of alternatives the first is taken.
func (s *section) layers() []string {
	var offered []string
	for _, a := range s.media.Attributes {
		f := strings.Fields(a.Value)
		if a.Key != "rid" || len(f) < 2 || f[1] != "send" || len(f) > 2 && !s.permits(f[2]) {
			continue
		}
		offered = append(offered, f[0])
	}
	value, ok := s.media.Attribute("simulcast")
	if !ok {
		return offered[:min(len(offered), maxLayers)]
	}
	var out []string
	f := strings.Fields(value)
	for i := 0; i+1 < len(f); i += 2 {
		if f[i] != "send" {
			continue
		}
		for alternatives := range strings.SplitSeq(strings.TrimPrefix(f[i+1], "rid="), ";") {
			rid, _, _ := strings.Cut(alternatives, ",")
			rid = strings.TrimPrefix(rid, "~")
			if slices.Contains(offered, rid) && len(out) < maxLayers {
				out = append(out, rid)
			}
		}
	}
	return out
}

// permits reports whether the restrictions of a rid allow the chosen codec.
func (s *section) permits(restrictions string) bool {
	for r := range strings.SplitSeq(restrictions, ";") {
		if types, ok := strings.CutPrefix(r, "pt="); ok {
			return slices.Contains(strings.Split(types, ","), strconv.Itoa(int(s.chosen[0].pt)))
		}
	}
	return true
}

// declared sorts the SSRCs of a section: the streams, what repairs them, and which are layers of one picture: those of
// an a=ssrc-group:SIM, and those with one msid.
func (s *section) declared() {
	repair, layer := map[string]bool{}, map[string]string{}
	groups := map[string][]sdp.Attribute{} // by the stream that they are for
	for _, a := range s.media.Attributes {
		f := strings.Fields(a.Value)
		if a.Key != sdp.AttrKeySSRCGroup || len(f) < 3 {
			continue
		}
		for _, ssrc := range f[1:] {
			if f[0] == "SIM" {
				layer[ssrc] = f[1]
			} else if ssrc != f[1] {
				repair[ssrc] = true
			}
		}
		if f[0] != "SIM" {
			groups[f[1]] = append(groups[f[1]], a)
		}
	}
	for _, a := range s.media.Attributes {
		ssrc, rest, _ := strings.Cut(a.Value, " ")
		if _, err := strconv.ParseUint(ssrc, 10, 32); a.Key != sdp.AttrKeySSRC || err != nil || repair[ssrc] {
			continue
		}
		i := slices.IndexFunc(s.streams, func(set ssrcSet) bool { return set.ssrc == ssrc })
		if i < 0 {
			i, s.streams = len(s.streams), append(s.streams, ssrcSet{ssrc: ssrc, repairs: groups[ssrc], layer: layer[ssrc]})
		}
		if msid, ok := strings.CutPrefix(rest, "msid:"); ok {
			s.streams[i].msid = msid
		}
	}
	s.gather()
}

// gather joins the streams with one msid, and bounds the layers of each picture.
func (s *section) gather() {
	count := map[string]int{}
	for i := range s.streams {
		a := &s.streams[i]
		if a.layer == "" && a.msid != "" {
			a.layer = "msid " + a.msid
		}
		count[a.layer]++
	}
	kept := s.streams[:0]
	seen := map[string]int{}
	for _, a := range s.streams {
		if count[a.layer] == 1 || s.kind() != "video" {
			a.layer = ""
		}
		if seen[a.layer]++; a.layer == "" || seen[a.layer] <= maxLayers {
			kept = append(kept, a)
		}
	}
	s.streams = kept
}
