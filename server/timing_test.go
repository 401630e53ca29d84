// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/auth"
)

// A body that does not come ends the connection, wherever it was to go: also where nobody reads it, since net/http does.
// Streams that are open meanwhile go on, with a body that has come or without one.
func TestTimes_Bodies(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	cfg.Doors.BodyTimeout, cfg.Doors.AnswerTimeout = time.Second, time.Second
	r := newRunning(t, cfg)
	streams := map[string]*bufio.Reader{}
	for name, request := range map[string]string{
		"NDJSON": "POST /v1/rooms/42/classBegin:watch HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}",
		"SSE":    "GET /v1/rooms/42/classBegin:watch HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n",
	} {
		conn := connect(t, r.HTTPAddr())
		if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		streams[name] = bufio.NewReader(conn)
		hear(t, name, streams[name], "synced")
	}

	var waiting sync.WaitGroup
	for _, door := range []net.Addr{r.HTTPAddr(), r.RoomHTTPAddr()} {
		for _, request := range []string{
			"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n",
			"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n",
			"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n",
			"GET /files/42/1511860000/x.webm HTTP/1.1\r\nHost: 127.0.0.1\r\n",
			"OPTIONS /files/42/1511860000/x.webm HTTP/1.1\r\nHost: 127.0.0.1\r\n",
			"POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n",
			"POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n",
			"POST /v1/rooms/42/recordings HTTP/1.1\r\nHost: 127.0.0.1\r\n",
			"POST /v1/rooms/42/recordings HTTP/1.1\r\nHost: evil.example\r\n",
			"POST /v1/rooms/42/recordings HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: https://evil.example\r\n",
			"POST /v1/rooms/4%2F2/recordings HTTP/1.1\r\nHost: 127.0.0.1\r\n",
			"POST /ClientAPI/checkroom HTTP/1.1\r\nHost: 127.0.0.1\r\n",
			"POST /whip/42/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/sdp\r\n",
			"POST /socket.io/?EIO=3&transport=polling HTTP/1.1\r\nHost: 127.0.0.1\r\n",
			"GET /where.html HTTP/1.1\r\nHost: 127.0.0.1\r\n",
		} {
			for _, body := range []string{"Content-Length: 100\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"} {
				conn := connect(t, door)
				if _, err := io.WriteString(conn, request+body); err != nil {
					t.Fatal(err)
				}
				waiting.Go(func() {
					_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
					answer, err := io.ReadAll(conn)
					if errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("%q goes on, after %.60q", request+body, answer)
					} else if len(answer) > 0 && !strings.Contains(string(answer), "\r\nConnection: close\r\n") {
						t.Errorf("%q is answered %q", request+body, answer)
					}
				})
			}
		}
	}
	waiting.Wait()

	if _, err := r.api.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: "42"}); err != nil {
		t.Fatal(err)
	}
	for name, stream := range streams {
		hear(t, name, stream, "rooms/42/recordings/")
	}
}

// hear reads lines until one has the text.
func hear(t *testing.T, name string, from *bufio.Reader, text string) {
	t.Helper()
	for {
		line, err := from.ReadString('\n')
		if strings.Contains(line, text) {
			return
		}
		if err != nil {
			t.Fatalf("%s: %q has not come: %v", name, text, err)
		}
	}
}

