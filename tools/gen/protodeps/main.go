// SPDX-License-Identifier: Apache-2.0

// Program protodeps writes the .proto files that ours import into a directory,
// printed from the descriptors that the Go modules of their owners carry. The
// imports of proto/ so come from pinned packages, and no copy is kept here.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	_ "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/jhump/protoreflect/v2/protoprint"
	_ "google.golang.org/genproto/googleapis/api/annotations"
	_ "google.golang.org/genproto/googleapis/rpc/errdetails"
	_ "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// roots are the files that ours import; what they import comes along, but for
// google/protobuf/*, which every compiler brings.
var roots = []string{
	"buf/validate/validate.proto",
	"google/api/annotations.proto",
	"google/api/client.proto",
	"google/api/field_behavior.proto",
	"google/api/resource.proto",
	"google/rpc/error_details.proto", // of errors, for the clients that have no package with it
	"google/rpc/status.proto",
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: protodeps DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "protodeps:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	done := map[string]bool{}
	for _, path := range roots {
		file, err := protoregistry.GlobalFiles.FindFileByPath(path)
		if err != nil {
			return fmt.Errorf("find %s: %w", path, err)
		}
		if err := write(dir, file, done); err != nil {
			return err
		}
	}
	return nil
}

func write(dir string, file protoreflect.FileDescriptor, done map[string]bool) error {
	path := file.Path()
	if done[path] || filepath.Dir(path) == "google/protobuf" {
		return nil
	}
	done[path] = true
	imports := file.Imports()
	for i := range imports.Len() {
		if err := write(dir, imports.Get(i).FileDescriptor, done); err != nil {
			return err
		}
	}
	text, err := (&protoprint.Printer{}).PrintProtoToString(file)
	if err != nil {
		return fmt.Errorf("print %s: %w", path, err)
	}
	name := filepath.Join(dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), 0o644)
}
