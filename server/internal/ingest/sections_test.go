// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/classrec/classrec/server/internal/ingest"
)

// offerer is a publisher made of pion's parts: what the package publisher does not do.
type offerer struct {
	pc     *webrtc.PeerConnection
	tracks []*webrtc.TrackLocalStaticRTP
}

func newOfferer(t testing.TB, semantics webrtc.SDPSemantics) *offerer {
	t.Helper()
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	if err := webrtc.ConfigureSimulcastExtensionHeaders(media); err != nil {
		t.Fatal(err)
	}
	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true)
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeTCP4}) // TCP as its active side
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	api := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(e))
	pc, err := api.NewPeerConnection(webrtc.Configuration{SDPSemantics: semantics})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	return &offerer{pc: pc}
}

// add adds a VP8 track, with layers if rids are given.
func (o *offerer) add(t testing.TB, id string, rids ...string) {
	t.Helper()
	var sender *webrtc.RTPSender
	for i := range max(1, len(rids)) {
		var options []func(*webrtc.TrackLocalStaticRTP)
		if len(rids) > 0 {
			options = append(options, webrtc.WithRTPStreamID(rids[i]))
		}
		track, err := webrtc.NewTrackLocalStaticRTP(
			webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, id, "stream-"+id, options...)
		if err != nil {
			t.Fatal(err)
		}
		if sender == nil {
			sender, err = o.pc.AddTrack(track)
		} else {
			err = sender.AddEncoding(track)
		}
		if err != nil {
			t.Fatal(err)
		}
		o.tracks = append(o.tracks, track)
	}
}

// offer returns the complete offer.
func (o *offerer) offer(t testing.TB) string {
	t.Helper()
	offer, err := o.pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(o.pc)
	if err := o.pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	receive(t, gathered, "candidates")
	return o.pc.LocalDescription().SDP
}

func (o *offerer) accept(t testing.TB, answer string) {
	t.Helper()
	if err := o.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
}

// send writes packets on all tracks until the test ends. The payload says which track it is of.
func (o *offerer) send(ctx context.Context, rids ...string) {
	var mid, rid uint8
	for _, s := range o.pc.GetSenders() {
		for _, e := range s.GetParameters().HeaderExtensions {
			switch e.URI {
			case "urn:ietf:params:rtp-hdrext:sdes:mid":
				mid = uint8(e.ID)
			case "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id":
				rid = uint8(e.ID)
			}
		}
	}
	for n := uint16(0); ctx.Err() == nil; n++ {
		for i, track := range o.tracks {
			p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: n, Timestamp: uint32(n) * 1800, Marker: true}}
			p.Payload = binary.BigEndian.AppendUint16([]byte{0x10, 0}, uint16(i))
			if len(rids) > 0 {
				_ = p.SetExtension(mid, []byte("0")) // one-byte headers take any id
				_ = p.SetExtension(rid, []byte(rids[i]))
			}
			_ = track.WriteRTP(p) // fails before the connection, and after its end
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// publishRaw connects an offerer's offer, changed by change, and sends until the test's end.
func publishRaw(t *testing.T, o *offerer, h ingest.Handler, change func(string) string, rids ...string) {
	t.Helper()
	s := newServer(t, ingest.Config{})
	_, answer, err := s.Accept(t.Context(), change(o.offer(t)), h)
	if err != nil {
		t.Fatal(err)
	}
	o.accept(t, answer)
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan struct{})
	go func() { defer close(sent); o.send(ctx, rids...) }()
	t.Cleanup(func() { cancel(); <-sent })
}

// waitSenders waits for a packet of each of n senders and returns the tracks they came in.
func waitSenders(t *testing.T, h *sink, n int) []*ingest.Track {
	t.Helper()
	var tracks []*ingest.Track
	for range n {
		tracks = append(tracks, receive(t, h.tracks, "track"))
	}
	seen := map[uint16]bool{}
	for len(seen) < n {
		p := receive(t, h.packets, "packet").rtp.Payload
		seen[binary.BigEndian.Uint16(p[2:])] = true
	}
	return tracks
}

