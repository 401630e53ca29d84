// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// route is one way to make one call.
type route struct {
	method  string
	rule    string         // as the proto has it
	pattern string         // the same, as runtime.Pattern writes it
	path    *regexp.Regexp // decoded paths that are meant
	input   protoreflect.MessageDescriptor
}

// routes are all of the API's.
type routes []route

// newRoutes reads the routes out of the proto.
func newRoutes() (all routes) {
	services := classrecv1.File_classrec_v1_recording_service_proto.Services()
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for j := range methods.Len() {
			method := methods.Get(j)
			rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
			for _, rule := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
				r := route{method: http.MethodGet, input: method.Input()}
				path := rule.GetGet()
				if path == "" {
					r.method, path = http.MethodPost, rule.GetPost()
				}
				r.rule = path
				r.pattern = shortVariable.ReplaceAllString(path, "{$1=*}")
				r.path = pathOf(r.pattern)
				all = append(all, r)
			}
		}
	}
	return all
}

var (
	shortVariable = regexp.MustCompile(`\{(\w+)\}`)
	longVariable  = regexp.MustCompile(`\{(\w+)=([^}]*)\}`)
)

// pathOf matches the paths that a pattern such as /v1/{name=rooms/*}:stop is
// for, and has their variables as groups. A star is one segment.
func pathOf(pattern string) *regexp.Regexp {
	path := longVariable.ReplaceAllString(pattern, "(?P<$1>$2)") // nothing else in it means anything
	return regexp.MustCompile("^" + strings.ReplaceAll(path, "*", "[^/]+") + "$")
}

// about is which rule a path is of, and the room and recording that it names;
// not ok: of none. One that is for the method goes first.
func (all routes) about(method, path string) (rule, room, recording string, ok bool) {
	for _, r := range all {
		if ok && r.method != method {
			continue
		}
		found := r.path.FindStringSubmatch(path)
		if found == nil {
			continue
		}
		rule, room, recording, ok = r.rule, "", "", true
		for i, variable := range r.path.SubexpNames() {
			switch variable {
			case "room":
				room = found[i]
			case "name":
				recording = found[i]
				room = strings.Split(recording, "/")[1] // rooms/…/recordings/…
			}
		}
		if r.method == method {
			break
		}
	}
	return rule, room, recording, ok
}

// query is the message that the query of a GET is read into; nil for none.
func (all routes) query(pattern string) protoreflect.MessageDescriptor {
	for _, r := range all {
		if r.method == http.MethodGet && r.pattern == pattern {
			return r.input
		}
	}
	return nil
}

// methods are those that a path is served for, as the header Allow has them.
func (all routes) methods(path string) string {
	var methods []string
	for _, r := range all {
		if r.path.MatchString(path) {
			methods = append(methods, r.method)
		}
	}
	slices.Sort(methods)
	return strings.Join(slices.Compact(methods), ", ")
}
