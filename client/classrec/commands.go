// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// password is how commands are given a room's password.
type password struct {
	RoomPassword     string `env:"CLASSREC_ROOM_PASSWORD" placeholder:"TEXT" help:"The room's password. Others on this machine can see it: better in the environment or a file."`
	RoomPasswordFile string `placeholder:"FILE" help:"A file with the room's password."`
}

func (p password) read() (string, error) {
	if p.RoomPasswordFile == "" {
		return p.RoomPassword, nil
	}
	text, err := os.ReadFile(p.RoomPasswordFile)
	if err != nil {
		return "", fmt.Errorf("--room-password-file: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

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

	password
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
		RecordChat:   &c.Chat,
		RequestId:    c.RequestID,
	}
	if c.MaxDuration != 0 {
		req.MaxDuration = durationpb.New(c.MaxDuration)
	}
	ctx, cancel := a.call()
	defer cancel()
	resp, err := a.client.StartRecording(ctx, req)
	if err != nil {
		return err
	}
	return a.out.recording(resp.GetRecording())
}

// enum is the value that a flag means; kong has checked that there is one.
func enum(values map[string]int32, prefix, text string) int32 {
	return values[prefix+strings.ToUpper(text)]
}

type stopCommand struct {
	Target string `arg:"" name:"room|name" help:"The room whose class is to end, or a recording's name."`

	password
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
	resp, err := a.client.StopRecording(ctx, req)
	if err != nil {
		return err
	}
	return a.out.recording(resp.GetRecording())
}

type getCommand struct {
	Name string `arg:"" help:"The recording's name."`
}

// Run prints a recording.
func (c getCommand) Run(a *app) error {
	ctx, cancel := a.call()
	defer cancel()
	resp, err := a.client.GetRecording(ctx, &classrecv1.GetRecordingRequest{Name: c.Name})
	if err != nil {
		return err
	}
	return a.out.recording(resp.GetRecording())
}

type listCommand struct {
	Room   string    `placeholder:"ID" help:"Only of this room."`
	UserID string    `name:"user-id" placeholder:"ID" help:"Only of this user. One of --room and --user-id is needed."`
	Time   time.Time `placeholder:"TIME" help:"Only the one that began then, as 2006-01-02T15:04:05Z."`
	Limit  int       `default:"100" placeholder:"N" help:"At most so many; 0: all (${default})."`
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
	req := &classrecv1.ListRecordingsRequest{Room: c.Room, UserId: c.UserID}
	if !c.Time.IsZero() {
		req.RecordTime = timestamppb.New(c.Time)
	}
	all := &classrecv1.ListRecordingsResponse{}
	for {
		req.PageSize = maxPage
		if c.Limit > 0 {
			req.PageSize = int32(min(maxPage, c.Limit-len(all.GetRecordings())))
		}
		page, err := c.page(a, req)
		if err != nil {
			return err
		}
		all.Recordings = append(all.Recordings, page.GetRecordings()...)
		req.PageToken = page.GetNextPageToken()
		if req.GetPageToken() == "" || c.Limit > 0 && len(all.GetRecordings()) >= c.Limit {
			break
		}
	}
	if req.GetPageToken() != "" {
		_, _ = fmt.Fprintf(a.stderr, "There are more than %d: see --limit.\n", c.Limit)
	}
	return a.out.recordings(all)
}

func (c listCommand) page(a *app, req *classrecv1.ListRecordingsRequest) (*classrecv1.ListRecordingsResponse, error) {
	ctx, cancel := a.call()
	defer cancel()
	return a.client.ListRecordings(ctx, req)
}

type watchCommand struct {
	Room  string `arg:"" optional:"" default:"-" help:"The room; without: every room that the server works in."`
	After uint64 `placeholder:"SEQUENCE" help:"Resume after this sequence, instead of beginning with what is on now."`

	password
}

// Run prints events until it is interrupted, over as many connections as it
// takes.
func (c watchCommand) Run(a *app) error {
	secret, err := c.read()
	if err != nil {
		return err
	}
	req := &classrecv1.WatchClassBeginRequest{Room: c.Room, AfterSequence: c.After, RoomPassword: secret}
	opts := client.WatchOptions{Retrying: func(err error, after time.Duration) {
		_, _ = fmt.Fprintf(a.stderr, "Cut off (%s); again in %s.\n", client.Details(err).Message, after.Round(100*time.Millisecond))
	}}
	for m, err := range a.client.Watch(a.ctx, req, opts) {
		if errors.Is(err, context.Canceled) && a.ctx.Err() != nil {
			return nil // that is how a watch ends
		}
		if err != nil {
			return err
		}
		if err := a.out.event(m); err != nil {
			return err
		}
	}
	return nil
}
