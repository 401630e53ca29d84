// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/gen/openapi"
	"github.com/classrec/classrec/server/internal/gateway"
)

// document is what the tests read of /openapi.json.
type document struct {
	Info    struct{ Title, Version string }
	Servers []struct{ URL string }
	Paths   map[string]map[string]operation
}

type operation struct {
	OperationID string
	Parameters  []struct {
		Name, In string
		Required bool
		Schema   schema
	}
	RequestBody *struct {
		Required bool
		Content  map[string]struct{ Schema schema }
	}
	Responses map[string]struct {
		Content map[string]struct{ Schema schema }
	}
}

type schema struct {
	Ref                  string `json:"$ref"`
	Type, Format         string
	Pattern              string
	MinLength, MaxLength int
	Minimum              *int
	WriteOnly            bool
	Properties           map[string]schema
}

func readDocument(t *testing.T) document {
	t.Helper()
	var doc document
	if err := json.Unmarshal([]byte(openapi.Document()), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// each calls f with every operation.
func (d document) each(f func(method, path string, op operation)) {
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(d.Paths[path])) {
			f(strings.ToUpper(method), path, d.Paths[path][method])
		}
	}
}

var variable = regexp.MustCompile(`\{(\w+)\}`)

// example fills a path of the document in.
func example(path string) string {
	return variable.ReplaceAllStringFunc(path, func(name string) string {
		return map[string]string{"{room}": "42", "{recording}": "17"}[name]
	})
}

// watching answers all that echo does, and a stream of one message, which has
// the sequence that it was asked for.
func watching() *service {
	s := echo()
	s.watch = func(r *classrecv1.WatchClassBeginRequest, stream watchStream) error {
		return stream.Send(synced(r.GetAfterSequence()))
	}
	return s
}

