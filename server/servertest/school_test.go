// SPDX-License-Identifier: Apache-2.0

package servertest_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/servertest"
)

// What follows, up to TestSchool_Documented, is what the package comment shows.

type School struct {
	recorder *client.Client

	mu    sync.Mutex
	pages map[string][]string // by lesson: the URLs of its files
}

// LessonBegins is called by the timetable.
func (s *School) LessonBegins(ctx context.Context, lesson, room string) (recording string, err error) {
	r, err := s.recorder.Start(ctx, &classrecv1.StartRecordingRequest{
		Room: room, Format: classrecv1.RecordingFormat_RECORDING_FORMAT_WEBM,
		MaxDuration: durationpb.New(2 * time.Hour), RequestId: lesson,
	})
	return r.GetName(), err
}

// LessonEnds ends the recording, unless that has ended by itself, and keeps its
// files when they can be fetched.
func (s *School) LessonEnds(ctx context.Context, lesson, recording string) error {
	if _, err := s.recorder.Stop(ctx, &classrecv1.StopRecordingRequest{Name: recording}); err != nil {
		return err
	}
	r, err := s.recorder.Wait(ctx, recording, client.WaitOptions{})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages[lesson] = r.GetUrls()
	return nil
}

func TestSchool(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	school := &School{recorder: s.Client(), pages: map[string][]string{}}
	teacher := s.Room("42").Teacher("Ms Wang")
	teacher.Publish(servertest.Pattern())

	recording, err := school.LessonBegins(t.Context(), "maths-7", "42")
	if err != nil {
		t.Fatal(err)
	}
	teacher.Await(servertest.ClassBegun)
	teacher.Chat("Good morning")
	s.Room("42").Student("Ann").Await(servertest.ClassBegun)

	// The platform has the files, and does not list them yet.
	s.Platform().Answer(servertest.RecordList, servertest.Code(4105))
	ended := make(chan error, 1)
	go func() { ended <- school.LessonEnds(t.Context(), "maths-7", recording) }()
	teacher.Await(servertest.ClassEnded)
	s.Await(recording, classrecv1.RecordingState_RECORDING_STATE_PROCESSING)
	s.Platform().Usual(servertest.RecordList)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if len(school.pages["maths-7"]) == 0 {
		t.Error("the lesson's page has no files")
	}
}

func TestSchool_ForgottenLesson(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	school := &School{recorder: s.Client(), pages: map[string][]string{}}
	recording, err := school.LessonBegins(t.Context(), "art-3", "7")
	if err != nil {
		t.Fatal(err)
	}
	s.Advance(2 * time.Hour)
	r := s.Await(recording, classrecv1.RecordingState_RECORDING_STATE_AVAILABLE)
	if r.GetEndReason() != classrecv1.EndReason_END_REASON_MAX_DURATION {
		t.Errorf("ended by %s", r.GetEndReason())
	}
}

// The package comment shows this file's code, and no other.
func TestSchool_Documented(t *testing.T) {
	t.Parallel()
	code, err := os.ReadFile("school_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(code), "what the package comment shows.\n")
	text, _, _ = strings.Cut(text, "\n// The package comment shows this")
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "// # A test of a small application\n")
	section, _, _ = strings.Cut(section, "// # Time\n")
	var shown []string
	for line := range strings.Lines(section) {
		if line, ok := strings.CutPrefix(line, "//\t"); ok {
			shown = append(shown, strings.TrimRight(line, "\n"))
		}
	}
	var written []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.TrimSpace(line) != "" && strings.TrimSpace(line) != "t.Parallel()" {
			written = append(written, line)
		}
	}
	if len(written) < 50 || strings.Join(shown, "\n") != strings.Join(written, "\n") {
		t.Errorf("the package comment shows other code than this file has:\n%s", strings.Join(shown, "\n"))
	}
}
