// SPDX-License-Identifier: Apache-2.0

// Package demo shows the main job of classrec in one go: it starts a whole
// server, puts a synthetic teacher and student with real WebRTC media and chat
// into a room, records them through the public API, and checks what came out.
//
// It uses nothing that a user could not: gRPC, the platform's wire, WHIP, and
// the files by HTTP. What it shows is what happened.
package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Config of a demo. Out is required.
type Config struct {
	// Out gets the story, a line for each thing that happens.
	Out io.Writer
	// Server is the server's configuration; the demo wants the embedded
	// platform.
	Server server.Config
	// Room is where the class is; "" makes one up.
	Room string
	// Length is how long the class lasts; 0 is 6 s.
	Length time.Duration
	// Dir gets the downloaded files; "" is demo in the data directory.
	Dir string
}

// Run runs the demo. The error tells what did not go as it should; nil means
// that every file was checked.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Room == "" {
		cfg.Room = "demo-" + time.Now().Format("20060102-150405")
	}
	if cfg.Length == 0 {
		cfg.Length = 6 * time.Second
	}
	if cfg.Server.DataDir == "" {
		cfg.Server.DataDir = "data"
	}
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(cfg.Server.DataDir, "demo", cfg.Room)
	}
	srv, err := server.New(ctx, cfg.Server)
	if err != nil {
		return err
	}
	if srv.RoomAddr() == nil {
		return errors.Join(errors.New("the demo needs the embedded platform"), srv.Close())
	}
	// The server outlives the class: it is stopped when the story is over.
	g, gctx := errgroup.WithContext(ctx)
	serve, stop := context.WithCancel(gctx)
	g.Go(func() error { return srv.Run(serve) })
	g.Go(func() error {
		defer stop()
		s := &story{cfg: cfg, srv: srv, begin: time.Now()}
		return s.tell(gctx)
	})
	return g.Wait()
}

// story is one run.
type story struct {
	cfg   Config
	srv   *server.Server
	begin time.Time
	api   *client.Client
}

func (s *story) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.cfg.Out, "%6.2fs  %s\n", time.Since(s.begin).Seconds(), fmt.Sprintf(format, args...))
}

func (s *story) tell(ctx context.Context) (err error) {
	s.say("classrec is up: gRPC %s, REST http://%s, room server https://%s", s.srv.GRPCAddr(), s.srv.HTTPAddr(), s.srv.RoomAddr())
	if s.api, err = client.Dial(s.srv.GRPCAddr().String(), client.Config{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.api.Close()) }()

	watching, done := context.WithCancel(ctx)
	events := make(chan error, 1) // from watch: its end
	go func() { events <- s.watch(watching) }()
	defer func() {
		done()
		if end := <-events; end != nil && !errors.Is(end, context.Canceled) {
			err = errors.Join(err, fmt.Errorf("watch: %w", end))
		}
	}()

	recording, err := s.class(ctx)
	if err != nil {
		return err
	}
	if recording, err = s.await(ctx, recording.GetName()); err != nil {
		return err
	}
	listed, err := s.api.ListRecordings(ctx, &classrecv1.ListRecordingsRequest{Room: s.cfg.Room})
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	s.say("ListRecordings: %d recording with %d files", len(listed.GetRecordings()), len(recording.GetFiles()))
	return s.files(ctx, recording)
}

// class is the lesson: two people, a recording, and its end.
func (s *story) class(ctx context.Context) (recording *classrecv1.Recording, err error) {
	teacher, err := s.teacher(ctx)
	if err != nil {
		return nil, fmt.Errorf("teacher: %w", err)
	}
	defer func() { err = errors.Join(err, teacher.close()) }()
	student, err := s.student(ctx)
	if err != nil {
		return nil, fmt.Errorf("student: %w", err)
	}
	defer func() { err = errors.Join(err, student.Close()) }()

	asked := time.Now()
	started, err := s.api.StartRecording(ctx, &classrecv1.StartRecordingRequest{
		Room:   s.cfg.Room,
		Format: classrecv1.RecordingFormat_RECORDING_FORMAT_WEBM,
	})
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	recording = started.GetRecording()
	s.say("StartRecording: %s is %s, confirmed in %v", recording.GetName(), word(recording), time.Since(asked).Round(time.Millisecond))

	for i, line := range []string{"Good morning! Who has done the homework?", "早上好！我们开始上课。", "See you on Tuesday."} {
		if err := sleep(ctx, s.cfg.Length/4); err != nil {
			return nil, err
		}
		if err := teacher.conn.SendChat(ctx, line); err != nil {
			return nil, fmt.Errorf("chat line %d: %w", i+1, err)
		}
		s.say("teacher says in the chat: %s", line)
	}
	if err := sleep(ctx, s.cfg.Length/4); err != nil {
		return nil, err
	}

	asked = time.Now()
	stopped, err := s.api.StopRecording(ctx, &classrecv1.StopRecordingRequest{Name: recording.GetName()})
	if err != nil {
		return nil, fmt.Errorf("stop: %w", err)
	}
	s.say("StopRecording: %s is %s, confirmed in %v", recording.GetName(), word(stopped.GetRecording()), time.Since(asked).Round(time.Millisecond))
	return stopped.GetRecording(), nil
}

