// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// enterpriseKeyOf is the key that a server has made for its platform.
func enterpriseKeyOf(t *testing.T, s *apitest.Server) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.Dir(), "enterprise.key"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

// answered is the body of a request that succeeds; header has names and values.
func answered(t *testing.T, s *apitest.Server, address string, header ...string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(apitest.Context(t), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	resp, err := s.HTTP().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s, %v", address, resp.StatusCode, raw, err)
	}
	return string(raw)
}

// What the platform's record lists name can be fetched by who has the link, and is
// named as the caller named the server.
func TestPlatformPort_Links(t *testing.T) {
	t.Parallel()
	s := apitest.New(t, func(cfg *server.Config) { cfg.Doors.AllowedHosts = []string{"class.example"} })
	newFile(t, s, "42")
	key := enterpriseKeyOf(t, s)
	if len(key) != 16 {
		t.Errorf("the key has %d characters, the document's have 16", len(key))
	}
	roomPort := "http://" + s.Process().RoomHTTPAddr().String()
	for name, tc := range map[string]struct {
		header []string
		want   string // what the link begins with
	}{
		"by address":                 {nil, roomPort},
		"behind a proxy":             {[]string{"Host", "class.example", "X-Forwarded-Proto", "https"}, "https://class.example"},
		"told by a proxy":            {[]string{"X-Forwarded-Host", "class.example:8443", "X-Forwarded-Proto", "https"}, "https://class.example:8443"},
		"under another's name":       {[]string{"Host", "evil.example"}, s.URL()},
		"told of another's by proxy": {[]string{"X-Forwarded-Host", "evil.example"}, s.URL()},
	} {
		var list struct {
			Records []struct {
				Files []struct {
					URL string `json:"url"`
				} `json:"files"`
			} `json:"recordlist"`
		}
		if err := json.Unmarshal([]byte(answered(t, s, s.RoomURL()+"/WebAPI/getrecordlist?serial=42&key="+key, tc.header...)), &list); err != nil {
			t.Fatal(err)
		}
		link, err := url.Parse(list.Records[0].Files[0].URL)
		if err != nil || !strings.HasPrefix(link.String(), tc.want+"/files/") {
			t.Errorf("%s: %s, want %s/files/…", name, link, tc.want)
			continue
		}
		for _, base := range []string{s.URL(), s.RoomURL()} {
			if got := fetch(t, s, base+link.RequestURI()); got != http.StatusOK {
				t.Errorf("%s: %d at %s", name, got, base)
			}
		}
	}
}

// A recording's links follow the server to another port and to another name, and
// have the name by which the caller came.
func TestFileLinks_Moved(t *testing.T) {
	t.Parallel()
	s := apitest.New(t, func(cfg *server.Config) { cfg.Doors.AllowedHosts = []string{"class.example"} })
	name := newFile(t, s, "42").GetName()
	before := s.URL()
	s.Restart() // on other ports
	if s.URL() == before {
		t.Fatal("the port is the same")
	}
	r := s.Must(t, apitest.Call{Name: apitest.Get, Request: `{"name":"` + name + `"}`})
	for _, link := range []string{r.GetUrls()[0], r.GetFiles()[0].GetUrl()} {
		if !strings.HasPrefix(link, s.URL()+"/files/") || fetch(t, s, link) != http.StatusOK {
			t.Errorf("after a restart: %s", link)
		}
	}
	var got struct {
		Recording struct{ Urls []string }
	}
	if err := json.Unmarshal([]byte(answered(t, s, s.URL()+"/v1/"+name, "Host", "class.example", "X-Forwarded-Proto", "https")), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Recording.Urls) != 1 || !strings.HasPrefix(got.Recording.Urls[0], "https://class.example/files/") {
		t.Errorf("behind a proxy: %+v", got)
	}
}

// An operator's own --files-base-url is what all links begin with, those of before
// it too.
func TestFileLinks_BaseURL(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	name := newFile(t, s, "42").GetName()
	s.Stop()
	const base = "https://files.example/class/files"
	again := apitest.New(t, func(cfg *server.Config) { cfg.DataDir, cfg.FilesBaseURL = s.Dir(), base })
	r := again.Must(t, apitest.Call{Name: apitest.Get, Request: `{"name":"` + name + `"}`})
	if len(r.GetUrls()) != 1 || !strings.HasPrefix(r.GetUrls()[0], base+"/") {
		t.Errorf("%q", r.GetUrls())
	}
}

