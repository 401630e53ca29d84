// SPDX-License-Identifier: Apache-2.0

package hostile_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcgzip "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// slowLoris begins requests, and does not go on. The server ends them by itself.
func slowLoris(t *testing.T, v *victim) {
	var waiting sync.WaitGroup
	for name, door := range v.doors() {
		beginnings := []string{"", "G", "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n", "\x16\x03\x01\x02\x00\x01"}
		for _, request := range []string{
			"GET /healthz", "GET /metrics", "GET /files/" + class + "/whole.webm", "POST /nothing", "POST /v1/rooms/42/recordings", "POST /v1/rooms/4%2F2/recordings",
			"POST /ClientAPI/checkroom",
		} {
			beginnings = append(beginnings, request+" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nx")
		}
		for _, say := range beginnings {
			for n := range times(10) {
				conn := connect(t, door, say)
				if n > 0 {
					defer conn.Close()
					continue
				}
				waiting.Go(func() {
					defer conn.Close()
					if _, ended := hears(conn); !ended {
						t.Errorf("%s: a connection that has said %q goes on", name, say)
					}
				})
			}
		}
	}
	v.isServed(t)
	waiting.Wait()
}

// halfOpen closes one direction, or resets, at any moment.
func halfOpen(t *testing.T, v *victim) {
	request := "POST /v1/rooms/42/recordings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"
	for _, door := range v.doors() {
		for n := range times(20) {
			conn := connect(t, door, request[:rand.IntN(len(request)+1)])
			tcp, ok := conn.(*net.TCPConn)
			if !ok {
				t.Fatal("not TCP")
			}
			if n%2 == 0 {
				_ = tcp.CloseWrite()
				defer conn.Close()
				continue
			}
			_ = tcp.SetLinger(0)
			conn.Close()
		}
	}
	v.isServed(t)
}

// crowd takes all places of a door; those who come by another one, or were inside, are served.
func crowd(t *testing.T, v *victim) {
	refused := 0
	var inside []net.Conn
	for range 500 {
		conn := connect(t, v.RoomHTTPAddr(), "")
		inside = append(inside, conn)
	}
	for _, conn := range inside[480:] {
		if text, ended := hears(conn); ended && (text == "" || strings.Contains(text, "503")) {
			refused++
		}
	}
	for _, conn := range inside {
		conn.Close()
	}
	if refused == 0 {
		t.Error("nobody was refused")
	}
}

