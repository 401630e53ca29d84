// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package ingest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/ingest"
)

// page publishes Chromium's fake camera and microphone by WHIP, in the way of a plain client: offer without candidates,
// candidates by PATCH. It reports each step to /report, and ends the session when /end answers.
const page = `<!doctype html><title>publish</title><script>
const report = (what) => fetch('/report', {method: 'POST', body: what});
(async () => {
  const stream = await navigator.mediaDevices.getUserMedia({audio: true, video: {width: 1280, height: 720}});
  const pc = new RTCPeerConnection();
  for (const track of stream.getTracks()) {
    const init = {direction: 'sendonly', streams: [stream]};
    if (location.search === '?simulcast' && track.kind === 'video') {
      init.sendEncodings = [{rid: 'h'}, {rid: 'l', scaleResolutionDownBy: 4}];
    }
    pc.addTransceiver(track, init);
  }
  pc.onconnectionstatechange = () => report('state ' + pc.connectionState);
  const waiting = [];
  let send = (c) => waiting.push(c);
  pc.onicecandidate = (e) => send(e.candidate);
  const offer = await pc.createOffer();
  await pc.setLocalDescription(offer);
  const created = await fetch('/whip/room', {method: 'POST', body: offer.sdp,
    headers: {'Content-Type': 'application/sdp', 'Authorization': 'Bearer good'}});
  if (created.status !== 201) throw new Error('POST ' + created.status);
  const session = created.headers.get('Location'), etag = created.headers.get('ETag');
  await pc.setRemoteDescription({type: 'answer', sdp: await created.text()});
  const ufrag = /a=ice-ufrag:(\S+)/.exec(offer.sdp)[1], pwd = /a=ice-pwd:(\S+)/.exec(offer.sdp)[1];
  send = async (c) => {
    if (!c || !c.candidate) return;
    const frag = 'a=ice-ufrag:' + ufrag + '\r\na=ice-pwd:' + pwd + '\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:' + c.sdpMid + '\r\na=' + c.candidate + '\r\n';
    const r = await fetch(session, {method: 'PATCH', body: frag, headers: {'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': etag}});
    await report('patch ' + r.status);
  };
  waiting.forEach(send);
  await fetch('/end');
  const ended = await fetch(session, {method: 'DELETE'});
  await report('delete ' + ended.status);
})().catch((e) => report('error ' + e));
</script>`

// startChromium opens url in a new headless Chromium, which is ended with the test.
func startChromium(t *testing.T, url string) {
	t.Helper()
	binary, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("chromium is needed (Debian package chromium): %v", err)
	}
	//nolint:usetesting // Chromium still writes into it when the test has ended, which TempDir takes for an error
	profile, err := os.MkdirTemp("", "classrec-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "chromium.log"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
		"--user-data-dir="+profile, url)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends its own children
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // ended by us: always an error
		if t.Failed() {
			_, _ = log.Seek(0, io.SeekStart)
			text, _ := io.ReadAll(io.LimitReader(log, 8<<10))
			t.Logf("chromium: %s", text)
		}
		_ = log.Close()
		if err := os.RemoveAll(profile); err != nil {
			t.Logf("profile left behind: %v", err)
		}
	})
}

// TestChromium_WHIP has a real browser publish, and sees both kinds of media and the reports arrive, a keyframe come on
// request, and the end. One that offers simulcast sends its two layers.
func TestChromium_WHIP(t *testing.T) {
	for _, query := range []string{"", "?simulcast"} {
		t.Run("page"+query, func(t *testing.T) { testChromium(t, query) })
	}
}

func testChromium(t *testing.T, query string) {
	h := newSink()
	s := newServer(t, ingest.Config{})
	reports := make(chan string, 256)
	end := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, page)
	})
	mux.HandleFunc("POST /report", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(io.LimitReader(r.Body, 1<<10))
		reports <- string(text)
	})
	mux.HandleFunc("GET /end", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-end:
		case <-r.Context().Done():
		}
	})
	mux.Handle("/whip/", s.WHIP(ingest.WHIPConfig{Authorize: func(r *http.Request) (ingest.Handler, error) {
		if r.Header.Get("Authorization") != "Bearer good" {
			return nil, &ingest.StatusError{Status: http.StatusUnauthorized, Message: "who are you"}
		}
		return h, nil
	}}))
	web := httptest.NewServer(mux)
	defer web.Close()
	startChromium(t, web.URL+"/"+query)

	waitReport(t, reports, "state connected")
	receive(t, h.connected, "connection")
	var video *ingest.Track
	tracks := 2
	if query == "?simulcast" {
		tracks++ // each layer is one
	}
	for range tracks {
		tr := receiveIn(t, 30*time.Second, h.tracks, "track")
		want := "audio/opus"
		if tr.Kind() == ingest.Video {
			want, video = "video/VP8", tr
		}
		if tr.Codec().MimeType != want {
			t.Errorf("%s is %s, want %s", tr.Kind(), tr.Codec().MimeType, want)
		}
		receiveIn(t, 30*time.Second, tr.SenderReports(), "sender report")
	}
	seen := map[ingest.Kind]int{}
	for seen[ingest.Audio] < 100 || seen[ingest.Video] < 100 {
		seen[receive(t, h.packets, "packet").kind]++
	}
	for len(h.packets) > 0 {
		<-h.packets
	}
	video.RequestKeyframe()
	for { // the start of a VP8 keyframe
		p := receive(t, h.packets, "keyframe")
		if b := p.rtp.Payload; p.kind == ingest.Video && len(b) > 4 && b[0]&0x10 != 0 && vp8Header(b)&1 == 0 {
			break
		}
	}
	if n := len(h.tracks); n != 0 {
		t.Errorf("%d more tracks", n)
	}
	close(end)
	waitReport(t, reports, "delete 200")
	if err := receive(t, h.closed, "close"); err != nil {
		t.Errorf("closed with %v, want nil", err)
	}
}

// waitReport waits until the page has reported want, and fails on an error of the page.
func waitReport(t *testing.T, reports <-chan string, want string) {
	t.Helper()
	for {
		got := receiveIn(t, 60*time.Second, reports, fmt.Sprintf("report %q", want))
		switch {
		case got == want:
			return
		case strings.HasPrefix(got, "error"), strings.HasPrefix(got, "patch ") && got != "patch 204":
			t.Fatalf("page reports %s", got)
		}
	}
}

// receiveIn is receive with its own patience.
func receiveIn[T any](t testing.TB, d time.Duration, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(d):
		t.Fatalf("no %s within %v", what, d)
		var none T // not reached
		return none
	}
}