// Pages of other origins cannot enter rooms where no certificate stands in their
// way; programs can, and over https the vendor's client, which is always elsewhere.
func TestPlatformPort_Origins(t *testing.T) {
	t.Parallel()
	s := apitest.New(t, func(cfg *server.Config) { cfg.Doors.CORSOrigins = []string{"https://app.example"} })
	plain := s.Process().RoomHTTPAddr().String()
	for origin, want := range map[string]int{
		"":                       http.StatusSwitchingProtocols,
		"http://" + plain:        http.StatusSwitchingProtocols,
		"https://app.example":    http.StatusSwitchingProtocols,
		"https://evil.example":   http.StatusForbidden,
		"http://127.0.0.1:1":     http.StatusForbidden,
		"null":                   http.StatusForbidden,
		"https://" + plain + "x": http.StatusForbidden,
	} {
		conn, err := net.Dial("tcp", plain)
		if err != nil {
			t.Fatal(err)
		}
		if got := upgrade(t, conn, plain, origin); got != want {
			t.Errorf("origin %q at the plain port: %d, want %d", origin, got, want)
		}
		secured, err := tls.Dial("tcp", s.Process().RoomAddr().String(), &tls.Config{RootCAs: s.RoomRoots(t)})
		if err != nil {
			t.Fatal(err)
		}
		if got := upgrade(t, secured, "room", origin); got != http.StatusSwitchingProtocols {
			t.Errorf("origin %q over https: %d", origin, got)
		}
	}
}

// upgrade asks for a signaling socket, and returns the status.
func upgrade(t *testing.T, conn net.Conn, host, origin string) int {
	t.Helper()
	defer conn.Close()
	header := ""
	if origin != "" {
		header = "Origin: " + origin + "\r\n"
	}
	fmt.Fprintf(conn, "GET /socket.io/?EIO=3&transport=websocket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", host, header)
	return statusOf(t, conn)
}

func statusOf(t *testing.T, conn net.Conn) int {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// The document's own request line, with a blank where none may be, is answered;
// so is the next on the same connection, and nonsense is refused as before.
func TestPlatformPort_RawBlank(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	newFile(t, s, "42")
	path := "/ClientAPI/getUserRecordlist/key/" + enterpriseKeyOf(t, s) + "/userid/ u1/serial/ 42"
	dials := map[string]func() (net.Conn, error){
		"http": func() (net.Conn, error) { return net.Dial("tcp", s.Process().RoomHTTPAddr().String()) },
		"https": func() (net.Conn, error) {
			return tls.Dial("tcp", s.Process().RoomAddr().String(), &tls.Config{RootCAs: s.RoomRoots(t)})
		},
	}
	for name, dial := range dials {
		for _, pieces := range [][]string{{"GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"}, {"GE", "T " + path, " HT", "TP/1.1\r\nHost: x\r\n\r\n"}} {
			conn, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			for _, piece := range pieces {
				fmt.Fprint(conn, piece)
			}
			in := bufio.NewReader(conn)
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK || string(body) != "{\"result\":4105}\n" { // u1 has none: chat is no video
				t.Errorf("%s: %d %q, %v", name, resp.StatusCode, body, err)
			}
			fmt.Fprint(conn, "GET /where.html HTTP/1.1\r\nHost: x\r\n\r\n")
			if resp, err = http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%s: the next: %v, %v", name, resp, err)
			}
			conn.Close()
		}
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "GET /files/a b HTTP/1.1\r\nHost: x\r\n\r\n")
		if got := statusOf(t, conn); got != http.StatusBadRequest {
			t.Errorf("%s: a blank elsewhere: %d", name, got)
		}
		conn.Close()
	}
}

// Nobody in a room puts the service out of it: the class that it records goes on, and is ended by the API.
func TestPlatformPort_EvictService(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	r := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"42"}`})
	c, err := talkcloud.New(talkcloud.Config{BaseURL: s.RoomURL()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := apitest.Context(t)
	teacher, err := c.Join(ctx, talkcloud.JoinOptions{
		Room: "42", UserID: "teacher", Properties: map[string]json.RawMessage{"role": json.RawMessage("0")},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer teacher.Close()
	for _, payload := range []any{map[string]string{"id": r.GetUserId()}, r.GetUserId()} {
		ack, err := teacher.Call(ctx, talkcloud.EventEvictParticipant, payload)
		if err != nil || len(ack) != 2 || !strings.Contains(string(ack[1]), "NO_PERMISSION") {
			t.Errorf("evicting the service: %s, %v", ack, err)
		}
	}
	if _, err := c.Join(ctx, talkcloud.JoinOptions{
		Room: "42", UserID: talkcloud.UserID(r.GetUserId()), Properties: map[string]json.RawMessage{"role": json.RawMessage("0")},
	}); err == nil {
		t.Error("somebody took the service's place")
	}
	stopped := s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"room":"42"}`})
	if stopped.GetName() != r.GetName() || stopped.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED {
		t.Errorf("stopped %v", stopped)
	}
}