func giantHeaders(t *testing.T, v *victim) {
	huge := strings.Repeat("x", 4<<20)
	for name, door := range map[string]net.Addr{"http": v.HTTPAddr(), "rooms": v.RoomHTTPAddr()} {
		for _, request := range []string{
			"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: " + huge + "\r\n\r\n",
			"GET /" + huge + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
			"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + strings.Repeat("A: b\r\n", 1<<19) + "\r\n",
			"GET /socket.io/?EIO=3&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: " + huge + "\r\n\r\n",
		} {
			conn := connect(t, door, request)
			text, ended := hears(conn)
			conn.Close()
			if !ended || text != "" && !strings.HasPrefix(text, "HTTP/1.1 4") {
				t.Errorf("%s: %.60s… is answered %.60q", name, request, text)
			}
		}
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-a", strings.Repeat("x", 1<<20))
	if _, err := v.api.ListRecordings(ctx, &classrecv1.ListRecordingsRequest{Room: "42"}); err == nil {
		t.Error("gRPC takes a megabyte of metadata")
	}
}

// endless is a body that has no end; it counts what was taken.
type endless struct{ taken atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.taken.Load() > 256<<20 {
		return 0, io.EOF
	}
	for i := range p {
		p[i] = ' '
	}
	e.taken.Add(int64(len(p)))
	return len(p), nil
}

func endlessBodies(t *testing.T, v *victim) {
	for _, tc := range []struct{ url, contentType string }{
		{"http://" + v.HTTPAddr().String() + "/v1/rooms/42/recordings", "application/json"},
		{"http://" + v.HTTPAddr().String() + "/healthz", "text/plain"},
		{"http://" + v.RoomHTTPAddr().String() + "/ClientAPI/checkroom", "application/x-www-form-urlencoded"},
		{"http://" + v.RoomHTTPAddr().String() + "/WebAPI/getrecordlist", "application/x-www-form-urlencoded"},
		{"http://" + v.RoomHTTPAddr().String() + "/whip/42/x", "application/sdp"},
		{"http://" + v.HTTPAddr().String() + "/whip/42/x", "application/sdp"},
	} {
		body := new(endless)
		status, text := v.ask(t, http.MethodPost, tc.url, body, "Content-Type", tc.contentType)
		// An answer may come while the body is still being sent. The platform's own calls are refused in a 200.
		refused := status < 200 || status >= 300 || strings.Contains(text, `"result":-1`)
		if taken := body.taken.Load(); !refused || taken > 64<<20 {
			t.Errorf("%s: %d %.80s, after %d bytes", tc.url, status, text, taken)
		}
	}
}

func endlessMessages(t *testing.T, v *victim) {
	_, err := v.api.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: strings.Repeat("x", 32<<20)})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("gRPC: %v", err)
	}
	// Of a message of the signaling socket the fragments never end.
	conn := upgrade(t, v.RoomHTTPAddr(), "3")
	defer conn.Close()
	first := append([]byte(nil), frame(0x01, bytes.Repeat([]byte("x"), 60<<10))...) // text, not the last
	next := frame(0x00, bytes.Repeat([]byte("x"), 60<<10))
	_, err = conn.Write(first)
	for n := 0; err == nil; n++ {
		if n > 1<<12 {
			t.Fatal("a quarter of a gigabyte was taken of one message")
		}
		_, err = conn.Write(next)
	}
}

// bomb is zeros, packed.
func bomb(t *testing.T, size int) []byte {
	t.Helper()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	zeros := make([]byte, 1<<20)
	for range size >> 20 {
		if _, err := z.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

func zipBombs(t *testing.T, v *victim) {
	packed := bomb(t, 64<<20)
	for _, url := range []string{
		"http://" + v.HTTPAddr().String() + "/v1/rooms/42/recordings",
		"http://" + v.RoomHTTPAddr().String() + "/whip/42/x",
	} {
		if status, text := v.ask(t, http.MethodPost, url, bytes.NewReader(packed), "Content-Encoding", "gzip", "Content-Type", "application/json"); status < 400 || status >= 500 {
			t.Errorf("%s: %d %.80s", url, status, text)
		}
	}
	_, err := v.api.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: strings.Repeat("\x00", 16<<20)}, grpc.UseCompressor(grpcgzip.Name))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("gRPC: %v", err)
	}
}

// manyRooms asks for a room that nobody has named before, again and again, in every way that there is.
func manyRooms(t *testing.T, v *victim) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for n := range times(100) {
		room := fmt.Sprintf("never-%d", n)
		if _, err := v.api.ListRecordings(ctx, &classrecv1.ListRecordingsRequest{Room: room}); err != nil {
			t.Fatal(err)
		}
		_, err := v.api.GetRecording(ctx, &classrecv1.GetRecordingRequest{Name: "rooms/" + room + "/recordings/x"})
		if c := status.Code(err); c != codes.NotFound && c != codes.InvalidArgument {
			t.Fatal(err)
		}
		watchCtx, leave := context.WithCancel(ctx)
		if w, err := v.api.WatchClassBegin(watchCtx, &classrecv1.WatchClassBeginRequest{Room: room}); err == nil {
			_, _ = w.Recv()
		}
		leave()
		for _, req := range []*classrecv1.StopRecordingRequest{{Room: room}, {Name: "rooms/" + room + "/recordings/1700000000"}} {
			if _, err := v.api.StopRecording(ctx, req); status.Code(err) != codes.NotFound && status.Code(err) != codes.ResourceExhausted {
				t.Fatal(err)
			}
		}
		v.ask(t, http.MethodPost, "http://"+v.RoomHTTPAddr().String()+"/ClientAPI/checkroom", strings.NewReader("serial="+room))
		v.ask(t, http.MethodPost, "http://"+v.RoomHTTPAddr().String()+"/whip/"+room+"/x", strings.NewReader("v=0"), "Content-Type", "application/sdp")
	}
	// People in rooms of their own: more than there is place for.
	taken, refused := 0, 0
	for n := range 100 {
		conn := upgrade(t, v.RoomHTTPAddr(), "3")
		defer conn.Close()
		join := fmt.Sprintf(`420["joinRoom",{"userId":"u","roomId":"many-%d","properties":{"role":2}}]`, n)
		if _, err := conn.Write(frame(0x81, []byte(join))); err != nil {
			t.Fatal(err)
		}
		text := hearUntil(t, conn, "430[")
		if strings.Contains(text, "LIMIT_EXCEEDED") {
			refused++
		} else {
			taken++
		}
	}
	if taken > 50 || refused == 0 {
		t.Errorf("%d rooms were taken, %d refused", taken, refused)
	}
}

