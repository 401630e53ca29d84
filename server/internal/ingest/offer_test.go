// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/classrec/classrec/server/internal/ingest"
)

// browserOffer is what Chromium offers for a camera and a microphone, shortened, with the changes that TalkCloud's SDK
// makes: b=AS before c=, no transport-cc feedback, NACK for Opus, no candidates.
var browserOffer = strings.ReplaceAll(`v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS stream
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:Tk7a
a=ice-pwd:zvZkKhIoqVMx6zDjbHqKxnZs
a=ice-options:trickle
a=fingerprint:sha-256 D2:B9:31:8F:DF:24:D8:0E:ED:D2:EF:25:9E:AF:6F:B8:34:AE:53:9C:E6:F3:8F:F2:64:15:FA:E8:7F:53:2D:38
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendrecv
a=msid:stream audio-track
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 nack
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:13 CN/8000
a=rtpmap:110 telephone-event/48000
a=rtpmap:126 telephone-event/8000
a=ssrc:3570614608 cname:4TOk42mSjXCkVIa6
a=ssrc:3570614608 msid:stream audio-track
m=video 9 UDP/TLS/RTP/SAVPF 96 97 103 104 45 46 98 99 114 115
b=AS:256
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:Tk7a
a=ice-pwd:zvZkKhIoqVMx6zDjbHqKxnZs
a=ice-options:trickle
a=fingerprint:sha-256 D2:B9:31:8F:DF:24:D8:0E:ED:D2:EF:25:9E:AF:6F:B8:34:AE:53:9C:E6:F3:8F:F2:64:15:FA:E8:7F:53:2D:38
a=setup:actpass
a=mid:1
a=extmap:14 urn:ietf:params:rtp-hdrext:toffset
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=extmap:13 urn:3gpp:video-orientation
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendrecv
a=msid:stream video-track
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 goog-remb
a=rtcp-fb:96 ccm fir
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:103 H264/90000
a=rtcp-fb:103 nack
a=rtcp-fb:103 nack pli
a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f
a=rtpmap:104 rtx/90000
a=fmtp:104 apt=103
a=rtpmap:45 AV1/90000
a=rtpmap:46 rtx/90000
a=fmtp:46 apt=45
a=rtpmap:98 VP9/90000
a=fmtp:98 profile-id=0
a=rtpmap:99 rtx/90000
a=fmtp:99 apt=98
a=rtpmap:114 red/90000
a=rtpmap:115 ulpfec/90000
a=ssrc-group:FID 2231627014 632943048
a=ssrc:2231627014 cname:4TOk42mSjXCkVIa6
a=ssrc:2231627014 msid:stream video-track
a=ssrc:632943048 cname:4TOk42mSjXCkVIa6
a=ssrc:632943048 msid:stream video-track
`, "\n", "\r\n")

// edited is browserOffer with a replacement, which must change it.
func edited(t testing.TB, old, with string) string {
	t.Helper()
	out := strings.ReplaceAll(browserOffer, old, with)
	if out == browserOffer {
		t.Fatalf("offer has no %q", old)
	}
	return out
}

