// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
)

// The reasons of the errors that are made here; every other error is the
// service's. They are part of the API.
const (
	errorDomain         = "classrec.dev"
	reasonField         = "INVALID_FIELD"   // as the service says for its field rules
	reasonInvalid       = "INVALID_REQUEST" // no field in particular
	reasonBodyTooLarge  = "BODY_TOO_LARGE"
	reasonCrossOrigin   = "CROSS_ORIGIN"
	reasonHost          = "UNKNOWN_HOST"
	reasonNotHere       = "NOT_THIS_MACHINE"
	reasonNoRoute       = "ROUTE_NOT_FOUND"
	reasonMethod        = "METHOD_NOT_ALLOWED"
	maxMessageInAnError = 512
)

// What is wrong with a field, as its violation says it. The service's own say
// the rule, as STRING_MAX_BYTES.
const (
	fieldUnknown   = "FIELD_UNKNOWN"
	fieldMalformed = "FIELD_MALFORMED"
	fieldInURL     = "FIELD_IN_URL"        // has to be in a body
	fieldSlash     = "STRING_NOT_CONTAINS" // as the service says
	fieldContrary  = "FIELD_CONTRADICTS"   // the path says otherwise
)

// errInvalid is INVALID_ARGUMENT for no field in particular.
func errInvalid(message string) *status.Status {
	return withDetails(status.New(codes.InvalidArgument, message), reasonInvalid)
}

// errField is INVALID_ARGUMENT for the named field.
// errContradicts is of a field that the path has otherwise than the body or the
// query.
func errContradicts(field string) *status.Status {
	return errField(field, fieldContrary, field+" is another one in the path: leave it out, or say the same")
}

func errField(field, reason, message string) *status.Status {
	return withDetails(status.New(codes.InvalidArgument, message), reasonField, &errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: message, Reason: reason}},
	})
}

func errBodyTooLarge(limit int64) *status.Status {
	return withDetails(status.Newf(codes.ResourceExhausted, "the body is larger than %d bytes", limit), reasonBodyTooLarge)
}

func errCrossOrigin() *status.Status {
	return withDetails(status.New(codes.PermissionDenied, "a page of another origin may not call this"), reasonCrossOrigin)
}

func errHost() *status.Status {
	return withDetails(status.New(codes.PermissionDenied,
		"the request is for a name that is not this server's; --allowed-host says which are"), reasonHost)
}

func errNotHere() *status.Status {
	return withDetails(status.New(codes.PermissionDenied,
		"this is for the machine of the server alone, where nobody is asked who he is"), reasonNotHere)
}

func errMethod(r *http.Request) *status.Status {
	return withDetails(status.Newf(codes.Unimplemented, "%s is not for %s; see /openapi.json", r.Method, r.URL.Path), reasonMethod)
}

func errNoRoute(r *http.Request) *status.Status {
	return withDetails(status.Newf(codes.NotFound, "there is no %s; see /openapi.json", r.URL.Path), reasonNoRoute)
}

func withDetails(st *status.Status, reason string, more ...protoadapt.MessageV1) *status.Status {
	details := append([]protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: reason, Domain: errorDomain}}, more...)
	if with, err := st.WithDetails(details...); err == nil {
		return with
	}
	return st
}

// errorWriter answers with errors.
type errorWriter struct {
	json    *jsonMarshaler
	routes  routes
	logger  *slog.Logger
	refused refusals
}

func newErrorWriter(logger *slog.Logger) *errorWriter {
	routes := newRoutes()
	return &errorWriter{json: newJSON(), routes: routes, logger: logger, refused: refusals{log: logger, routes: routes}}
}

// handle answers with what a call ended in.
func (e *errorWriter) handle(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	var path runtime.MalformedSequenceError
	if errors.As(err, &path) {
		e.write(w, r, 0, errInvalid(path.Error()))
		return
	}
	e.write(w, r, 0, explain(status.Convert(err)))
}

// handleRouting answers where no call is.
func (e *errorWriter) handleRouting(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	switch code {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", e.routes.methods(r.URL.Path)) // RFC 9110, 15.5.6
		e.write(w, r, code, errMethod(r))
	case http.StatusBadRequest:
		e.write(w, r, code, errInvalid("the path does not begin with /"))
	default:
		e.write(w, r, code, errNoRoute(r))
	}
}

// write answers with st, under the HTTP status of its code unless code gives
// another. A request that is no call has its line in the log then.
func (e *errorWriter) write(w http.ResponseWriter, r *http.Request, code int, st *status.Status) {
	if code == 0 {
		code = runtime.HTTPStatusFromCode(st.Code())
	}
	e.refused.write(r, st)
	body, err := e.json.Marshal(st.Proto())
	if err != nil {
		e.logger.LogAttrs(r.Context(), slog.LevelError, "cannot encode an error", slog.Any("error", err))
		body = []byte(`{"code":13,"message":"the error cannot be encoded","details":[]}` + "\n")
		code = http.StatusInternalServerError
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if after, ok := retryAfter(st); ok {
		h.Set("Retry-After", after)
	}
	if st.Code() == codes.Unauthenticated {
		h.Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(code)
	_, _ = w.Write(body) // an error: the caller has gone
}

// retryAfter is the RetryInfo of st as whole seconds, at least one.
func retryAfter(st *status.Status) (string, bool) {
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			wait := info.GetRetryDelay().AsDuration()
			return strconv.FormatInt(int64(max((wait+time.Second-1)/time.Second, 1)), 10), true
		}
	}
	return "", false
}

// fieldInText finds the field that a JSON or query error is about, as in
// `unknown field "rom"` and `invalid value for bool field recordChat`.
var fieldInText = regexp.MustCompile(`field:? "?([A-Za-z_][A-Za-z0-9_.]*)`)

// explain gives an error that the HTTP side of the gateway made from a request
// that it could not decode the details that the service's own errors have:
// these always have some, so an INVALID_ARGUMENT without is from here.
func explain(st *status.Status) *status.Status {
	if st.Code() != codes.InvalidArgument || len(st.Proto().GetDetails()) > 0 {
		return st
	}
	// protojson puts a space of varying kind after its prefix.
	message := strings.TrimLeft(strings.TrimPrefix(st.Message(), "proto:"), " \u00a0")
	if len(message) > maxMessageInAnError {
		message = strings.ToValidUTF8(message[:maxMessageInAnError], "") + "…"
	}
	text := "cannot read the request: " + message
	m := fieldInText.FindStringSubmatch(message)
	if m == nil {
		return errInvalid(text)
	}
	if strings.Contains(message, "unknown field") {
		return errField(m[1], fieldUnknown, text)
	}
	return errField(m[1], fieldMalformed, text)
}
