// SPDX-License-Identifier: Apache-2.0

// Program apidoc writes the reference of the API, as Markdown, from the protos:
// their comments, types, field rules and REST paths.
//
//	apidoc DESCRIPTORS DOCUMENT
//
// DESCRIPTORS is the FileDescriptorSet of the protos with their comments, as
// `buf build` writes it. The same input gives the same bytes.
package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// packages are those that are documented, in their order.
var packages = []protoreflect.FullName{"classrec.v1", "classrec.admin.v1"}

const head = `# API reference

Generated from [proto](../proto) by ` + "`make generate`" + `: what stands here is what the protos say. Fields are named as in
proto and gRPC; over REST they are in lowerCamelCase (` + "`request_id` is `requestId`" + `), times are RFC 3339, durations are
seconds such as ` + "`3600s`" + `, and 64-bit numbers are strings. The reasons of errors, and what to do about them, are in
[errors.md](errors.md).

`

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: apidoc DESCRIPTORS DOCUMENT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "apidoc:", err)
		os.Exit(1)
	}
}

func run(descriptors, document string) error {
	raw, err := os.ReadFile(descriptors)
	if err != nil {
		return err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		return fmt.Errorf("%s: %w", descriptors, err)
	}
	registry, err := protodesc.NewFiles(&set)
	if err != nil {
		return fmt.Errorf("%s: %w", descriptors, err)
	}
	d := &doc{}
	d.WriteString(head)
	for _, name := range packages {
		var files []protoreflect.FileDescriptor
		registry.RangeFilesByPackage(name, func(f protoreflect.FileDescriptor) bool {
			files = append(files, f)
			return true
		})
		slices.SortFunc(files, func(a, b protoreflect.FileDescriptor) int { return strings.Compare(a.Path(), b.Path()) })
		d.pkg(name, files)
	}
	return os.WriteFile(document, append(bytes.TrimRight(d.Bytes(), "\n"), '\n'), 0o644)
}

// doc is the document as it grows.
type doc struct{ bytes.Buffer }

func (d *doc) line(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

// pkg documents a package: its services, then what they speak of.
func (d *doc) pkg(name protoreflect.FullName, files []protoreflect.FileDescriptor) {
	d.line("## %s\n", name)
	for _, f := range files {
		for i := range f.Services().Len() {
			d.service(f.Services().Get(i))
		}
	}
	for _, f := range files {
		for i := range f.Messages().Len() {
			d.message(f.Messages().Get(i))
		}
	}
	for _, f := range files {
		for i := range f.Enums().Len() {
			d.enum(f.Enums().Get(i))
		}
	}
}

func (d *doc) service(s protoreflect.ServiceDescriptor) {
	d.line("### %s\n\n%s\n", s.Name(), comment(s))
	for i := range s.Methods().Len() {
		m := s.Methods().Get(i)
		d.line("#### %s\n", m.Name())
		stream := ""
		if m.IsStreamingServer() {
			stream = "stream of "
		}
		d.line("`%s/%s`: %s → %s%s\n", s.FullName(), m.Name(), link(m.Input()), stream, link(m.Output()))
		for _, path := range paths(m) {
			d.line("- `%s`", path)
		}
		if len(paths(m)) > 0 {
			d.line("")
		}
		d.line("%s\n", comment(m))
	}
}

// paths are the REST paths of a method.
func paths(m protoreflect.MethodDescriptor) (all []string) {
	rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok || rule == nil {
		return nil
	}
	for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
		switch {
		case r.GetGet() != "":
			all = append(all, "GET "+r.GetGet())
		case r.GetPost() != "":
			all = append(all, "POST "+r.GetPost())
		case r.GetDelete() != "":
			all = append(all, "DELETE "+r.GetDelete())
		}
	}
	return all
}

func (d *doc) message(m protoreflect.MessageDescriptor) {
	if m.IsMapEntry() {
		return
	}
	d.line("### %s\n\n%s\n", title(m), comment(m))
	if m.Fields().Len() > 0 {
		d.line("| field | type | |\n|---|---|---|")
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			notes := comment(f)
			if one := f.ContainingOneof(); one != nil && !one.IsSynthetic() {
				notes = "One of `" + string(one.Name()) + "`. " + notes
			}
			d.line("| `%s` | %s | %s |", f.Name(), typeOf(f), cell(notes))
		}
		d.line("")
	}
	for i := range m.Messages().Len() {
		d.message(m.Messages().Get(i))
	}
	for i := range m.Enums().Len() {
		d.enum(m.Enums().Get(i))
	}
}

func (d *doc) enum(e protoreflect.EnumDescriptor) {
	d.line("### %s\n\n%s\n", title(e), comment(e))
	d.line("| value | number | |\n|---|---|---|")
	for i := range e.Values().Len() {
		v := e.Values().Get(i)
		d.line("| `%s` | %d | %s |", v.Name(), v.Number(), cell(comment(v)))
	}
	d.line("")
}

// title is a name within its package.
func title(of protoreflect.Descriptor) string {
	return strings.TrimPrefix(string(of.FullName()), string(of.ParentFile().Package())+".")
}

// link is a message or enum, with a link where it is documented here.
func link(of protoreflect.Descriptor) string {
	if !slices.Contains(packages, of.ParentFile().Package()) {
		return "`" + string(of.FullName()) + "`"
	}
	name := title(of)
	return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(strings.ReplaceAll(name, ".", "")))
}

func typeOf(f protoreflect.FieldDescriptor) string {
	if f.IsMap() {
		return fmt.Sprintf("map of %s to %s", typeOf(f.MapKey()), typeOf(f.MapValue()))
	}
	var name string
	switch {
	case f.Message() != nil:
		name = link(f.Message())
	case f.Enum() != nil:
		name = link(f.Enum())
	default:
		name = f.Kind().String()
	}
	switch {
	case f.IsList():
		return "list of " + name
	case f.HasOptionalKeyword():
		return name + ", optional"
	}
	return name
}

// comment is what stands above something in its file, and behind it.
func comment(of protoreflect.Descriptor) string {
	where := of.ParentFile().SourceLocations().ByDescriptor(of)
	var lines []string
	for _, text := range []string{where.LeadingComments, where.TrailingComments} {
		for line := range strings.Lines(text) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// cell is a text on one line of a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", "\\|")
}
