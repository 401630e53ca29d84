// SPDX-License-Identifier: Apache-2.0

// Program publicprotos writes the protos of the API as others need them to
// generate code: without the field rules, so that they import google/api,
// google/rpc and google/protobuf alone, which every language has as a package.
//
//	publicprotos DESCRIPTORS DIR SET
//
// DESCRIPTORS is the FileDescriptorSet of the protos with their comments, as
// `buf build` writes it. The .proto files are written below DIR. SET becomes a
// FileDescriptorSet of them and all that they import, without comments, for
// programs that read descriptors: grpcurl, Postman, proto-loader. The same input
// gives the same bytes.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jhump/protoreflect/v2/protoprint"
	_ "google.golang.org/genproto/googleapis/api/annotations" // so that these options are known, and kept
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// internal is what the service keeps for itself.
const internal = "classrec/store/"

// rules is where the field rules are.
const rules = "buf/validate/"

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: publicprotos DESCRIPTORS DIR SET")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "publicprotos:", err)
		os.Exit(1)
	}
}

func run(descriptors, dir, setName string) error {
	raw, err := os.ReadFile(descriptors)
	if err != nil {
		return err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		return fmt.Errorf("%s: %w", descriptors, err)
	}
	set.File = slices.DeleteFunc(set.File, func(f *descriptorpb.FileDescriptorProto) bool {
		return strings.HasPrefix(f.GetName(), internal) || strings.HasPrefix(f.GetName(), rules)
	})
	for _, f := range set.File {
		withoutRules(f)
	}
	if err := printAll(&set, dir); err != nil {
		return err
	}
	return writeSet(&set, setName)
}

// withoutRules takes the import of the rules out of a file, and every option that this program does not know, which
// are the rules.
func withoutRules(f *descriptorpb.FileDescriptorProto) {
	at := slices.IndexFunc(f.GetDependency(), func(name string) bool { return strings.HasPrefix(name, rules) })
	if at >= 0 {
		f.Dependency = slices.Delete(f.Dependency, at, at+1)
	}
	dropUnknown(f.ProtoReflect())
}

func dropUnknown(m protoreflect.Message) {
	m.SetUnknown(nil)
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap() || field.Message() == nil:
		case field.IsList():
			for i := range value.List().Len() {
				dropUnknown(value.List().Get(i).Message())
			}
		default:
			dropUnknown(value.Message())
		}
		if options, ok := value.Interface().(protoreflect.Message); ok && !field.IsList() && isEmpty(options) {
			m.Clear(field) // options that had nothing but rules
		}
		return true
	})
}

func isEmpty(m protoreflect.Message) bool {
	return strings.HasSuffix(string(m.Descriptor().Name()), "Options") && proto.Size(m.Interface()) == 0
}

// printAll writes our files as .proto.
func printAll(set *descriptorpb.FileDescriptorSet, dir string) error {
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return err
	}
	printer := protoprint.Printer{}
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(f.Path(), "classrec/") {
			return true
		}
		var text string
		if text, err = printer.PrintProtoToString(f); err != nil {
			err = fmt.Errorf("print %s: %w", f.Path(), err)
			return false
		}
		name := filepath.Join(dir, filepath.FromSlash(f.Path()))
		if err = os.MkdirAll(filepath.Dir(name), 0o755); err == nil {
			err = os.WriteFile(name, []byte(text), 0o644)
		}
		return err == nil
	})
	return err
}

// writeSet writes the descriptors without comments.
func writeSet(set *descriptorpb.FileDescriptorSet, name string) error {
	for _, f := range set.File {
		f.SourceCodeInfo = nil
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
	if err != nil {
		return err
	}
	return os.WriteFile(name, raw, 0o644)
}