func TestPeer_SimulcastByRID(t *testing.T) {
	t.Parallel()
	o, h := newOfferer(t, webrtc.SDPSemanticsUnifiedPlan), newSink()
	o.add(t, "camera", "q", "h", "f")
	publishRaw(t, o, h, func(s string) string { return s }, "q", "h", "f")
	for _, tr := range waitSenders(t, h, 3) {
		if tr.Simulcast() == "" {
			t.Error("a layer is a track of its own")
		}
	}
}

// TestPeer_SimulcastBySSRC says in Plan B's words that three streams are one picture: what older Chromium and
// TalkCloud's SDK offer.
func TestPeer_SimulcastBySSRC(t *testing.T) {
	t.Parallel()
	o, h := newOfferer(t, webrtc.SDPSemanticsPlanB), newSink()
	for _, id := range []string{"a", "b", "c"} {
		o.add(t, id)
	}
	publishRaw(t, o, h, func(s string) string {
		group, ssrcs := "a=ssrc-group:SIM", map[string]bool{}
		for line := range strings.Lines(s) {
			if v, ok := strings.CutPrefix(line, "a=ssrc:"); ok {
				if ssrc, _, _ := strings.Cut(v, " "); !ssrcs[ssrc] && !strings.Contains(s, " "+ssrc+"\r\n") {
					ssrcs[ssrc] = true
					group += " " + ssrc
				}
			}
		}
		return s + group + "\r\n"
	})
	layers := map[string]int{}
	for _, tr := range waitSenders(t, h, 3) {
		layers[tr.Simulcast()]++
	}
	if len(layers) != 1 || layers[""] != 0 {
		t.Errorf("layers of %v, want of one picture", layers)
	}
}

func TestPeer_PlanB(t *testing.T) {
	t.Parallel()
	o, h := newOfferer(t, webrtc.SDPSemanticsPlanB), newSink()
	o.add(t, "camera")
	o.add(t, "screen")
	publishRaw(t, o, h, func(s string) string {
		if strings.Count(s, "m=video") != 1 {
			t.Errorf("not Plan B:\n%s", s)
		}
		return s
	})
	ids := map[string]bool{}
	for _, tr := range waitSenders(t, h, 2) {
		ids[tr.ID()] = true
		if tr.Simulcast() != "" {
			t.Error("a track is taken for a layer")
		}
	}
	if !ids["camera"] || !ids["screen"] {
		t.Errorf("tracks %v", ids)
	}
}

// TestPeer_NoBundle has two sections with a transport each, as GStreamer's webrtcbin offers them by default.
func TestPeer_NoBundle(t *testing.T) {
	t.Parallel()
	h, s := newSink(), newServer(t, ingest.Config{})
	var text string
	var both []*offerer
	for i := range 2 {
		o := newOfferer(t, webrtc.SDPSemanticsUnifiedPlan)
		o.add(t, string(rune('a'+i)))
		both = append(both, o)
		offer := o.offer(t)
		at := strings.Index(offer, "m=video")
		if i == 0 {
			text = strings.ReplaceAll(offer[:at], "a=group:BUNDLE 0\r\n", "") + offer[at:]
			continue
		}
		fingerprint := offer[strings.Index(offer, "a=fingerprint:"):]
		fingerprint = fingerprint[:strings.Index(fingerprint, "\n")+1]
		text += strings.Replace(offer[at:], "a=mid:0", "a=mid:1", 1) + fingerprint
	}
	_, answer, err := s.Accept(t.Context(), text, h)
	if err != nil {
		t.Fatal(err)
	}
	first := strings.Index(answer, "m=video")
	second := first + 1 + strings.Index(answer[first+1:], "m=video")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	for i, section := range []string{answer[first:second], answer[second:]} {
		both[i].accept(t, answer[:first]+"a=group:BUNDLE 0\r\n"+strings.Replace(section, "a=mid:1", "a=mid:0", 1))
		go func() { both[i].send(ctx); done <- struct{}{} }()
	}
	t.Cleanup(func() { cancel(); <-done; <-done })
	for range 2 {
		receive(t, h.tracks, "track")
	}
	ssrcs := map[uint32]bool{}
	for len(ssrcs) < 2 {
		ssrcs[receive(t, h.packets, "packet").rtp.SSRC] = true
	}
}