// endlessNames asks for rooms and recordings that there are not, of each once, as fast as it is answered.
func endlessNames(t *testing.T, v *victim) {
	all := names(t)
	v.text.hear(false) // else it is the test whose memory grows
	defer v.text.hear(true)
	heap := most(t)
	var next atomic.Int64
	var refused atomic.Int64
	var asking sync.WaitGroup
	for range 16 {
		asking.Go(func() {
			for n := next.Add(1); n <= int64(all); n = next.Add(1) {
				room := fmt.Sprintf("no-room-%d", n)
				_, listed := v.api.ListRecordings(t.Context(), &classrecv1.ListRecordingsRequest{Room: room})
				_, got := v.api.GetRecording(t.Context(), &classrecv1.GetRecordingRequest{Name: "rooms/" + room + "/recordings/1700000000"})
				for call, err := range map[string]error{"list": listed, "get": got} {
					switch c := status.Code(err); {
					case c == codes.ResourceExhausted:
						refused.Add(1)
					case call == "list" && c != codes.OK, call == "get" && c != codes.NotFound:
						t.Errorf("%s of %s: %v", call, room, err)
						return
					}
				}
			}
		})
	}
	asking.Wait()
	t.Logf("%d names, of %d calls %d refused; at most %d KiB", all, 2*all, refused.Load(), heap()>>10)
}

// hearUntil reads until a text has come.
func hearUntil(t *testing.T, conn net.Conn, text string) string {
	t.Helper()
	var got []byte
	buf := make([]byte, 4<<10)
	for {
		n, err := conn.Read(buf)
		got = append(got, buf[:n]...)
		if i := bytes.Index(got, []byte(text)); i >= 0 && len(got) > i+40 {
			return string(got)
		}
		if err != nil {
			t.Fatalf("%q has not come: %v: %.200q", text, err, got)
		}
	}
}

// noise is bytes of no meaning, at every door.
func noise(t *testing.T, v *victim) {
	for name, door := range v.doors() {
		for n := range times(20) {
			raw := make([]byte, 1+rand.IntN(4<<10))
			random := rand.NewChaCha8([32]byte{byte(n)})
			_, _ = random.Read(raw)
			raw[len(raw)-1] = '\n'
			conn := connect(t, door, string(raw)+"\r\n\r\n")
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			if text, ended := hears(conn); !ended || strings.HasPrefix(text, "HTTP/1.1 2") || strings.HasPrefix(text, "HTTP/1.1 5") {
				t.Errorf("%s: noise %d is answered %.60q", name, n, text)
			}
			conn.Close()
		}
	}
}

// h2 is an HTTP/2 frame.
func h2(kind, flags byte, stream uint32, payload []byte) []byte {
	frame := make([]byte, 9+len(payload))
	binary.BigEndian.PutUint32(frame, uint32(len(payload))<<8)
	frame[3], frame[4] = kind, flags
	binary.BigEndian.PutUint32(frame[5:], stream)
	copy(frame[9:], payload)
	return frame
}

