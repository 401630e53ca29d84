// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"fmt"
	"io"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// jsonMarshaler is how messages look in JSON: proto3 JSON with camelCase names
// and enums by name. Scalars, enums and lists are always there, so that readers
// need no defaults of their own; messages that are not set are left out. A body
// with a field that does not exist, or with anything after its end, is refused.
type jsonMarshaler struct{ runtime.JSONPb }

func newJSON() *jsonMarshaler {
	return &jsonMarshaler{runtime.JSONPb{
		MarshalOptions: protojson.MarshalOptions{EmitDefaultValues: true},
	}}
}

// Marshal ends the text with a newline, for whoever reads it in a terminal.
func (j *jsonMarshaler) Marshal(v any) ([]byte, error) {
	b, err := j.JSONPb.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// NewDecoder decodes the whole of r as one message; io.EOF for an empty r.
func (j *jsonMarshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(data)) == 0 {
			return io.EOF
		}
		message, ok := v.(proto.Message)
		if !ok {
			return fmt.Errorf("decode a body into %T", v)
		}
		return j.UnmarshalOptions.Unmarshal(data, message)
	})
}
