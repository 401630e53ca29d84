// SPDX-License-Identifier: Apache-2.0

package client

import (
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ErrorDetails is what the service says of an error.
type ErrorDetails struct {
	Code    codes.Code
	Message string
	// Reason is stable, and unique within the service; "" where the error is
	// not the service's own.
	Reason string
	// Metadata goes with the reason.
	Metadata map[string]string
	// Fields are what is wrong with which field, for INVALID_ARGUMENT.
	Fields []FieldViolation
	// RetryAfter says when trying again may help; 0: not said.
	RetryAfter time.Duration
}

// FieldViolation is a field of a request and what is wrong with it.
type FieldViolation struct{ Field, Description string }

// Details reads an error of a call. For nil, Code is OK; for an error that is
// none of gRPC, UNKNOWN.
func Details(err error) ErrorDetails {
	st := status.Convert(err)
	// Of an error that wraps the call's, the call's own words.
	var call interface{ GRPCStatus() *status.Status }
	if errors.As(err, &call) && call.GRPCStatus() != nil {
		st = call.GRPCStatus()
	}
	d := ErrorDetails{Code: st.Code(), Message: st.Message()}
	for _, detail := range st.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			d.Reason, d.Metadata = detail.GetReason(), detail.GetMetadata()
		case *errdetails.BadRequest:
			for _, v := range detail.GetFieldViolations() {
				d.Fields = append(d.Fields, FieldViolation{v.GetField(), v.GetDescription()})
			}
		case *errdetails.RetryInfo:
			d.RetryAfter = detail.GetRetryDelay().AsDuration()
		}
	}
	return d
}
