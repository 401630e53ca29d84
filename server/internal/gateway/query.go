// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"net/http"
	"net/url"
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
		if st := q.check(r, values); st != nil {
			q.errs.write(w, r, 0, st)
			return
		}
		next(w, r, params)
	}
}

func (q *queryCheck) check(r *http.Request, values url.Values) *status.Status {
	if len(values) == 0 {
		return nil
	}
	if r.Method != http.MethodGet {
		return errField(firstKey(values), fieldInURL, "a query is not read here: give the fields in the body")
	}
	pattern, _ := runtime.HTTPPattern(r.Context())
	message := q.errs.routes.query(pattern.String())
	for key := range values {
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