// connectNarrow is connect with segments, and a window, so small that the system keeps little of what nobody reads.
func connectNarrow(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var set error
		err := raw.Control(func(fd uintptr) {
			set = errors.Join(
				syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 536),
				syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10))
		})
		return errors.Join(err, set)
	}}
	conn, err := dialer.DialContext(t.Context(), "tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// A connection whose answers are not taken ends, whichever way they are written.
func TestTimes_Answers(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	cfg.Doors.BodyTimeout, cfg.Doors.AnswerTimeout = time.Second, time.Second
	r := newRunning(t, cfg)
	for _, tc := range []struct {
		door net.Addr
		path string
	}{
		{r.HTTPAddr(), "/openapi.json"},
		{r.HTTPAddr(), "/metrics"},
		{r.HTTPAddr(), "/console/"},
		{r.HTTPAddr(), "/v1/rooms/42/recordings"},
		{r.HTTPAddr(), "/nothing"},
		{r.RoomHTTPAddr(), "/where.html"},
	} {
		t.Run(strings.Trim(tc.path, "/"), func(t *testing.T) {
			t.Parallel()
			conn := connectNarrow(t, tc.door)
			requests := strings.Repeat("GET "+tc.path+" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 1000)
			left := ""
			eventually(t, "the connection to end", func() bool {
				if left == "" {
					left = requests
				}
				_ = conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
				n, err := io.WriteString(conn, left)
				left = left[n:]
				return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
			})
		})
	}
}

// A file that is taken slowly comes whole: the time is for a piece.
func TestTimes_SlowReader(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	cfg.Doors.BodyTimeout, cfg.Doors.AnswerTimeout, cfg.PublicFiles = time.Second, time.Second, true
	const size = 24 << 20 // more than the system keeps for a connection
	dir := filepath.Join(cfg.DataDir, "room", "recordings", "42", "1511860000")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, filepath.Join(cfg.DataDir, "enterprise.key"), "0123456789abcdef\n") // as there is data
	mustWrite(t, filepath.Join(dir, "class.json"),
		`{"room":"42","recordts":1511860000,"finished":true,"files":[{"name":"x.webm","mediatype":"video/webm"}]}`)
	mustWrite(t, filepath.Join(dir, "x.webm"), "")
	if err := os.Truncate(filepath.Join(dir, "x.webm"), size); err != nil {
		t.Fatal(err)
	}
	r := newRunning(t, cfg)
	for _, door := range []net.Addr{r.HTTPAddr(), r.RoomHTTPAddr()} {
		conn := connect(t, door)
		if _, err := io.WriteString(conn, "GET /files/42/1511860000/x.webm HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		var got int64
		for n := int64(1); n > 0 && err == nil; <-ticker.C {
			n, err = io.CopyN(io.Discard, resp.Body, 1<<20)
			got += n
		}
		if got != size || resp.StatusCode != http.StatusOK {
			t.Errorf("%d with %d of %d bytes: %v", resp.StatusCode, got, size, err)
		}
	}
}

// A call whose message does not come ends, of a stranger soon: nobody is asked who he is before it is there. Those whose
// message comes late, and streams that have had theirs, go on.
func TestTimes_Messages(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	cfg.AdminListen, cfg.Doors.MessageTimeout = "127.0.0.1:0", 6*time.Second // a stranger has one
	_, token := newToken(t, cfg.DataDir, auth.Token{Name: "admin", Scopes: []auth.Scope{auth.ScopeList, auth.ScopeWatch, auth.ScopeAdmin}})
	var logged syncBuffer
	cfg.Logger = slog.New(slog.NewJSONHandler(&logged, nil))
	r := newRunning(t, cfg)
	dial := func(addr net.Addr) *grpc.ClientConn {
		conn, err := grpc.NewClient(addr.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	api := dial(r.GRPCAddr())
	good := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
	bad := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer nonsense")
	silent := func(ctx context.Context, conn *grpc.ClientConn, method string) grpc.ClientStream {
		call, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
		if err != nil {
			t.Fatal(err)
		}
		return call
	}
	ends := func(name string, call grpc.ClientStream) {
		ended := make(chan error, 1)
		go func() { ended <- call.RecvMsg(new(emptypb.Empty)) }()
		select {
		case err := <-ended:
			if c := status.Code(err); c != codes.Canceled && c != codes.Unauthenticated { // a stream asks before its message
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s goes on", name)
		}
	}

	watch, err := classrecv1.NewRecordingServiceClient(api).WatchClassBegin(good, &classrecv1.WatchClassBeginRequest{Room: "42"})
	if err != nil {
		t.Fatal(err)
	}
	late, never := silent(good, api, classrecv1.RecordingService_ListRecordings_FullMethodName), silent(good, api, classrecv1.RecordingService_WatchClassBegin_FullMethodName)
	begun := time.Now()
	strangers := map[string]grpc.ClientStream{
		"health": silent(t.Context(), api, healthv1.Health_Check_FullMethodName),
		"admin":  silent(t.Context(), dial(r.AdminAddr()), adminv1.RoomService_ListRooms_FullMethodName),
	}
	for _, method := range []string{
		classrecv1.RecordingService_StartRecording_FullMethodName, classrecv1.RecordingService_WatchClassBegin_FullMethodName,
	} {
		strangers[method], strangers[method+" with nonsense"] = silent(t.Context(), api, method), silent(bad, api, method)
	}
	for name, call := range strangers {
		ends(name, call)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("strangers had %v", took)
	}
	if err := late.SendMsg(&classrecv1.ListRecordingsRequest{Room: "42"}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(late.CloseSend(), late.RecvMsg(new(classrecv1.ListRecordingsResponse))); err != nil {
		t.Errorf("a message that comes late: %v", err)
	}
	ends("who sends none", never)
	if took := time.Since(begun); took < 5*time.Second {
		t.Errorf("who is known had %v", took)
	}
	if msg, err := watch.Recv(); err != nil || msg.GetSynced() == nil {
		t.Errorf("a watch: %v, %v", msg, err)
	}
	if _, err := classrecv1.NewRecordingServiceClient(api).ListRecordings(bad, &classrecv1.ListRecordingsRequest{Room: "42"}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a stranger's whole call: %v", err)
	}

	r.stop() // all have ended
	want := map[string]int{
		healthv1.Health_Check_FullMethodName + "  Canceled": 1, adminv1.RoomService_ListRooms_FullMethodName + "  Canceled": 1,
		classrecv1.RecordingService_StartRecording_FullMethodName + "  Canceled":          2,
		classrecv1.RecordingService_WatchClassBegin_FullMethodName + "  Unauthenticated":  2,
		classrecv1.RecordingService_WatchClassBegin_FullMethodName + " admin Canceled":    1,
		classrecv1.RecordingService_ListRecordings_FullMethodName + " admin OK":           1,
		classrecv1.RecordingService_WatchClassBegin_FullMethodName + " admin Unavailable": 1,
		classrecv1.RecordingService_ListRecordings_FullMethodName + "  Unauthenticated":   1,
	}
	got := map[string]int{}
	for text := range strings.Lines(logged.String()) {
		var line struct{ Msg, Method, Principal, Code, Error string }
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		if line.Msg != "call" {
			continue
		}
		got[line.Method+" "+line.Principal+" "+line.Code]++
	}
	if !maps.Equal(got, want) {
		t.Errorf("the log has lines of %v, not of %v", got, want)
	}
}

// One connection has so many calls at once; that of REST, which is ours, is another matter.
func TestTimes_CallsOfAConnection(t *testing.T) {
	t.Parallel()
	r := newRunning(t, anywhere(t.TempDir()))
	conn := connect(t, r.GRPCAddr())
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 9)
	if _, err := io.ReadFull(conn, frame); err != nil || frame[3] != 4 {
		t.Fatalf("no SETTINGS: %v, %v", frame, err)
	}
	settings := make([]byte, binary.BigEndian.Uint32(frame)>>8)
	if _, err := io.ReadFull(conn, settings); err != nil {
		t.Fatal(err)
	}
	for ; len(settings) >= 6; settings = settings[6:] {
		if most := binary.BigEndian.Uint32(settings[2:]); binary.BigEndian.Uint16(settings) == 3 && most == 2000 {
			return
		}
	}
	t.Error("a connection has more calls than 2,000")
}
