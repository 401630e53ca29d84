// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
)

type explainCommand struct {
	Name string `arg:"" help:"The recording's name."`

	AdminServer string `default:"127.0.0.1:9091" env:"CLASSREC_ADMIN_SERVER" placeholder:"HOST:PORT" help:"The server's admin address (${default})."`
	Tenant      string `placeholder:"NAME" help:"Whose recording it is, where there are several tenants."`
}

// Help has the examples.
func (explainCommand) Help() string {
	return `It asks the admin API (classrecd --admin-listen), which needs the scope admin where callers are asked who they are. The flags of the connection hold for it, with --admin-server in place of --server.

Examples:

    classrec explain rooms/42/recordings/1795343400
    classrec explain rooms/42/recordings/1795343400 -o json`
}

// Run tells why a recording is in its state.
func (c explainCommand) Run(a *app) error {
	admin, err := a.dial("--admin-server", c.AdminServer)
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close() }() // nothing is left to be lost
	ctx, cancel := a.call()
	defer cancel()
	story, err := admin.Explain(ctx, c.Tenant, c.Name)
	if err != nil {
		return err
	}
	return a.out.story(story)
}

// story prints how a recording came to be in its state.
func (p printer) story(s *adminv1.ExplainRecordingResponse) error {
	switch p.format {
	case "json":
		return p.json(s, "  ")
	case "yaml":
		return p.yaml(s)
	case "name":
		return p.line(clean(s.GetRecording().GetName()))
	}
	if err := p.line(fmt.Sprintf("%s  %s\n%s\n", clean(s.GetRecording().GetName()), p.state(s.GetRecording()), clean(s.GetSummary()))); err != nil {
		return err
	}
	var c columns
	c.add("TIME", "SEQUENCE", "STATE", "WHAT HAPPENED")
	if s.GetHistoryIncomplete() {
		c.add("…", "", "", "what was before is not kept any more")
	}
	for _, change := range s.GetChanges() {
		c.add(moment(change.GetTime()), strconv.FormatUint(change.GetSequence(), 10), short(change.GetState().String(), "RECORDING_STATE_"), clean(change.GetText()))
	}
	return c.write(p.w)
}
