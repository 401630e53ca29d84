// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/classrec/classrec/server/internal/gateway"
)

// REST takes what other servers take: a slash at the end, HEAD, a plus that has
// become a blank. What contradicts itself, or is no text, is refused.
func TestLenient(t *testing.T) {
	t.Parallel()
	base := newGateway(t, echo(), gateway.Config{})
	for _, tc := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/v1/rooms/42/recordings/", "", 200, `"room":"42"`},
		{"GET", "/v1/rooms/42/recordings/17/", "", 200, `"name":"rooms/42/recordings/17"`},
		{"POST", "/v1/rooms/42/recordings/", `{"userId":"u"}`, 200, `"room":"42"`},
		{"GET", "/v1/rooms/%E6%95%B0%21/recordings/", "", 200, `"room":"数!"`},
		{"GET", "/v1/rooms/42/recordings//", "", 404, ""},
		{"HEAD", "/v1/rooms/42/recordings", "", 200, ""},
		{"HEAD", "/v1/rooms/42/recordings/17", "", 200, ""},
		{"HEAD", "/v1/rooms/42/recordings:stop", "", 405, ""},
		{"HEAD", "/v1/rooms/42/classBegin:watch", "", 405, ""},
		{"HEAD", "/v1/nowhere", "", 404, ""},
		{"GET", "/v1/rooms/42/recordings?record_time=2026-12-01T10:00:00+08:00", "", 200, `"recordTime":"2026-12-01T02:00:00Z"`},
		{"GET", "/v1/rooms/42/recordings?recordTime=2026-12-01T10:00:00.5%2B08:00", "", 200, `"recordTime":"2026-12-01T02:00:00.500Z"`},
		{"GET", "/v1/rooms/42/recordings?user_id=a+b", "", 200, `"userId":"a b"`},
		{"POST", "/v1/rooms/42/recordings", `{"room":"42"}`, 200, `"room":"42"`},
		{"POST", "/v1/rooms/42/recordings", `{"room":""}`, 200, `"room":"42"`},
		{"POST", "/v1/rooms/42/recordings", `{"room":"43"}`, 400, "FIELD_CONTRADICTS"},
		{"POST", "/v1/rooms/42/recordings:stop", `{"room":"43"}`, 400, "FIELD_CONTRADICTS"},
		{"POST", "/v1/rooms/42/recordings/17:stop", `{"name":"rooms/42/recordings/18"}`, 400, "FIELD_CONTRADICTS"},
		{"GET", "/v1/rooms/42/recordings?room=43", "", 400, "FIELD_CONTRADICTS"},
		{"GET", "/v1/rooms/%ff/recordings", "", 400, "INVALID_REQUEST"},
		{"POST", "/v1/rooms/a%C3/recordings", "{}", 400, "INVALID_REQUEST"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, base+tc.path, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(string(body), `": "`, `":"`); resp.StatusCode != tc.status || !strings.Contains(got, tc.says) || tc.method == "HEAD" && len(body) > 0 {
			t.Errorf("%s %s %s: %d %s", tc.method, tc.path, tc.body, resp.StatusCode, body)
		}
	}
}
