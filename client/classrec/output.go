// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// printer writes results in the format that was asked for.
type printer struct {
	w      io.Writer
	format string // table, json, yaml or name
	now    func() time.Time
	colors bool
	width  int // of the terminal; 0: there is none
}

// recording prints one.
func (p printer) recording(r *classrecv1.Recording) error {
	switch p.format {
	case "json":
		return p.json(r, "  ")
	case "yaml":
		return p.yaml(r)
	case "name":
		return p.line(clean(r.GetName()))
	default:
		return p.describe(r)
	}
}

// recordings prints a list.
func (p printer) recordings(list *classrecv1.ListRecordingsResponse) error {
	switch p.format {
	case "json":
		return p.json(list, "  ")
	case "yaml":
		return p.yaml(list)
	case "name":
		for _, r := range list.GetRecordings() {
			if err := p.line(r.GetName()); err != nil {
				return err
			}
		}
		return nil
	default:
		return p.table(list.GetRecordings())
	}
}

// event prints one message of a watch, as soon as it is there.
func (p printer) event(m *classrecv1.WatchClassBeginResponse) error {
	switch p.format {
	case "json":
		return p.json(m, "")
	case "yaml":
		if err := p.line("---"); err != nil {
			return err
		}
		return p.yaml(m)
	}
	e := m.GetEvent()
	switch {
	case e == nil:
		return nil // synced and heartbeat are for programs
	case p.format == "name":
		return p.line(e.GetRecording().GetName())
	}
	note := ""
	if e.GetInList() {
		note = " (was on already)"
	}
	return p.line(fmt.Sprintf("%-8d %s  %-6s  %s  %s%s", e.GetSequence(), moment(e.GetTime()),
		short(e.GetAction().String(), "CLASS_BEGIN_ACTION_"), clean(e.GetRecording().GetName()),
		p.state(e.GetRecording()), note))
}

func (p printer) line(text string) error {
	_, err := fmt.Fprintln(p.w, text)
	return err
}

// marshal is JSON with the spelling of the REST API, the same every time:
// protojson varies its spaces.
func marshal(m proto.Message) ([]byte, error) {
	text, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = json.Compact(&b, text)
	return []byte(escapeControls(b.String())), err
}

func (p printer) json(m proto.Message, indent string) error {
	text, err := marshal(m)
	if err != nil {
		return err
	}
	if indent != "" {
		var b bytes.Buffer
		if err := json.Indent(&b, text, "", indent); err != nil {
			return err
		}
		text = b.Bytes()
	}
	return p.line(string(text))
}

func (p printer) yaml(m proto.Message) error {
	text, err := marshal(m)
	if err != nil {
		return err
	}
	if text, err = toYAML(text); err != nil {
		return err
	}
	_, err = p.w.Write(text)
	return err
}

// table prints a line for each recording, and nothing for none. On a terminal no
// line is broken: what a reader misses least is left out first.
func (p printer) table(list []*classrecv1.Recording) error {
	if len(list) == 0 {
		return nil
	}
	var c columns
	c.add("NAME", "STATE", "BEGAN", "DURATION", "USER", "FORMAT", "TYPE", "FILES", "SIZE")
	for _, r := range list {
		c.add(or(clean(r.GetName()), "-"), p.state(r), moment(r.GetRecordTime()), p.duration(r), or(clean(r.GetUserId()), "-"),
			format(r), recordType(r), strconv.Itoa(len(r.GetUrls())), size(total(r)))
	}
	if p.width > 0 {
		c.fit(p.width, "USER", []string{"FORMAT", "TYPE"}, []string{"FILES"}, []string{"USER"}, []string{"SIZE"}, []string{"DURATION"})
	}
	return c.write(p.w)
}

// state is a recording's state, in its color.
func (p printer) state(r *classrecv1.Recording) string {
	color := ""
	switch r.GetState() {
	case classrecv1.RecordingState_RECORDING_STATE_AVAILABLE:
		color = "32" // green
	case classrecv1.RecordingState_RECORDING_STATE_FAILED:
		color = "31" // red
	case classrecv1.RecordingState_RECORDING_STATE_RECORDING:
		color = "1" // bold
	default:
	}
	if !p.colors || color == "" {
		return state(r)
	}
	return "\x1b[" + color + "m" + state(r) + "\x1b[0m"
}

// describe prints all that is known of a recording.
func (p printer) describe(r *classrecv1.Recording) error {
	var c columns
	row := func(key, value string) {
		if value != "" {
			c.add(key, clean(value))
		}
	}
	row("Name", r.GetName())
	c.add("State", p.state(r))
	row("Room", r.GetRoom())
	row("User", r.GetUserId())
	row("Began", moment(r.GetRecordTime()))
	if r.GetStopTime() != nil {
		row("Ended", moment(r.GetStopTime())+", "+endReason(r))
	}
	row("Duration", p.duration(r))
	if r.GetMaxDuration() != nil {
		row("At most", span(r.GetMaxDuration().AsDuration()))
	}
	row("Records", records(r))
	row("Begun by", origin(r))
	for _, gap := range r.GetGaps() {
		row("Gap", fmt.Sprintf("%s to %s: %s", moment(gap.GetStartTime()), moment(gap.GetEndTime()), gap.GetReason()))
	}
	if f := r.GetFailure(); f != nil {
		row("Failure", f.GetMessage())
	}
	for _, f := range files(r) {
		row("File", f)
	}
	return c.write(p.w)
}

// files says of each file what is known of it.
func files(r *classrecv1.Recording) []string {
	lines := make([]string, 0, len(r.GetUrls()))
	for i, url := range r.GetUrls() {
		parts := []string{url}
		if i < len(r.GetFiles()) {
			f := r.GetFiles()[i]
			if f.GetSize() > 0 {
				parts = append(parts, size(f.GetSize()))
			}
			if f.GetDuration() != nil {
				parts = append(parts, span(f.GetDuration().AsDuration()))
			}
			if f.GetUserId() != "" {
				parts = append(parts, "of "+f.GetUserId())
			}
		}
		lines = append(lines, strings.Join(parts, "  "))
	}
	return lines
}