func TestServer_AcceptOffers(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{})
	h264First := strings.Replace(browserOffer, "SAVPF 96 97 103 104", "SAVPF 103 104 96 97", 1)
	noSound := strings.NewReplacer("opus", "speex", "G722", "X", "PCMU", "Y", "PCMA", "Z").Replace(browserOffer)
	recvOnly := strings.Replace(browserOffer, "a=sendrecv", "a=recvonly", 1)
	for name, tc := range map[string]struct {
		offer string
		want  []string // in the answer
		not   []string // not in it
	}{
		"TalkCloud's SDK": {
			browserOffer,
			[]string{"opus/48000/2", "VP8/90000", "rtx/90000", "a=recvonly", "a=candidate:", "127.0.0.1", "nack pli"},
			[]string{"VP9", "H264", "AV1", "PCMU"},
		},
		"the offer's order": {h264First, []string{"H264/90000", "profile-level-id=42001f", "apt=103"}, []string{"VP8", "apt=96"}},
		"sendonly":          {edited(t, "a=sendrecv", "a=sendonly"), []string{"a=recvonly"}, nil},
		"LF line ends":      {strings.ReplaceAll(browserOffer, "\r\n", "\n"), []string{"VP8/90000"}, nil},
		"next of the order": {edited(t, "VP8", "X-VP8"), []string{"H264/90000"}, []string{"VP9"}},
		"simulcast": {
			edited(t, "a=msid:stream video-track", "a=rid:h send\r\na=rid:l send\r\na=simulcast:send h;~l"),
			[]string{"VP8/90000", "a=rid:h recv", "a=rid:l recv", "a=simulcast:recv h;l"},
			nil,
		},
		"simulcast of an old draft": {
			edited(t, "a=msid:stream video-track", "a=rid:h send\r\na=rid:l send\r\na=simulcast: send rid=h;l"),
			[]string{"a=simulcast:recv h;l"},
			nil,
		},
		"layer of another codec": {
			edited(t, "a=msid:stream video-track", "a=rid:h send pt=96\r\na=rid:l send pt=98\r\na=simulcast:send h;l"),
			[]string{"a=simulcast:recv h\r\n"},
			[]string{"rid:l"},
		},
		"simulcast of Firefox": {
			edited(t, "a=msid:stream video-track", "a=msid:{s} {t}\r\na=rid:q send\r\na=rid:h send\r\na=simulcast:send q;h\r\n"+
				"a=extmap:5 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\na=ssrc:5 cname:{x}\r\na=ssrc:6 cname:{x}"),
			[]string{"a=simulcast:recv q;h", "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"},
			nil,
		},
		"layers by ssrc-group": {
			edited(t, "a=ssrc-group:FID", "a=ssrc-group:SIM 2231627014 7 8\r\na=ssrc:7 cname:x\r\na=ssrc:8 cname:x\r\na=ssrc-group:FID"),
			[]string{"a=mid:1\r\n", "a=group:BUNDLE 0 1\r\n"},
			[]string{"a=mid:1.1"},
		},
		"Plan B": {
			edited(t, "a=ssrc-group:FID", "a=ssrc:7 msid:other video2\r\na=ssrc-group:FID"),
			[]string{"a=mid:1\r\n", "a=group:BUNDLE 0 1\r\n"},
			[]string{"a=mid:1.1"},
		},
		"no mid": {
			strings.NewReplacer("a=mid:0\r\n", "", "a=mid:1\r\n", "", "a=group:BUNDLE 0 1\r\n", "").Replace(browserOffer),
			[]string{"opus/48000/2", "VP8/90000"},
			[]string{"a=mid", "a=group"},
		},
		"no BUNDLE":     {edited(t, "a=group:BUNDLE 0 1\r\n", ""), []string{"opus/48000/2", "VP8/90000", "a=mid:1"}, []string{"a=group"}},
		"no msid":       {edited(t, "a=msid:stream video-track\r\n", ""), []string{"VP8/90000"}, nil},
		"no SSRC":       {edited(t, "a=ssrc", "a=x"), []string{"VP8/90000"}, nil},
		"extmap of all": {strings.ReplaceAll(edited(t, "a=extmap:3 ", "a=x:3 "), "t=0 0\r\n", "t=0 0\r\na=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n"), []string{"a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"}, nil},
		"data channel": {
			strings.Replace(edited(t, "a=group:BUNDLE 0 1", "a=group:BUNDLE data 0 1"), "m=audio", dataSection+"m=audio", 1),
			[]string{"m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n", "a=mid:data", "a=group:BUNDLE 0 1\r\n"},
			nil,
		},
		"rejected in the middle": {
			strings.Replace(browserOffer, "m=video", "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:x\r\nm=video", 1),
			[]string{"m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n", "VP8/90000", "a=mid:x"},
			nil,
		},
		"audio unknown":        {noSound, []string{"m=audio 0 ", "VP8/90000", "a=group:BUNDLE 1\r\n"}, nil},
		"video unknown":        {strings.NewReplacer("VP8", "X1", "VP9", "X2", "H264", "X3", "AV1", "X4").Replace(browserOffer), []string{"m=video 0 ", "opus/48000/2"}, nil},
		"receives too":         {recvOnly, []string{"a=inactive", "a=recvonly", "VP8/90000"}, nil},
		"session's direction":  {strings.Replace(edited(t, "a=sendrecv\r\n", ""), "t=0 0\r\n", "t=0 0\r\na=sendonly\r\n", 1), []string{"a=recvonly"}, nil},
		"bad candidate":        {edited(t, "a=mid:0", "a=candidate:1 1 udp x y z\r\na=mid:0"), []string{"opus/48000/2"}, nil},
		"another protocol":     {edited(t, "UDP/TLS/RTP/SAVPF", "RTP/SAVPF"), []string{"m=video 9 RTP/SAVPF 96 97\r\n"}, nil},
		"AV1 alone":            {strings.NewReplacer("VP8", "X1", "VP9", "X2", "H264", "X3").Replace(browserOffer), []string{"AV1/90000", "apt=45"}, nil},
		"G.711 alone":          {strings.NewReplacer("opus", "X", "G722", "Y").Replace(browserOffer), []string{"a=rtpmap:0 PCMU/8000"}, nil},
		"G.722 first":          {edited(t, "SAVPF 111 63 9", "SAVPF 9 111 63"), []string{"a=rtpmap:9 G722/8000"}, []string{"opus"}},
		"no rtpmap":            {strings.Replace(edited(t, "a=rtpmap:8 PCMA/8000\r\n", ""), "SAVPF 111 63 9", "SAVPF 8 111 63 9", 1), []string{"a=rtpmap:8 PCMA/8000"}, []string{"opus"}},
		"interleaved H264":     {strings.Replace(h264First, "packetization-mode=1", "packetization-mode=2", 1), []string{"VP8/90000"}, []string{"H264"}},
		"lower-case codec":     {edited(t, "VP8", "vp8"), []string{"vp8/90000"}, nil},
		"candidates falsified": {edited(t, "a=mid:0", "a=candidate:1 1 udp 2113937151 254.254.254.254 50000 typ host\r\na=mid:0"), []string{"a=candidate:"}, nil},
		"mDNS candidate":       {edited(t, "a=mid:0", "a=candidate:1 1 udp 2113937151 0b9d8ed1-4d2b-4d2b-8f2b-0b9d8ed14d2b.local 50000 typ host\r\na=mid:0"), []string{"a=candidate:"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newSink()
			p, answer, err := s.Accept(t.Context(), tc.offer, h)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tc.want {
				if !strings.Contains(answer, want) {
					t.Errorf("answer has no %q:\n%s", want, answer)
				}
			}
			for _, not := range tc.not {
				if strings.Contains(answer, not) {
					t.Errorf("answer has %q:\n%s", not, answer)
				}
			}
			for _, c := range []string{
				"candidate:1 1 udp 2113937151 127.0.0.1 50000 typ host generation 0 ufrag Tk7a network-cost 999",
				"a=candidate:2 1 udp 2113937151 254.254.254.254 50000 typ host",
				"candidate:3 1 udp 2113937151 0b9d8ed1-4d2b-4d2b-8f2b-0b9d8ed14d2b.local 50000 typ host",
				"candidate:4 1 tcp 1518280447 127.0.0.1 9 typ host tcptype active",
				"end", "",
			} {
				if err := p.AddCandidate(c, "end", -1); err != nil {
					t.Errorf("candidate %q: %v", c, err)
				}
			}
			if err := p.AddCandidate("candidate:nonsense", "0", 0); !errors.Is(err, ingest.ErrBadCandidate) {
				t.Errorf("bad candidate: %v", err)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if err := receive(t, h.closed, "close"); err != nil {
				t.Errorf("closed with %v", err)
			}
			if err := p.AddCandidate("candidate:1 1 udp 1 127.0.0.1 5 typ host", "0", 0); !errors.Is(err, ingest.ErrClosed) {
				t.Errorf("candidate after close: %v", err)
			}
		})
	}
}

