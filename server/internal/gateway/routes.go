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
	pattern string         // as runtime.Pattern writes it
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
	longVariable  = regexp.MustCompile(`\{\w+=([^}]*)\}`)
)

// pathOf matches the paths that a pattern such as /v1/{name=rooms/*}:stop is
// for. A star is one segment.
func pathOf(pattern string) *regexp.Regexp {
	path := regexp.QuoteMeta(longVariable.ReplaceAllString(pattern, "$1"))
	return regexp.MustCompile("^" + strings.ReplaceAll(path, `\*`, "[^/]+") + "$")
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
