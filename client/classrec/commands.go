// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

type startCommand struct {
	Room string `arg:"" help:"The room (the platform's serial)."`

	UserID      string        `name:"user-id" placeholder:"ID" help:"Who to join as; without: a unique one."`
	Nickname    string        `placeholder:"TEXT" help:"How to appear in the room."`
	Format      string        `enum:",mkv,webm,mp4" default:"" placeholder:"FORMAT" help:"Container of the files: mkv, webm or mp4 (mkv)."`
	Type        string        `enum:",file,list,mp3,mix" default:"" placeholder:"TYPE" help:"Files to make: list (one per publisher), file (one of all), mp3 or mix (list)."`
	Layout      string        `enum:",landscape,portrait" default:"" placeholder:"LAYOUT" help:"Picture of --type=mix: landscape or portrait (landscape)."`
	Chat        bool          `default:"true" negatable:"" help:"Record chat too (yes)."`
	MaxDuration time.Duration `placeholder:"DURATION" help:"End the class after so long; without: never."`
	RequestID   string        `name:"request-id" placeholder:"ID" help:"Makes repeating safe: the same id gives the same recording."`
	Wait        bool          `help:"Wait until the class is over and its files are there."`
	DryRun      bool          `help:"Start nothing: print the equivalent grpcurl and curl commands."`
	HTTP        string        `name:"http" env:"CLASSREC_HTTP" placeholder:"URL" help:"Where REST is, for --dry-run; without: port 8080 of the server."`

	password
}

// Help has the examples.
func (startCommand) Help() string {
	return `The command returns when the platform has confirmed the start.

Examples:

    classrec start 42
    classrec start 42 --format=webm --max-duration=90m
    name=$(classrec start 42 -o name)
    classrec start 42 --dry-run`
}

// Run starts a recording and prints it.
func (c startCommand) Run(a *app) error {
	secret, err := c.read()
	if err != nil {
		return err
	}
	req := &classrecv1.StartRecordingRequest{
		Room:         c.Room,
		UserId:       c.UserID,
		Nickname:     c.Nickname,
		RoomPassword: secret,
		Format:       classrecv1.RecordingFormat(enum(classrecv1.RecordingFormat_value, "RECORDING_FORMAT_", c.Format)),
		RecordType:   classrecv1.RecordType(enum(classrecv1.RecordType_value, "RECORD_TYPE_", c.Type)),
		Layout:       classrecv1.RecordingLayout(enum(classrecv1.RecordingLayout_value, "RECORDING_LAYOUT_", c.Layout)),
		RequestId:    c.RequestID,
	}
	if !c.Chat {
		req.RecordChat = new(false)
	}
	if c.MaxDuration != 0 {
		req.MaxDuration = durationpb.New(c.MaxDuration)
	}
	if c.DryRun {
		return c.dryRun(a, req)
	}
	ctx, cancel := a.call()
	defer cancel()
	r, err := a.client.Start(ctx, req)
	if err != nil {
		return err
	}
	if c.Wait {
		return a.waitAndPrint(r.GetName(), r, 0)
	}
	return a.out.recording(r)
}

// enum is the value that a flag means; kong has checked that there is one.
func enum(values map[string]int32, prefix, text string) int32 {
	return values[prefix+strings.ToUpper(text)]
}

type stopCommand struct {
	Target string `arg:"" name:"room|name" help:"The room whose class is to end, or a recording's name."`

	Wait bool `help:"Wait until the files are there."`

	password
}

// Help has the examples.
func (stopCommand) Help() string {
	return `The command returns when the platform has confirmed the end, whoever began the class. What is over already is shown as it is.

Examples:

    classrec stop 42
    classrec stop rooms/42/recordings/1795343400 --wait`
}

// Run stops a recording and prints it.
func (c stopCommand) Run(a *app) error {
	secret, err := c.read()
	if err != nil {
		return err
	}
	req := &classrecv1.StopRecordingRequest{Room: c.Target, RoomPassword: secret}
	if strings.Contains(c.Target, "/") {
		req.Room, req.Name = "", c.Target
	}
	ctx, cancel := a.call()
	defer cancel()
	r, err := a.client.Stop(ctx, req)
	if err != nil {
		return err
	}
	if c.Wait {
		return a.waitAndPrint(r.GetName(), r, 0)
	}
	return a.out.recording(r)
}

type getCommand struct {
	Name string `arg:"" help:"The recording's name."`
}

// Help has the examples.
func (getCommand) Help() string {
	return `Examples:

    classrec get rooms/42/recordings/1795343400
    classrec get rooms/42/recordings/1795343400 -o yaml`
}

// Run prints a recording.
func (c getCommand) Run(a *app) error {
	ctx, cancel := a.call()
	defer cancel()
	r, err := a.client.Get(ctx, c.Name)
	if err != nil {
		return err
	}
	return a.out.recording(r)
}

type listCommand struct {
	Room   string    `placeholder:"ID" help:"Only of this room."`
	UserID string    `name:"user-id" placeholder:"ID" help:"Only of this user. One of --room and --user-id is needed."`
	Time   time.Time `placeholder:"TIME" help:"Only the one that began then, as 2006-01-02T15:04:05Z."`
	Limit  int       `default:"100" placeholder:"N" help:"At most so many; 0: all (${default})."`
}

// Help has the examples.
func (listCommand) Help() string {
	return `Examples:

    classrec list --room 42
    classrec list --room 42 --user-id alice -o json
    classrec list --user-id alice --limit 0 -o name`
}

// Validate is called by kong.
func (c listCommand) Validate() error {
	if c.Room == "" && c.UserID == "" {
		return errors.New("give --room, --user-id or both")
	}
	if c.Limit < 0 {
		return errors.New("--limit is negative")
	}
	return nil
}