// http2Floods sends frames that cost the sender nothing.
func http2Floods(t *testing.T, v *victim) {
	// :method POST, :scheme http, :path /, without names in the table of indices.
	headers := []byte{0x83, 0x86, 0x84, 0x41, 0x01, 'x'}
	for name, flood := range map[string]func(n uint32) []byte{
		"rapid reset": func(n uint32) []byte {
			return append(h2(1, 4, 2*n+1, headers), h2(3, 0, 2*n+1, []byte{0, 0, 0, 8})...)
		},
		"pings":                  func(uint32) []byte { return h2(6, 0, 0, make([]byte, 8)) },
		"settings":               func(uint32) []byte { return h2(4, 0, 0, []byte{0, 3, 0, 0, 0, 100}) },
		"headers without an end": func(n uint32) []byte { return h2(map[bool]byte{true: 1, false: 9}[n == 0], 0, 1, headers) },
		"empty data":             func(uint32) []byte { return h2(0, 0, 1, nil) },
		"a frame too large":      func(uint32) []byte { return h2(0, 0, 1, make([]byte, 1<<20)) },
		"no frame that there is": func(n uint32) []byte { return h2(200, 255, n, make([]byte, 10)) },
	} {
		for _, door := range []net.Addr{v.GRPCAddr(), v.AdminAddr()} {
			conn := connect(t, door, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+string(h2(4, 0, 0, nil)))
			var reading sync.WaitGroup
			reading.Go(func() { hears(conn) })
			for n := range uint32(times(3000)) {
				if _, err := conn.Write(flood(n)); err != nil {
					break
				}
			}
			conn.Close()
			reading.Wait()
			if t.Failed() {
				t.Fatalf("after %s", name)
			}
		}
	}
}

