// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/classrec/classrec/gen/openapi"
	"github.com/classrec/classrec/server/internal/apitest"
)

type openAPIContent map[string]struct {
	Example  json.RawMessage
	Examples map[string]json.RawMessage
}

// openAPI is what the tests read of the document.
type openAPI struct {
	Paths map[string]map[string]struct {
		OperationID string
		RequestBody struct{ Content openAPIContent }
		Responses   map[string]struct{ Content openAPIContent }
	}
	Components struct {
		Examples map[string]struct {
			Summary string
			Value   json.RawMessage
		}
	}
}

func readOpenAPI(t *testing.T) openAPI {
	t.Helper()
	var doc openAPI
	if err := json.Unmarshal([]byte(openapi.Document()), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// Whoever sends the document's examples gets answers like those in it: the same fields, all the way down, and of the same
// kind.
func TestOpenAPI_Examples(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	doc := readOpenAPI(t)
	send := func(method, path string, body []byte) (int, []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(apitest.Context(t), strings.ToUpper(method), s.URL()+path, strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.HTTP().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, answer
	}
	try := func(method, template, path string) {
		t.Helper()
		op, ok := doc.Paths[template][method]
		if !ok {
			t.Fatalf("no %s %s", method, template)
		}
		code, answer := send(method, path, op.RequestBody.Content["application/json"].Example)
		if code != http.StatusOK {
			t.Fatalf("%s: %d %s", op.OperationID, code, answer)
		}
		compareShape(t, op.OperationID, op.Responses["200"].Content["application/json"].Example, answer)
	}

	person := s.Join(t, "42", "alice") // so that the room is one that somebody is in
	try("post", "/v1/rooms/{room}/recordings", "/v1/rooms/42/recordings")
	status, answer := send("post", "/v1/rooms/42/recordings", []byte(`{"requestId": "another"}`))
	compareError(t, doc, "ClassAlreadyBegun", status, http.StatusConflict, answer)
	try("post", "/v1/rooms/{room}/recordings:stop", "/v1/rooms/42/recordings:stop")
	person.Leave()
	try("get", "/v1/rooms/{room}/recordings", "/v1/rooms/42/recordings")
	status, answer = send("get", "/v1/rooms/42/recordings/1", nil)
	compareError(t, doc, "RecordingNotFound", status, http.StatusNotFound, answer)
	status, answer = send("get", "/v1/rooms/42/recordings?pageSize=-1", nil)
	compareError(t, doc, "InvalidField", status, http.StatusBadRequest, answer)
}

// Each call has an example for what it takes, for what it answers, and for errors; and each error is one of docs/errors.md,
// with its code.
func TestOpenAPI_ErrorsAreDocumented(t *testing.T) {
	t.Parallel()
	doc := readOpenAPI(t)
	text, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([A-Z_, ]+) \| ([A-Z_]+)`).FindAllStringSubmatch(string(text), -1) {
		for _, reason := range strings.Split(row[1], ", ") {
			codes[reason] = row[2]
		}
	}
	used := map[string]bool{}
	for path, item := range doc.Paths {
		for method, op := range item {
			if body := op.RequestBody.Content["application/json"]; method == "post" && len(body.Example) == 0 {
				t.Errorf("%s %s: no example of a request", method, path)
			}
			for contentType, content := range op.Responses["200"].Content {
				if len(content.Example) == 0 {
					t.Errorf("%s %s: no example of an answer as %s", method, path, contentType)
				}
			}
			errors := op.Responses["default"].Content["application/json"].Examples
			if len(errors) == 0 {
				t.Errorf("%s %s: no example of an error", method, path)
			}
			for name := range errors {
				used[name] = true
			}
		}
	}
	for name, example := range doc.Components.Examples {
		var st status.Status
		if err := protojson.Unmarshal(example.Value, &st); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var info errdetails.ErrorInfo
		if len(st.GetDetails()) == 0 || st.GetDetails()[0].UnmarshalTo(&info) != nil {
			t.Errorf("%s has no ErrorInfo", name)
			continue
		}
		if got := code.Code(st.GetCode()).String(); codes[info.GetReason()] != got && !strings.HasPrefix(info.GetReason(), "CREDENTIALS_") {
			t.Errorf("%s: %s is %s, in docs/errors.md %q", name, info.GetReason(), got, codes[info.GetReason()])
		}
		if !used[name] || example.Summary == "" {
			t.Errorf("%s is of no call, or says nothing", name)
		}
	}
}

// compareError wants an answer to be the example, but for what it is of.
func compareError(t *testing.T, doc openAPI, name string, status, wantStatus int, answer []byte) {
	t.Helper()
	if status != wantStatus {
		t.Errorf("%s: status %d", name, status)
	}
	strip := func(text []byte) string {
		var v any
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		plain, _ := json.Marshal(v)
		return regexp.MustCompile(`recordings/[0-9]+`).ReplaceAllString(string(plain), "recordings/…")
	}
	if got, want := strip(answer), strip(doc.Components.Examples[name].Value); got != want {
		t.Errorf("%s: answered is\n%s\nthe document has\n%s", name, got, want)
	}
}

// compareShape wants both to have the same fields, with values of the same kind. Elements of lists are compared as far as
// both have one.
func compareShape(t *testing.T, at string, want, got json.RawMessage) {
	t.Helper()
	var w, g any
	if err := json.Unmarshal(want, &w); err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	var compare func(at string, w, g any)
	compare = func(at string, w, g any) {
		switch w := w.(type) {
		case map[string]any:
			g, _ := g.(map[string]any)
			if a, b := slices.Sorted(maps.Keys(w)), slices.Sorted(maps.Keys(g)); !slices.Equal(a, b) {
				t.Errorf("%s: the document has %v, answered are %v", at, a, b)
				return
			}
			for key := range w {
				compare(at+"."+key, w[key], g[key])
			}
		case []any:
			g, ok := g.([]any)
			if !ok {
				t.Errorf("%s: answered is no list", at)
			} else if len(w) > 0 && len(g) > 0 {
				compare(at+"[0]", w[0], g[0])
			}
		case string:
			if _, ok := g.(string); !ok {
				t.Errorf("%s: answered is no text", at)
			}
		}
	}
	compare(at, w, g)
}
