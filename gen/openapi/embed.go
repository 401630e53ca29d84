// SPDX-License-Identifier: Apache-2.0

// Package openapi holds the OpenAPI 3.1 description of the REST API, generated
// from the protos beside it. It guarantees that the document is the one of the
// same build; serving it is the gateway's.
package openapi

import _ "embed"

//go:embed classrec/v1/recording_service.openapi.json
var document string

// Document returns the description as JSON.
func Document() string { return document }
