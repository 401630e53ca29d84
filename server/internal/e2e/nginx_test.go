// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
)

// freePort returns a port of loopback that nobody listens on, for a program that cannot say which one it got.
func freePort(t *testing.T) string {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// startNginx runs nginx with deploy/nginx.conf, whose addresses, names and files are replaced by those of the test, and
// returns the addresses of the API and of the rooms.
func startNginx(t *testing.T, s *apitest.Server) (api, rooms string) {
	t.Helper()
	dir := t.TempDir()
	run(t, dir, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
		"-subj", "/CN=class.school.example", "-keyout", "key.pem", "-out", "cert.pem")
	apiPort, roomPort := freePort(t), freePort(t)
	site := string(must[[]byte](t)(os.ReadFile(filepath.Join(repository, "deploy", "nginx.conf"))))
	for old, is := range map[string]string{
		"127.0.0.1:8080":                    s.Process().HTTPAddr().String(),
		"127.0.0.1:9090;":                   s.Process().GRPCAddr().String() + ";",
		"127.0.0.1:8444;":                   s.Process().RoomHTTPAddr().String() + ";",
		"listen 443 ssl":                    "listen 127.0.0.1:" + apiPort + " ssl",
		"listen 8443 ssl":                   "listen 127.0.0.1:" + roomPort + " ssl",
		"\tlisten [::]:443 ssl http2;\n":    "",
		"\tlisten [::]:8443 ssl;\n":         "",
		"/etc/ssl/class.school.example.pem": filepath.Join(dir, "cert.pem"),
		"/etc/ssl/class.school.example.key": filepath.Join(dir, "key.pem"),
	} {
		if !strings.Contains(site, old) {
			t.Fatalf("deploy/nginx.conf has no %q", old)
		}
		site = strings.ReplaceAll(site, old, is)
	}
	conf := "daemon off;\npid nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\nclient_body_temp_path body;\n" +
		"proxy_temp_path proxy;\nfastcgi_temp_path fastcgi;\nuwsgi_temp_path uwsgi;\nscgi_temp_path scgi;\n" + site + "}\n"
	if os.Getuid() == 0 {
		conf = "user root;\n" + conf // its workers need the directory
	}
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		nginx = "/usr/sbin/nginx" // which is not in every PATH
	}
	run(t, dir, nginx, "-p", dir, "-c", "nginx.conf", "-t")
	p := start(t, dir, nil, "exec "+nginx+" -p "+dir+" -c nginx.conf")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("nginx: %s", p.output())
		}
	})
	api, rooms = "127.0.0.1:"+apiPort, "127.0.0.1:"+roomPort
	eventually(t, "nginx listens", func() bool {
		c, err := net.Dial("tcp", rooms)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return api, rooms
}

// TestNginx uses everything through nginx, as deploy/nginx.conf sets it up: REST, streams, gRPC, Connect, gRPC-Web, the
// console and the rooms.
func TestNginx(t *testing.T) {
	t.Parallel()
	s := apitest.New(t, func(cfg *server.Config) { cfg.Doors.AllowedHosts = []string{"class.school.example"} })
	api, rooms := startNginx(t, s)
	grpcurl := must[string](t)(filepath.Abs(filepath.Join(repository, ".build", "grpcurl")))
	curl := func(args ...string) string {
		t.Helper()
		return run(t, ".", "curl", append([]string{"-sk", "--max-time", "30", "-H", "Host: class.school.example"}, args...)...)
	}
	// until is curl for an answer that does not end: it is read up to a line with a word in it.
	until := func(word string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "curl", append([]string{"-sk", "--max-time", "30", "-H", "Host: class.school.example"}, args...)...)
		out := must[io.ReadCloser](t)(cmd.StdoutPipe())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var read strings.Builder
		for lines := bufio.NewScanner(out); !strings.Contains(read.String(), word) && lines.Scan(); {
			read.WriteString(lines.Text() + "\n")
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		return read.String()
	}
	for _, tc := range []struct{ name, got, want string }{
		{"REST", curl("-d", "{}", "https://"+api+"/v1/rooms/7/recordings"), "RECORDING_STATE_RECORDING"},
		{"the console", curl("https://" + api + "/"), "<title>"},
		{"health", curl("https://" + api + "/readyz"), "ok"},
		{"gRPC, with reflection", run(t, ".", grpcurl, "-insecure", "-d", `{"room": "7"}`, api, "classrec.v1.RecordingService/ListRecordings"), "rooms/7/recordings/"},
		{"Connect", curl("-H", "Content-Type: application/json", "-d", `{"room": "7"}`, "https://"+api+"/classrec.v1.RecordingService/ListRecordings"), "rooms/7/recordings/"},
		// A frame of gRPC-Web: no compression, three bytes, and in them field 1, the room "7".
		{"gRPC-Web", run(t, ".", "bash", "-c", `printf '\0\0\0\0\3\12\0017' | curl -sk --max-time 30 -H 'Content-Type: application/grpc-web+proto' --data-binary @- https://`+api+
			"/classrec.v1.RecordingService/ListRecordings | tr -d '\\0'"), "grpc-status: 0"},
		{"Server-Sent Events", until("synced", "-N", "-H", "Accept: text/event-stream", "https://"+api+"/v1/rooms/7/classBegin:watch"), "event: synced"},
		{"a socket of a room", until("101", "-i", "-N", "--http1.1", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13",
			"-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "https://"+rooms+"/socket.io/?EIO=3&transport=websocket"), "101 Switching Protocols"},
		{"WHIP", curl("-i", "-H", "Content-Type: application/sdp", "-d", "v=0", "https://"+rooms+"/whip/7/alice"), "400"},
	} {
		if !strings.Contains(tc.got, tc.want) {
			t.Errorf("%s: no %s in %s", tc.name, tc.want, tc.got)
		}
	}
}