// upgrade opens a signaling socket.
func upgrade(t *testing.T, door net.Addr, revision string) net.Conn {
	t.Helper()
	conn := connect(t, door, "GET /socket.io/?EIO="+revision+"&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	head := make([]byte, 12)
	if _, err := io.ReadFull(conn, head); err != nil || string(head) != "HTTP/1.1 101" {
		t.Fatalf("no signaling socket: %q, %v", head, err)
	}
	return conn
}

// frame is a WebSocket frame of a client, with its first byte as given.
func frame(first byte, payload []byte) []byte {
	out := []byte{first}
	switch n := len(payload); {
	case n < 126:
		out = append(out, 0x80|byte(n))
	case n < 1<<16:
		out = append(out, 0x80|126, byte(n>>8), byte(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(n))
	}
	return append(append(out, 0, 0, 0, 0), payload...) // the mask of zeros changes nothing
}

// socketFrames is what no client of the signaling socket would send.
func socketFrames(t *testing.T, v *victim) {
	deep := strings.Repeat("[", 100_000)
	for _, revision := range []string{"3", "4"} {
		for _, raw := range [][]byte{
			{0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, // exabytes are announced
			{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, // a negative length
			{0x81, 0x05, 'h', 'e', 'l', 'l', 'o'},                                    // not masked
			frame(0xf1, []byte("x")),                                                 // reserved bits
			frame(0x83, []byte("x")),                                                 // a kind that there is not
			frame(0x80, []byte("x")),                                                 // goes on with nothing
			frame(0x89, make([]byte, 200)),                                           // a long ping
			frame(0x82, []byte("binary")),
			frame(0x81, []byte{0xff, 0xfe}), // no UTF-8
			frame(0x81, nil),
			frame(0x81, []byte("9")),
			frame(0x81, []byte("42")),
			frame(0x81, []byte("4299999999999999999999999[\"x\"]")),
			frame(0x81, []byte("42"+deep)),
			frame(0x81, []byte(`42["joinRoom",`+deep+`]`)),
			frame(0x81, []byte(`420["joinRoom",{"roomId":`+strings.Repeat("9", 10_000)+`}]`)),
			frame(0x81, []byte("451-[\"x\",{\"_placeholder\":true,\"num\":0}]")),
			frame(0x81, []byte("459999999-[]")),
			frame(0x81, []byte("43999[]")),
			frame(0x81, []byte("42/"+strings.Repeat("n", 10_000)+",[\"x\"]")),
			bytes.Repeat(frame(0x89, []byte("ping")), 2000),
			bytes.Repeat(frame(0x81, []byte(`42["nothing",{}]`)), 2000),
			bytes.Repeat(frame(0x81, []byte(`420["nothing",{}]`)), 2000),
		} {
			conn := upgrade(t, v.RoomHTTPAddr(), revision)
			if revision == "4" {
				_, _ = conn.Write(frame(0x81, []byte("40")))
			}
			var reading sync.WaitGroup
			reading.Go(func() { hears(conn) })
			_, _ = conn.Write(raw)
			_, _ = conn.Write(frame(0x88, []byte{0x03, 0xe8})) // goodbye
			reading.Wait()
			conn.Close()
		}
	}
}

// offers is SDP of no use.
func offers(t *testing.T, v *victim) {
	media := "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n"
	for n, sdp := range []string{
		"", "v=0", "\x00\x01\x02", strings.Repeat("v=0\r\n", 10_000), "v=0\r\no=- 1 1 IN IP4 0\r\ns=-\r\nt=0 0\r\n" + strings.Repeat(media, 500),
		"v=0\r\no=- 99999999999999999999 1 IN IP4 0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=fmtp:96 " + strings.Repeat("x=1;", 10_000) + "\r\n",
		"v=0\r\no=- 1 1 IN IP4 0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 zz\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\n" + media + "a=candidate:1 1 udp 1 169.254.169.254 80 typ host\r\n",
	} {
		status, text := v.ask(t, http.MethodPost, "http://"+v.RoomHTTPAddr().String()+"/whip/offers/x", strings.NewReader(sdp), "Content-Type", "application/sdp")
		if status < 400 || status >= 500 {
			t.Errorf("offer %d: %d %.80s", n, status, text)
		}
	}
}

// What there is on disk: recorded can be had, and secret, which is beside the recordings, cannot.
const (
	class    = "42/1511860000"
	recorded = "recorded-6e0b"
	secret   = "marked-secret-7d1c"
)

// record makes a finished class, with a file that is one and with links to what is not of it, and the secret.
func record(t *testing.T, dataDir string) {
	t.Helper()
	outside := filepath.Join(dataDir, "outside")
	dir := filepath.Join(dataDir, "room", "recordings", filepath.FromSlash(class))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	manifest := `{"room":"42","recordts":1511860000,"recordtype":0,"finished":true,"files":[` +
		`{"name":"whole.webm","mediatype":"video/webm"},{"name":"link.webm","mediatype":"video/webm"},` +
		`{"name":"up.webm","mediatype":"video/webm"},{"name":"gone.webm","mediatype":"video/webm"},{"name":"dir","mediatype":"video/webm"}]}`
	for path, text := range map[string]string{
		outside: secret, filepath.Join(dir, "whole.webm"): recorded, filepath.Join(dir, "class.json"): manifest,
		filepath.Join(dataDir, "enterprise.key"): "5d1c0a9b7e3f2468\n", // no server makes one beside recordings
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"link.webm": outside, "up.webm": "../../../../outside", "dir": dataDir} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
}

// paths tries to read what is beside the files. The server has read the class at its start.
func paths(t *testing.T, v *victim) {
	for _, door := range []net.Addr{v.HTTPAddr(), v.RoomHTTPAddr()} {
		if code, text := v.ask(t, http.MethodGet, "http://"+door.String()+"/files/"+class+"/whole.webm", http.NoBody); code != http.StatusOK || text != recorded {
			t.Errorf("the file itself: %d %.80s", code, text)
		}
	}
	for _, path := range []string{
		"/files/../../outside", "/files/42/../../../outside", "/files/42/1511860000/../../../../outside", "/files/42/1511860000/link.webm",
		"/files/42/1511860000/up.webm", "/files/42/1511860000/gone.webm", "/files/42/1511860000/dir", "/files/42/1511860000/dir/outside",
		"/files/1511860000/dir/outside", "/files/42/1511860000/whole.webm/../link.webm", "/files/%2e%2e/%2e%2e/outside", "/files/..%2f..%2f..%2foutside/x/y", "/files/42/1511860000/..%2f..%2f..%2f..%2foutside",
		"/files/42/1511860000/%2e%2e%2f%2e%2e%2foutside", "/files/42/1511860000/..\\..\\outside", "/files/42/1511860000/link.webm%00.webm",
		"/files/%00/%00/%00", "/files//etc/passwd", "/files/42/1511860000/class.json", "/files/42/1511860000/", "/files/./././outside",
		"/console/../outside", "/console/%2e%2e/outside", "/console/..%2f..%2foutside", "//outside", "/../outside", "/v1/../outside", "\\outside",
		"/files/%c0%ae%c0%ae/%c0%ae%c0%ae/outside", "/files/\xff\xfe/x/y", "http://evil.example/files/42/1511860000/link.webm",
	} {
		for _, door := range []net.Addr{v.HTTPAddr(), v.RoomHTTPAddr()} {
			conn := connect(t, door, "GET "+path+" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
			text, _ := hears(conn)
			conn.Close()
			if strings.Contains(text, secret) || strings.Contains(text, "root:") || strings.HasPrefix(text, "HTTP/1.1 200") {
				t.Errorf("%q is answered %.300q", path, text)
			}
		}
	}
}

// injection writes names that would forge a line of the log, or a header of an answer.
func injection(t *testing.T, v *victim) {
	for _, bad := range []string{
		"a\nlevel=ERROR msg=forged", "a\r\nSet-Cookie: forged=1", "a\x1b[31mforged\x1b[0m", "a\u2028forged", "a\x00forged", "a\u202eforged",
	} {
		escaped := strings.NewReplacer("\n", "%0A", "\r", "%0D", "\x1b", "%1B", "\x00", "%00", " ", "%20", "\u2028", "%E2%80%A8", "\u202e", "%E2%80%AE").Replace(bad)
		_, _ = v.api.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: bad, RequestId: bad, Nickname: bad})
		for _, request := range []string{
			"GET /v1/rooms/" + escaped + "/recordings HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: " + escaped + "\x1b[31mforged\r\nConnection: close\r\n\r\n",
			"GET /" + escaped + " HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://" + escaped + "\r\nConnection: close\r\n\r\n",
			"POST /ClientAPI/checkroom?serial=" + escaped + "&nickname=" + escaped + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
			"POST /whip/" + escaped + "/" + escaped + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/sdp\r\nConnection: close\r\nContent-Length: 3\r\n\r\nv=0",
		} {
			for _, door := range []net.Addr{v.HTTPAddr(), v.RoomHTTPAddr()} {
				conn := connect(t, door, request)
				text, _ := hears(conn)
				conn.Close()
				head, _, _ := strings.Cut(text, "\r\n\r\n")
				if strings.Contains(head, "forged=1") || strings.Contains(head, "\x1b") {
					t.Errorf("a header of the answer is forged: %.300q", head)
				}
			}
		}
		conn := upgrade(t, v.RoomHTTPAddr(), "3")
		_, _ = conn.Write(frame(0x81, fmt.Appendf(nil, `420["joinRoom",{"userId":%q,"roomId":%q,"properties":{"nickname":%q}}]`, bad, bad, bad)))
		_, _ = conn.Write(frame(0x88, []byte{0x03, 0xe8}))
		hears(conn)
		conn.Close()
	}
	for line := range strings.Lines(v.text.String()) {
		if !strings.HasPrefix(line, "time=") || strings.ContainsAny(line, "\x1b\x00\r\u2028\u202e") {
			t.Errorf("a line of the log is forged: %q", line)
		}
	}
}
