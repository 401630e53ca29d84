// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

func secret(field protoreflect.FieldDescriptor) bool {
	if field == nil {
		return false
	}
	options, _ := field.Options().(*descriptorpb.FieldOptions)
	return options.GetDebugRedact()
}

func fieldRules(field protoreflect.FieldDescriptor) *validate.FieldRules {
	rules, _ := proto.GetExtension(field.Options(), validate.E_Field).(*validate.FieldRules)
	return rules
}

func messageRules(message protoreflect.MessageDescriptor) []*validate.Rule {
	rules, _ := proto.GetExtension(message.Options(), validate.E_Message).(*validate.MessageRules)
	return rules.GetCel()
}

// addRules adds what JSON Schema can say of a field's rules; the rest, and what
// counts bytes, is said in x-rules.
func addRules(schema object, field protoreflect.FieldDescriptor) {
	rules := fieldRules(field)
	var said []any
	if s := rules.GetString(); s != nil {
		if s.HasMinLen() {
			schema["minLength"] = s.GetMinLen()
		}
		if s.HasMaxLen() {
			schema["maxLength"] = s.GetMaxLen()
		}
		if s.HasMaxBytes() { // no text has fewer bytes than characters
			schema["maxLength"] = s.GetMaxBytes()
			said = append(said, "maxLength counts bytes of UTF-8")
		}
		if s.HasPattern() && rules.GetIgnore() != validate.Ignore_IGNORE_IF_ZERO_VALUE {
			schema["pattern"] = s.GetPattern()
		} else if s.HasNotContains() && len(s.GetNotContains()) == 1 {
			schema["pattern"] = "^[^" + regexp.QuoteMeta(s.GetNotContains()) + "]*$"
		}
		if len(s.GetNotIn()) > 0 {
			schema["not"] = object{"enum": s.GetNotIn()}
		}
	}
	if n := rules.GetInt32(); n != nil {
		if n.HasGte() {
			schema["minimum"] = n.GetGte()
		}
		if n.HasLte() {
			schema["maximum"] = n.GetLte()
		}
	}
	if field.Message() != nil && field.Message().FullName() == "google.protobuf.Duration" {
		schema["pattern"] = `^-?[0-9]+(\.[0-9]{1,9})?s$`
	}
	if d := rules.GetDuration(); d.HasGte() {
		said = append(said, "must not be shorter than "+d.GetGte().AsDuration().String())
	}
	if d := rules.GetDuration(); d.HasLte() {
		said = append(said, "must not be longer than "+d.GetLte().AsDuration().String())
	}
	if t := rules.GetTimestamp(); t.HasGt() {
		said = append(said, "must be after "+t.GetGt().AsTime().Format("2006-01-02T15:04:05Z07:00"))
	}
	for _, rule := range rules.GetCel() {
		said = append(said, rule.GetMessage())
	}
	if len(said) > 0 {
		schema["x-rules"] = said
	}
	if secret(field) {
		schema["format"], schema["writeOnly"] = "password", true
	}
}

// resourcePattern is what a rule such as ^rooms/A/recordings/B$ says of A and of
// B: any segment, where it says nothing.
func resourcePattern(name protoreflect.FieldDescriptor) [2]string {
	pattern := fieldRules(name).GetString().GetPattern()
	pattern = strings.TrimSuffix(strings.TrimPrefix(pattern, "^rooms/"), "$")
	room, recording, ok := strings.Cut(pattern, "/recordings/")
	if !ok {
		return [2]string{"[^/]+", "[^/]+"}
	}
	return [2]string{room, recording}
}
