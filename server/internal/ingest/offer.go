// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pion/sdp/v3"
)

// offer is an SDP offer that has been found fit to be given to pion.
type offer struct {
	text string
	// ufrag is the ICE user name fragment of the first section, used to tell a trickled candidate from an ICE restart.
	ufrag string
}

// parseOffer checks what pion leaves unchecked or answers in a way that helps nobody. Lenient where publishers are
// known to be off the letter: lines in another order (TalkCloud's SDK puts b= before c=), CR or LF line ends, unknown
// attributes. Every error is an [ErrBadOffer].
func parseOffer(text string, maxBytes, maxTracks int) (offer, error) {
	if len(text) > maxBytes {
		return offer{}, fmt.Errorf("%w: longer than %d bytes", ErrBadOffer, maxBytes)
	}
	var d sdp.SessionDescription
	if err := d.UnmarshalString(text); err != nil {
		return offer{}, fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	o := offer{text: withoutSimulcast(text)}
	media := 0
	for i, m := range d.MediaDescriptions {
		if kind := m.MediaName.Media; kind != "audio" && kind != "video" {
			return offer{}, fmt.Errorf("%w: section %d is neither audio nor video", ErrBadOffer, i)
		}
		mid, _ := m.Attribute(sdp.AttrKeyMID)
		if mid == "" {
			return offer{}, fmt.Errorf("%w: section %d has no mid (plan B is not spoken)", ErrBadOffer, i)
		}
		ufrag, err := credentials(&d, m)
		if err != nil {
			return offer{}, fmt.Errorf("%w: section %d %w", ErrBadOffer, i, err)
		}
		if o.ufrag == "" {
			o.ufrag = ufrag
		}
		if sends(&d, m) {
			media++
		}
	}
	switch {
	case media == 0:
		return offer{}, fmt.Errorf("%w: nothing is sent in it", ErrBadOffer)
	case len(d.MediaDescriptions) > maxTracks:
		return offer{}, fmt.Errorf("%w: more than %d sections", ErrBadOffer, maxTracks)
	}
	return o, nil
}

// withoutSimulcast takes out the lines by which a publisher offers several qualities of one picture at once (RFC 8853).
// One that finds them unanswered sends a single quality, and a recording wants no more.
func withoutSimulcast(text string) string {
	if !strings.Contains(text, "a=simulcast:") && !strings.Contains(text, "a=rid:") {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "a=simulcast:") && !strings.HasPrefix(line, "a=rid:") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// sends tells whether the section offers to send to us.
func sends(d *sdp.SessionDescription, m *sdp.MediaDescription) bool {
	for _, dir := range []string{sdp.AttrKeyRecvOnly, sdp.AttrKeyInactive} {
		if _, ok := m.Attribute(dir); ok {
			return false
		}
		if _, ok := d.Attribute(dir); ok {
			return false
		}
	}
	return true
}

// attribute looks in the section, then in the session (RFC 8839 section 5.4, RFC 8122 section 5).
func attribute(d *sdp.SessionDescription, m *sdp.MediaDescription, key string) string {
	if v, ok := m.Attribute(key); ok {
		return v
	}
	v, _ := d.Attribute(key)
	return v
}

// credentials checks the ICE credentials (lengths: RFC 8839 section 5.4) and the certificate fingerprint of a section.
func credentials(d *sdp.SessionDescription, m *sdp.MediaDescription) (ufrag string, err error) {
	if m.MediaName.Port.Value == 0 {
		if _, bundleOnly := m.Attribute("bundle-only"); !bundleOnly {
			return "", nil // a rejected section
		}
	}
	ufrag = attribute(d, m, "ice-ufrag")
	pwd := attribute(d, m, "ice-pwd")
	fingerprint := attribute(d, m, "fingerprint")
	switch {
	case len(ufrag) < 4 || len(ufrag) > 256:
		return "", errors.New("has no valid ice-ufrag")
	case len(pwd) < 22 || len(pwd) > 256:
		return "", errors.New("has no valid ice-pwd")
	case len(strings.Fields(fingerprint)) != 2:
		return "", errors.New("has no valid fingerprint")
	}
	return ufrag, nil
}