// maxPage is the largest page that the service gives.
const maxPage = 1000

// Run prints recordings, over as many pages as it takes.
func (c listCommand) Run(a *app) error {
	req := &classrecv1.ListRecordingsRequest{Room: c.Room, UserId: c.UserID, PageSize: maxPage}
	if c.Limit > 0 {
		req.PageSize = int32(min(maxPage, c.Limit))
	}
	if !c.Time.IsZero() {
		req.RecordTime = timestamppb.New(c.Time)
	}
	ctx, cancel := a.call()
	defer cancel()
	all := &classrecv1.ListRecordingsResponse{}
	for r, err := range a.client.List(ctx, req) {
		var incomplete *client.IncompleteError
		if errors.As(err, &incomplete) {
			a.say("The platform could not be asked (%s): what only it knows is missing.", incomplete.Err.Reason)
			all.Incomplete = incomplete.Err.GRPCStatus().Proto()
			break
		}
		if err != nil {
			return err
		}
		if c.Limit > 0 && len(all.GetRecordings()) == c.Limit {
			a.say("There are more than %d: see --limit.", c.Limit)
			break
		}
		all.Recordings = append(all.Recordings, r)
	}
	switch {
	case len(all.GetRecordings()) > 0 || a.out.format != "table":
	case all.GetIncomplete() != nil:
		a.say("No recordings are known.")
	default:
		a.say("No recordings.")
	}
	return a.out.recordings(all)
}

type watchCommand struct {
	Room  string `arg:"" optional:"" default:"-" help:"The room; without: every room that the server works in."`
	After uint64 `placeholder:"SEQUENCE" help:"Resume after this sequence, instead of beginning with what is on now."`

	password
}

// Help has the examples.
func (watchCommand) Help() string {
	return `First come the classes that are on, then each as it begins and ends. The standard error says when it is live, and when it has resumed after a cut. An interrupt ends it, which is no failure.

Examples:

    classrec watch 42
    classrec watch 42 --after=812
    classrec watch -o json | jq -c .event.recording.name`
}

// Run prints events until it is interrupted, over as many connections as it
// takes.
func (c watchCommand) Run(a *app) error {
	secret, err := c.read()
	if err != nil {
		return err
	}
	req := &classrecv1.WatchClassBeginRequest{Room: c.Room, AfterSequence: c.After, RoomPassword: secret}
	events, told, live := 0, false, false
	opts := client.WatchOptions{
		Retrying: func(err error, after time.Duration) {
			d, after := client.Details(err), after.Round(100*time.Millisecond)
			switch {
			case told:
				a.say("Cut off (%s); again in %s.", d.Message, after)
			case d.Reason == "": // not the service's word: nobody has answered
				a.say("Cannot connect (%s); trying again in %s.", d.Message, after)
			default:
				a.say("Cannot watch yet (%s); trying again in %s.", d.Message, after)
			}
		},
		Resumed: func(sequence uint64) {
			if sequence > 0 {
				a.say("Resumed after %d.", sequence)
			}
		},
	}
	for m, err := range a.client.Watch(a.ctx, req, opts) {
		if errors.Is(err, context.Canceled) && a.ctx.Err() != nil {
			return nil // that is how a watch ends
		}
		if err != nil {
			return err
		}
		told = true
		if err := a.out.event(m); err != nil {
			return err
		}
		switch {
		case live:
		case m.GetEvent() != nil:
			events++
		case m.GetSynced() != nil:
			live = true
			a.say("%s", c.begun(events))
		}
	}
	return nil
}

// begun says what has been told when a watch becomes live.
func (c watchCommand) begun(events int) string {
	where := "room " + c.Room
	if c.Room == "-" {
		where = "every room"
	}
	if c.After > 0 {
		return fmt.Sprintf("Watching %s: %s since %d.", where, count(events, "event", "events"), c.After)
	}
	return fmt.Sprintf("Watching %s: %s.", where, count(events, "class is on", "classes are on"))
}

type waitCommand struct {
	Name   string        `arg:"" help:"The recording's name."`
	Within time.Duration `placeholder:"DURATION" help:"Give up after so long; without: never."`
}

// Help has the examples.
func (waitCommand) Help() string {
	return `Shows on the standard error how the state changes, and the recording when its files are there (exit code 0) or it has failed (10).

Examples:

    classrec wait rooms/42/recordings/1795343400
    classrec wait rooms/42/recordings/1795343400 --within=10m -o json`
}

// Run waits for a recording and prints it.
func (c waitCommand) Run(a *app) error { return a.waitAndPrint(c.Name, nil, c.Within) }

// wait waits for a recording, and shows its states; known is as a call has just
// answered it, nil for nothing.
func (a *app) wait(name string, known *classrecv1.Recording, within time.Duration) (*classrecv1.Recording, error) {
	ctx := a.ctx
	if within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, within)
		defer cancel()
	}
	last := ""
	show := func(r *classrecv1.Recording) {
		if now := state(r); now != last {
			last = now
			a.say("%s  %s", utc(a.now()), now)
		}
	}
	if known != nil {
		show(known)
	}
	r, err := a.client.Wait(ctx, name, client.WaitOptions{Changed: show})
	if err != nil && ctx.Err() != nil && last != "" {
		a.say("%s is still %s.", name, last)
		err = fmt.Errorf("wait for %s: %w", name, ctx.Err())
	}
	return r, err
}

func (a *app) waitAndPrint(name string, known *classrecv1.Recording, within time.Duration) error {
	r, err := a.wait(name, known, within)
	if r == nil {
		return err
	}
	return errors.Join(a.out.recording(r), err)
}