// dataSection is a data channel as Chromium offers it.
const dataSection = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:Tk7a\r\n" +
	"a=ice-pwd:zvZkKhIoqVMx6zDjbHqKxnZs\r\na=setup:actpass\r\na=mid:data\r\na=sctp-port:5000\r\n"

// badOffers are refused, none with a peer left behind.
func badOffers(t testing.TB) map[string]string {
	section := browserOffer[strings.Index(browserOffer, "m=audio"):strings.Index(browserOffer, "m=video")]
	return map[string]string{
		"empty":             "",
		"garbage":           "hello",
		"HTML":              "<html><body>502 Bad Gateway</body></html>",
		"half":              browserOffer[:700],
		"no sections":       browserOffer[:strings.Index(browserOffer, "m=audio")],
		"no ufrag":          edited(t, "a=ice-ufrag:Tk7a\r\n", ""),
		"no password":       edited(t, "a=ice-pwd:zvZkKhIoqVMx6zDjbHqKxnZs\r\n", ""),
		"short password":    edited(t, "zvZkKhIoqVMx6zDjbHqKxnZs", "short"),
		"no fingerprint":    edited(t, "a=fingerprint:sha-256 ", "a=x:"),
		"odd fingerprint":   edited(t, "a=fingerprint:sha-256 ", "a=fingerprint:"),
		"nothing sent":      edited(t, "a=sendrecv", "a=recvonly"),
		"data channel only": browserOffer[:strings.Index(browserOffer, "m=audio")] + dataSection,
		"too long":          browserOffer + strings.Repeat("a=x:yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", 2000),
		"too many sections": browserOffer + strings.Repeat(strings.Replace(section, "a=mid:0\r\n", "", 1), 64),
		"nul bytes":         strings.ReplaceAll(browserOffer, "sendrecv", "\x00\x00"),
	}
}

