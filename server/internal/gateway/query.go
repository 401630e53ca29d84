// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// queryCheck refuses query parameters that a call does not have, which would
// otherwise be passed over in silence, and those that must not be in a URL,
// where logs and histories keep them.
type queryCheck struct{ errs *errorWriter }

func (q *queryCheck) middleware(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
		values, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			q.errs.write(w, r, 0, errInvalid("cannot read the query: "+err.Error()))
			return
		}
		if st := q.check(r, values, params); st != nil {
			q.errs.write(w, r, 0, st)
			return
		}
		if restorePlus(values) {
			r = r.Clone(r.Context())
			r.URL.RawQuery = values.Encode()
			r.Form = nil
		}
		next(w, r, params)
	}
}

func (q *queryCheck) check(r *http.Request, values url.Values, params map[string]string) *status.Status {
	if len(values) == 0 {
		return nil
	}
	if r.Method != http.MethodGet {
		return errField(firstKey(values), fieldInURL, "a query is not read here: give the fields in the body")
	}
	pattern, _ := runtime.HTTPPattern(r.Context())
	message := q.errs.routes.query(pattern.String())
	for key, given := range values {
		if inPath, has := params[key]; has && slices.ContainsFunc(given, func(v string) bool { return v != inPath }) {
			return errContradicts(key)
		}
		field := fieldOf(message, key)
		if field == nil {
			return errField(key, fieldUnknown, fmt.Sprintf("unknown query parameter %q", key))
		}
		if options, ok := field.Options().(*descriptorpb.FieldOptions); ok && options.GetDebugRedact() {
			return errField(string(field.Name()), fieldInURL, string(field.Name())+" is not taken from a URL: use POST and give it in the body")
		}
	}
	return nil
}

// fieldOf finds the field that a parameter such as user_id or userId means; of
// a path such as record_time.seconds, its first part. Nil: none.
func fieldOf(message protoreflect.MessageDescriptor, key string) protoreflect.FieldDescriptor {
	if message == nil {
		return nil
	}
	key, _, _ = strings.Cut(key, ".")
	if field := message.Fields().ByName(protoreflect.Name(key)); field != nil {
		return field
	}
	return message.Fields().ByJSONName(key)
}

// firstKey is the same one for the same query.
func firstKey(values url.Values) string {
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	return slices.Min(keys)
}

// spacedTime is a time (RFC 3339) whose plus was written as it is, and so reads
// as a blank in a query.
var spacedTime = regexp.MustCompile(`^(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?) (\d\d:\d\d)$`)

// restorePlus writes the plus of times again; changed says that there was one.
func restorePlus(values url.Values) (changed bool) {
	for _, list := range values {
		for i, value := range list {
			if spacedTime.MatchString(value) {
				list[i], changed = spacedTime.ReplaceAllString(value, "$1+$2"), true
			}
		}
	}
	return changed
}

// pathCheck refuses a body that says otherwise than the path: the path would be
// followed, and the body passed over in silence.
type pathCheck struct{ errs *errorWriter }

func (p *pathCheck) middleware(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
		if r.Method == http.MethodPost && r.Body != nil {
			data, err := io.ReadAll(r.Body) // bounded, and here already
			if err != nil {
				p.errs.write(w, r, 0, errInvalid("the body did not come whole"))
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(data))
			if key := contradiction(data, params); key != "" {
				p.errs.write(w, r, 0, errContradicts(key))
				return
			}
		}
		next(w, r, params)
	}
}

// contradiction returns the field that a JSON body has otherwise than the path;
// "" for none.
func contradiction(data []byte, params map[string]string) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return "" // it is refused for that
	}
	for key, inPath := range params {
		var given string
		if raw, has := fields[key]; has && json.Unmarshal(raw, &given) == nil && given != "" && given != inPath {
			return key
		}
	}
	return ""
}
