// SPDX-License-Identifier: Apache-2.0

// Package servertest gives a test of an application that records classes a whole
// classrec, with a real room server behind it, inside the test's own process.
//
//	s := servertest.New(t)                      // everything: gRPC, REST, rooms; 70 ms
//	room := s.Room("42")
//	teacher := room.Teacher("Ms Wang")          // real people over the platform's wire
//	teacher.Publish(servertest.Pattern())       // real WebRTC media, or File("lesson.webm")
//	app := NewApp(s.Client())                   // or s.Addr(), s.URL(), s.Conn()
//	…
//	teacher.Chat("Good morning")
//	s.Platform().Drop()                         // what goes wrong in life, on the wire
//	s.Platform().Answer(servertest.CheckRoom, servertest.Code(4008))
//	s.Advance(2 * time.Hour)                    // and time
//
// Nothing of it is a double: the server is the one that classrecd runs, its
// platform is the embedded room server, and recordings are files that can be
// fetched and played. Ports are free ones of loopback, all files are in the
// test's directory, and everything is stopped when the test is over. What the
// server logs is shown when the test has failed.
//
// # A test of a small application
//
// A school records its lessons. Its backend begins a recording when a lesson
// begins, ends it with the lesson, and keeps what files there are for the
// lesson's page:
//
//	type School struct {
//		recorder *client.Client
//
//		mu    sync.Mutex
//		pages map[string][]string // by lesson: the URLs of its files
//	}
//
//	// LessonBegins is called by the timetable.
//	func (s *School) LessonBegins(ctx context.Context, lesson, room string) (recording string, err error) {
//		r, err := s.recorder.Start(ctx, &classrecv1.StartRecordingRequest{
//			Room: room, Format: classrecv1.RecordingFormat_RECORDING_FORMAT_WEBM,
//			MaxDuration: durationpb.New(2 * time.Hour), RequestId: lesson,
//		})
//		return r.GetName(), err
//	}
//
//	// LessonEnds ends the recording, unless that has ended by itself, and keeps its
//	// files when they can be fetched.
//	func (s *School) LessonEnds(ctx context.Context, lesson, recording string) error {
//		if _, err := s.recorder.Stop(ctx, &classrecv1.StopRecordingRequest{Name: recording}); err != nil {
//			return err
//		}
//		r, err := s.recorder.Wait(ctx, recording, client.WaitOptions{})
//		if err != nil {
//			return err
//		}
//		s.mu.Lock()
//		defer s.mu.Unlock()
//		s.pages[lesson] = r.GetUrls()
//		return nil
//	}
//
// Its tests have a lesson with people in it, a platform that lists files late,
// and a teacher who forgets the time:
//
//	func TestSchool(t *testing.T) {
//		s := servertest.New(t)
//		school := &School{recorder: s.Client(), pages: map[string][]string{}}
//		teacher := s.Room("42").Teacher("Ms Wang")
//		teacher.Publish(servertest.Pattern())
//
//		recording, err := school.LessonBegins(t.Context(), "maths-7", "42")
//		if err != nil {
//			t.Fatal(err)
//		}
//		teacher.Await(servertest.ClassBegun)
//		teacher.Chat("Good morning")
//		s.Room("42").Student("Ann").Await(servertest.ClassBegun)
//
//		// The platform has the files, and does not list them yet.
//		s.Platform().Answer(servertest.RecordList, servertest.Code(4105))
//		ended := make(chan error, 1)
//		go func() { ended <- school.LessonEnds(t.Context(), "maths-7", recording) }()
//		teacher.Await(servertest.ClassEnded)
//		s.Await(recording, classrecv1.RecordingState_RECORDING_STATE_PROCESSING)
//		s.Platform().Usual(servertest.RecordList)
//		if err := <-ended; err != nil {
//			t.Fatal(err)
//		}
//		if len(school.pages["maths-7"]) == 0 {
//			t.Error("the lesson's page has no files")
//		}
//	}
//
//	func TestSchool_ForgottenLesson(t *testing.T) {
//		s := servertest.New(t)
//		school := &School{recorder: s.Client(), pages: map[string][]string{}}
//		recording, err := school.LessonBegins(t.Context(), "art-3", "7")
//		if err != nil {
//			t.Fatal(err)
//		}
//		s.Advance(2 * time.Hour)
//		r := s.Await(recording, classrecv1.RecordingState_RECORDING_STATE_AVAILABLE)
//		if r.GetEndReason() != classrecv1.EndReason_END_REASON_MAX_DURATION {
//			t.Errorf("ended by %s", r.GetEndReason())
//		}
//	}
//
// # Time
//
// [Server.Advance] moves the time of day on, for the service and for its platform
// at once. With it go: the ts of the platform, recordts and all times of a
// recording; max_duration and the deadlines of starting, stopping and processing;
// pauses before another attempt, of looking for files, and before a room that
// nobody needs is left; messages that expire. A recording whose class went on for
// two hours of which two seconds were real has a stop_time two hours after its
// record_time, and files of two seconds.
//
// Not with it go what others are waited for, who do not hurry: a call's own
// context, the timeouts of HTTP calls, acks and echoes, heartbeats and WebRTC;
// media, which are sent and recorded in real time, and the date in the head of
// their files; webhooks' pauses, and for how long events are kept; log lines.
// Coming back to the platform after a drop takes a random 20 to 200 ms of real
// time, instead of 0.5 to 5 s.
//
// # Faults
//
// What [Platform] plays is done on the wire between the service and the room
// server: connections that are slow, cut or refused, calls that are answered
// otherwise, acks and echoes that do not come. The service notices it in the ways
// in which it would with TalkCloud. People are not disturbed, but for [Files],
// which is for all who ask; one of them loses its connection by [Person.Drop].
//
// For tests in other languages, classrecd --scenario plays the same moves from a
// file: see docs/scenario.md.
package servertest