func TestServer_AcceptBadOffers(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{MaxPeers: 1})
	for name, text := range badOffers(t) {
		h := newSink()
		p, _, err := s.Accept(t.Context(), text, h)
		if name == "nul bytes" { // pion may take these; all that is asked is to survive
			if err == nil {
				_ = p.Close()
			}
			continue
		}
		if !errors.Is(err, ingest.ErrBadOffer) {
			t.Errorf("%s: %v, want ErrBadOffer", name, err)
		}
		if p != nil && err != nil {
			t.Errorf("%s: a peer beside the error", name)
		}
	}
	_, _, err := s.Accept(t.Context(), nothingKnown, newSink())
	if !errors.Is(err, ingest.ErrUnsupportedOffer) || !errors.Is(err, ingest.ErrBadOffer) {
		t.Errorf("no codec in common: %v", err)
	}
	for _, want := range []string{"section 0 (audio)", "section 1 (video)", "offered speex", "X1", "recorded are", "VP8"} {
		if err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if p, _, err := s.Accept(ctx, browserOffer, newSink()); err == nil {
		_ = p.Close() // gathering was quicker than the look at the context
	}
	// The one place is free again.
	p, _, err := s.Accept(t.Context(), browserOffer, newSink())
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Close()
}

// nothingKnown has no codec that we know.
var nothingKnown = strings.NewReplacer(
	"opus", "speex", "G722", "X0", "PCMU", "X5", "PCMA", "X6", "VP8", "X1", "VP9", "X2", "H264", "X3", "AV1", "X4",
).Replace(browserOffer)

// TestPeer_Refusals offers five sections, of which one is refused for each of three reasons.
func TestPeer_Refusals(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{})
	video := browserOffer[strings.Index(browserOffer, "m=video"):]
	again := strings.NewReplacer("2231627014", "77", "632943048", "78", "a=mid:1", "a=mid:1").Replace(video)
	offer := browserOffer + dataSection + again + "m=video 9 UDP/TLS/RTP/SAVPF 31\r\na=rtpmap:31 H261/90000\r\na=mid:9\r\n" +
		"a=ice-ufrag:Tk7a\r\na=ice-pwd:zvZkKhIoqVMx6zDjbHqKxnZs\r\na=fingerprint:sha-256 D2\r\n"
	p, answer, err := s.Accept(t.Context(), offer, newSink())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	var got []string
	for _, r := range p.Refusals() {
		got = append(got, r.String())
	}
	want := []string{
		"section 2 (application): neither audio nor video",
		"section 3 (video): its mid is used twice",
		"section 4 (video): no codec in common: offered H261, recorded are VP8, VP9, H264, AV1, H265",
	}
	if !slices.Equal(got, want) {
		t.Errorf("refused:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if n := strings.Count(answer, "\r\nm="); n != 5 {
		t.Errorf("%d sections in the answer:\n%s", n, answer)
	}
}

// preferrer is a Handler that would rather have H264.
type preferrer struct{ *sink }

func (preferrer) PreferredCodecs() []string { return []string{"H264"} }

func TestServer_PreferredCodecs(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{})
	for name, tc := range map[string]struct{ offer, want string }{
		"there":     {browserOffer, "H264/90000"},
		"not there": {edited(t, "H264", "X"), "VP8/90000"},
	} {
		p, answer, err := s.Accept(t.Context(), tc.offer, preferrer{newSink()})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(answer, tc.want) {
			t.Errorf("%s: answer has no %s:\n%s", name, tc.want, answer)
		}
		_ = p.Close()
	}
}

func FuzzParseOffer(f *testing.F) {
	f.Add(browserOffer)
	for _, text := range badOffers(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if err := ingest.ParseOffer(text); err != nil && !errors.Is(err, ingest.ErrBadOffer) {
			t.Errorf("error %v is not ErrBadOffer", err)
		}
	})
}

// FuzzAccept goes the whole way, through pion, on one server.
func FuzzAccept(f *testing.F) {
	f.Add(browserOffer)
	for _, text := range badOffers(f) {
		f.Add(text)
	}
	s := newServer(f, ingest.Config{})
	f.Fuzz(func(t *testing.T, text string) {
		p, answer, err := s.Accept(t.Context(), text, newSink())
		if err != nil {
			if !errors.Is(err, ingest.ErrBadOffer) {
				t.Errorf("error %v is not ErrBadOffer", err)
			}
			return
		}
		if answer == "" {
			t.Error("empty answer")
		}
		_ = p.Close()
	})
}

func FuzzParseFrag(f *testing.F) {
	f.Add("a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n")
	f.Add("")
	f.Add("a=")
	f.Add("\r\n\r\n")
	f.Fuzz(func(t *testing.T, body string) {
		_, n, err := ingest.ParseFrag(body)
		if err != nil && n != 0 {
			t.Error("candidates beside an error")
		}
	})
}
