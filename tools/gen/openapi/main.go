// SPDX-License-Identifier: Apache-2.0

// Program openapi mends the OpenAPI document that protoc-gen-openapiv3 writes,
// which knows neither the field rules of the protos nor how the gateway serves
// them: streams, empty bodies, secrets, names of resources.
//
//	openapi DESCRIPTORS DOCUMENT
//
// DESCRIPTORS is the FileDescriptorSet of the protos, as `buf build` writes it.
// The same input gives the same bytes.
package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

const serviceName = "classrec.v1.RecordingService"

// additions are the parts of the document that no proto says.
//
//go:embed additions.json
var additions []byte

// examples are requests, answers and errors as a server gives them.
//
//go:embed examples.json
var examples []byte

type object = map[string]any

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: openapi DESCRIPTORS DOCUMENT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

func run(descriptors, document string) error {
	service, err := readService(descriptors)
	if err != nil {
		return fmt.Errorf("%s: %w", descriptors, err)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	var doc, more object
	if err := decode(text, &doc); err != nil {
		return fmt.Errorf("%s: %w", document, err)
	}
	if err := decode(additions, &more); err != nil {
		return fmt.Errorf("additions.json: %w", err)
	}
	if err := decode(examples, &more); err != nil { // its keys are others
		return fmt.Errorf("examples.json: %w", err)
	}
	if err := mend(doc, more, service); err != nil {
		return fmt.Errorf("%s: %w", document, err)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return err
	}
	return os.WriteFile(document, out.Bytes(), 0o644)
}

func decode(text []byte, to *object) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(to)
}

func readService(path string) (protoreflect.ServiceDescriptor, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(data, &set); err != nil {
		return nil, err
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		return nil, err
	}
	found, err := files.FindDescriptorByName(serviceName)
	if err != nil {
		return nil, err
	}
	service, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s: %w", serviceName, protoregistry.NotFound)
	}
	return service, nil
}

func mend(doc, more object, service protoreflect.ServiceDescriptor) error {
	tags := doc["tags"].([]any)
	doc["info"], doc["servers"] = more["info"], more["servers"]
	doc["info"].(object)["description"] = tags[0].(object)["description"]
	doc["security"] = more["security"]
	components := doc["components"].(object)
	maps.Copy(components["schemas"].(object), more["schemas"].(object))
	components["securitySchemes"], components["examples"] = more["securitySchemes"], more["errors"]

	paths := object{}
	for path, item := range doc["paths"].(object) {
		for _, op := range item.(object) {
			o := operation{object: op.(object), more: more}
			if err := o.find(service); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			o.mend()
		}
		paths[resourcePath(path)] = item
	}
	doc["paths"] = paths
	return nil
}

// resourcePath names the parts of a resource's name, which the generator
// counts.
func resourcePath(path string) string {
	return strings.NewReplacer("{name}", "{room}", "{name_1}", "{recording}").Replace(path)
}

// operation is one binding of one call.
type operation struct {
	object
	more   object
	method protoreflect.MethodDescriptor
	path   string // as the proto has it
}

// find reads the operation's id: RecordingService_StopRecording_1 is the second
// binding of StopRecording.
func (o *operation) find(service protoreflect.ServiceDescriptor) error {
	parts := strings.Split(o.object["operationId"].(string), "_")
	if o.method = service.Methods().ByName(protoreflect.Name(parts[1])); o.method == nil {
		return fmt.Errorf("no method %s", parts[1])
	}
	rule, _ := proto.GetExtension(o.method.Options(), annotations.E_Http).(*annotations.HttpRule)
	if len(parts) > 2 {
		n, err := strconv.Atoi(parts[2])
		if err != nil || n < 1 || n > len(rule.GetAdditionalBindings()) {
			return fmt.Errorf("no binding %s", parts[2])
		}
		rule = rule.GetAdditionalBindings()[n-1]
	}
	o.path = rule.GetGet() + rule.GetPost()
	return nil
}

func (o *operation) mend() {
	o.object["summary"] = strings.ReplaceAll(o.object["summary"].(string), "\n", " ")
	fields := o.method.Input().Fields()
	params, _ := o.object["parameters"].([]any)
	params = slices.DeleteFunc(params, func(p any) bool {
		field := fields.ByJSONName(p.(object)["name"].(string))
		return p.(object)["in"] == "query" && secret(field) // the gateway takes none from a URL
	})
	for _, p := range params {
		param := p.(object)
		name := param["name"].(string)
		if field := fields.ByName("name"); field != nil && strings.HasPrefix(name, "name") && strings.Contains(o.path, "{name=") {
			part := 0 // of rooms/*/recordings/*
			if name != "name" {
				part = 1
			}
			param["name"] = strings.Trim(resourcePath("{"+name+"}"), "{}")
			param["description"] = o.more["resource"].([]any)[part]
			param["schema"].(object)["pattern"] = "^" + resourcePattern(field)[part] + "$"
			continue
		}
		addRules(param["schema"].(object), fields.ByJSONName(name))
	}
	if body, ok := o.object["requestBody"].(object); ok {
		delete(body, "required") // no body is an empty one
		properties := body["content"].(object)["application/json"].(object)["schema"].(object)["properties"].(object)
		for name, schema := range properties {
			field := fields.ByJSONName(name)
			if o.excluded(field) {
				delete(properties, name)
				continue
			}
			addRules(schema.(object), field)
		}
	}
	responses := o.object["responses"].(object)
	failed := responses["default"].(object)
	maps.Copy(failed, o.more["failure"].(object))
	failed["content"].(object)["application/json"].(object)["examples"] = o.errors()
	if body, ok := o.object["requestBody"].(object); ok {
		body["content"].(object)["application/json"].(object)["example"] = o.example("requests")
	}
	responses["200"].(object)["content"].(object)["application/json"].(object)["example"] = o.example("responses")
	if o.method.IsStreamingServer() {
		params = append(params, o.more["lastEventID"])
		ok := responses["200"].(object)
		content := object{"application/x-ndjson": ok["content"].(object)["application/json"]}
		events := maps.Clone(o.more["events"].(object)["text/event-stream"].(object))
		events["example"] = o.more["eventsExample"]
		content["text/event-stream"] = events
		ok["content"] = content
		ok["description"] = o.more["stream"]
	}
	o.object["parameters"] = params
}

// example is that of the call, of requests or responses.
func (o *operation) example(of string) any {
	return o.more[of].(object)[string(o.method.Name())]
}

// errors refers to the examples of errors that the call may end in.
func (o *operation) errors() object {
	refs := object{}
	for _, name := range o.example("errorsOf").([]any) {
		refs[name.(string)] = object{"$ref": "#/components/examples/" + name.(string)}
	}
	return refs
}

// excluded says whether the path has another field that a rule of the message
// (name.xor_room) allows one of only.
func (o *operation) excluded(field protoreflect.FieldDescriptor) bool {
	for _, rule := range messageRules(o.method.Input()) {
		if a, b, ok := strings.Cut(rule.GetId(), ".xor_"); ok {
			inPath := func(name string) bool { return regexp.MustCompile(`\{` + name + `[=}]`).MatchString(o.path) }
			if name := string(field.Name()); name == a && inPath(b) || name == b && inPath(a) {
				return true
			}
		}
	}
	return false
}