// The document has each binding of the proto, and no other.
func TestOpenAPI_Routes(t *testing.T) {
	t.Parallel()
	var want, got []string
	methods := classrecv1.File_classrec_v1_recording_service_proto.Services().ByName("RecordingService").Methods()
	for i := range methods.Len() {
		rule, ok := proto.GetExtension(methods.Get(i).Options(), annotations.E_Http).(*annotations.HttpRule)
		if !ok {
			t.Fatal("a call without a binding")
		}
		for _, rule := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
			method, path := "GET", rule.GetGet()
			if path == "" {
				method, path = "POST", rule.GetPost()
			}
			want = append(want, method+" "+strings.ReplaceAll(path, "{name=rooms/*/recordings/*}", "rooms/{room}/recordings/{recording}"))
		}
	}
	readDocument(t).each(func(method, path string, _ operation) { got = append(got, method+" "+path) })
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Errorf("the document has\n%s\nthe proto\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Whoever goes by the document is served: each operation, without a body where
// none is required, in each content type, and in no other.
func TestOpenAPI_Served(t *testing.T) {
	t.Parallel()
	base := newGateway(t, watching(), gateway.Config{})
	readDocument(t).each(func(method, path string, op operation) {
		if op.RequestBody != nil && op.RequestBody.Required {
			t.Errorf("%s %s: the body is required", method, path)
		}
		var declared []string
		for _, p := range op.Parameters {
			if p.In == "path" {
				declared = append(declared, "{"+p.Name+"}")
			}
		}
		if used := variable.FindAllString(path, -1); !slices.Equal(slices.Sorted(slices.Values(declared)), slices.Sorted(slices.Values(used))) {
			t.Errorf("%s: parameters %v", path, declared)
		}
		served := map[string]bool{}
		for _, accept := range []string{"", "*/*", "application/json", "application/x-ndjson", "text/event-stream"} {
			a := send(t, method, base+example(path), "", "Accept", accept)
			contentType := a.header.Get("Content-Type")
			if _, ok := op.Responses["200"].Content[contentType]; a.status != 200 || !ok {
				t.Errorf("%s %s, Accept: %q: %d %s is not in the document", method, path, accept, a.status, contentType)
			}
			served[contentType] = true
		}
		for contentType := range op.Responses["200"].Content {
			if !served[contentType] {
				t.Errorf("%s %s: %s is in the document only", method, path, contentType)
			}
		}
		if ref := op.Responses["default"].Content["application/json"].Schema.Ref; ref != "#/components/schemas/google.rpc.Status" {
			t.Errorf("%s %s: errors are %q", method, path, ref)
		}
	})
}

// Each parameter and each field of a body is one that the gateway takes.
func TestOpenAPI_Parameters(t *testing.T) {
	t.Parallel()
	base := newGateway(t, watching(), gateway.Config{})
	value := func(name string, s schema) string {
		switch {
		case s.Format == "date-time":
			return "2023-11-14T22:13:20Z"
		case s.Type == "boolean":
			return "true"
		case name == "maxDuration":
			return "1s"
		case s.Ref != "":
			return "0"
		}
		return "7"
	}
	readDocument(t).each(func(method, path string, op operation) {
		for _, p := range op.Parameters {
			if p.In != "query" {
				continue
			}
			if a := send(t, method, base+example(path)+"?"+p.Name+"="+value(p.Name, p.Schema), ""); a.status != 200 {
				t.Errorf("%s %s: %s: %d %s", method, path, p.Name, a.status, a.body)
			}
		}
		if op.RequestBody == nil {
			return
		}
		for name, s := range op.RequestBody.Content["application/json"].Schema.Properties {
			text := value(name, s)
			if s.Type == "string" {
				text = `"` + text + `"`
			}
			if a := send(t, method, base+example(path), `{"`+name+`":`+text+`}`); a.status != 200 {
				t.Errorf("%s %s: %s: %d %s", method, path, name, a.status, a.body)
			}
		}
	})
}

// An EventSource resumes with a header, which the document knows.
func TestOpenAPI_LastEventID(t *testing.T) {
	t.Parallel()
	base := newGateway(t, watching(), gateway.Config{})
	const path = "/v1/rooms/{room}/classBegin:watch"
	for method, op := range readDocument(t).Paths[path] {
		for _, p := range op.Parameters {
			if p.In == "header" {
				a := send(t, strings.ToUpper(method), base+example(path), "", p.Name, "7")
				if p.Name != "Last-Event-ID" || !strings.Contains(string(a.body), `"7"`) {
					t.Errorf("%s %s: %s", method, p.Name, a.body)
				}
				method = ""
			}
		}
		if method != "" {
			t.Errorf("%s: no header to resume with", method)
		}
	}
}

// The document has the rules of the fields, and no secret in a URL.
func TestOpenAPI_Rules(t *testing.T) {
	t.Parallel()
	doc := readDocument(t)
	if doc.Info.Title != "classrec" || len(doc.Servers) != 1 || doc.Servers[0].URL != "/" {
		t.Errorf("%+v %+v", doc.Info, doc.Servers)
	}
	doc.each(func(method, path string, op operation) {
		for _, p := range op.Parameters {
			if strings.Contains(strings.ToLower(p.Name), "password") {
				t.Errorf("%s %s: %s in the %s", method, path, p.Name, p.In)
			}
			if p.Name == "room" && p.In == "path" && p.Schema.Pattern == "" {
				t.Errorf("%s %s: a room is any text", method, path)
			}
			if p.Name == "pageSize" && (p.Schema.Minimum == nil || *p.Schema.Minimum != 0) {
				t.Errorf("%s %s: pageSize has no minimum", method, path)
			}
		}
	})
	if t.Failed() {
		return
	}
	start := doc.Paths["/v1/rooms/{room}/recordings"]["post"]
	if room := start.Parameters[0].Schema; room.MinLength != 1 || room.MaxLength != 128 || !matches(t, room.Pattern, "42") || matches(t, room.Pattern, "a/b") {
		t.Errorf("room: %+v", room)
	}
	body := start.RequestBody.Content["application/json"].Schema.Properties
	if s := body["roomPassword"]; s.MaxLength != 256 || !s.WriteOnly || s.Format != "password" {
		t.Errorf("roomPassword: %+v", s)
	}
	if s := body["maxDuration"]; !matches(t, s.Pattern, "90.5s") || matches(t, s.Pattern, "90") {
		t.Errorf("maxDuration: %+v", s)
	}
	for _, p := range doc.Paths["/v1/rooms/{room}/recordings/{recording}"]["get"].Parameters {
		if p.Name == "recording" && (!matches(t, p.Schema.Pattern, "1795382077-2") || matches(t, p.Schema.Pattern, "a/b")) {
			t.Errorf("recording: %+v", p.Schema)
		}
	}
	// A class is stopped by room or by name: what is in the path has no second in
	// the body.
	for _, path := range []string{"/v1/rooms/{room}/recordings:stop", "/v1/rooms/{room}/recordings/{recording}:stop"} {
		fields := slices.Sorted(maps.Keys(doc.Paths[path]["post"].RequestBody.Content["application/json"].Schema.Properties))
		if !slices.Equal(fields, []string{"roomPassword"}) {
			t.Errorf("%s: the body has %v", path, fields)
		}
	}
}

func matches(t *testing.T, pattern, text string) bool {
	t.Helper()
	ok, err := regexp.MatchString(pattern, text)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}