// teacher joins over https and publishes as the vendor's SDK does.
func (s *story) teacher(ctx context.Context) (*participant, error) {
	roots, err := s.roots()
	if err != nil {
		return nil, err
	}
	platform, err := talkcloud.New(talkcloud.Config{
		BaseURL: (&url.URL{Scheme: "https", Host: s.srv.RoomAddr().String()}).String(),
		RootCAs: roots,
	})
	if err != nil {
		return nil, err
	}
	video, err := clips.TeacherVideo()
	if err != nil {
		return nil, err
	}
	audio, err := clips.TeacherAudio()
	if err != nil {
		return nil, err
	}
	p, err := join(ctx, platform, talkcloud.JoinOptions{Room: talkcloud.RoomID(s.cfg.Room), UserID: "teacher", Nickname: "Ms. Wang"})
	if err != nil {
		return nil, errors.Join(err, platform.Close())
	}
	if err := p.publish(ctx, publisher.Config{Video: video, Audio: audio}); err != nil {
		return nil, errors.Join(err, p.close())
	}
	s.say("teacher is in room %s and publishes VP8 and Opus over the vendor's wire", s.cfg.Room)
	return p, nil
}

// student publishes by WHIP (RFC 9725), as any WebRTC program can.
func (s *story) student(ctx context.Context) (*publisher.Publisher, error) {
	roots, err := s.roots()
	if err != nil {
		return nil, err
	}
	video, err := clips.StudentVideo()
	if err != nil {
		return nil, err
	}
	audio, err := clips.StudentAudio()
	if err != nil {
		return nil, err
	}
	whip := url.URL{Scheme: "https", Host: s.srv.RoomAddr().String(), Path: "/whip/" + s.cfg.Room + "/student"}
	p, err := publisher.PublishWHIP(ctx, publisher.Config{Video: video, Audio: audio}, publisher.WHIP{
		URL:    whip.String(),
		Client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}},
	})
	if err != nil {
		return nil, err
	}
	s.say("student publishes by WHIP")
	return p, nil
}

// roots trusts the room server's self-signed certificate.
func (s *story) roots() (*x509.CertPool, error) {
	pem, err := os.ReadFile(s.srv.RoomCertFile())
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", s.srv.RoomCertFile())
	}
	return pool, nil
}

// watch tells the events of the room as they come, until ctx ends.
func (s *story) watch(ctx context.Context) error {
	for res, err := range s.api.Watch(ctx, &classrecv1.WatchClassBeginRequest{Room: "-"}, client.WatchOptions{}) {
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		if ev := res.GetEvent(); ev.GetRoom() == s.cfg.Room {
			action := "ADD"
			if ev.GetAction() == classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE {
				action = "REMOVE"
			}
			s.say("WatchClassBegin: %-6s sequence %d, ts %s, %s", action, ev.GetSequence(),
				strconv.FormatInt(ev.GetTime().GetSeconds(), 10), ev.GetRecording().GetName())
		}
	}
	return nil
}

// await polls until the files are there.
func (s *story) await(ctx context.Context, name string) (*classrecv1.Recording, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("no files after a minute"))
	defer cancel()
	for {
		res, err := s.api.GetRecording(ctx, &classrecv1.GetRecordingRequest{Name: name})
		if err != nil {
			return nil, fmt.Errorf("get: %w", err)
		}
		switch r := res.GetRecording(); r.GetState() {
		case classrecv1.RecordingState_RECORDING_STATE_AVAILABLE:
			s.say("GetRecording: %s is %s", name, word(r))
			return r, nil
		case classrecv1.RecordingState_RECORDING_STATE_FAILED:
			return nil, fmt.Errorf("recording failed: %s", r.GetFailure().GetMessage())
		default:
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
