// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/recording"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// echoTimeout is how long the sessions of these tests wait for an echo.
const echoTimeout = 50 * time.Millisecond

// silentPlatform keeps back the echo of ClassBegin: it is told by echo.
type silentPlatform struct {
	*talkcloudtest.Platform
	st *store.Store
}

func newSilent(t *testing.T, change func(*recording.Config)) (*life, *silentPlatform) {
	t.Helper()
	p := &silentPlatform{Platform: talkcloudtest.NewPlain(t), st: storetest.New(t)}
	p.Script(talkcloudtest.Script{Silent: func(event string) bool { return event == talkcloud.EventPubMsg }})
	return p.life(t, change), p
}

func (p *silentPlatform) life(t *testing.T, change func(*recording.Config)) *life {
	t.Helper()
	cfg := config()
	cfg.RichRecordList = false
	cfg.DoubtTime = patience
	if change != nil {
		change(&cfg)
	}
	in := room.Config{BackoffMin: 10 * time.Millisecond, BackoffMax: 50 * time.Millisecond, EchoTimeout: echoTimeout}
	return newLifeIn(t, p.st, p.NewClient(t, nil), in, cfg)
}

// echo is the ClassBegin of whoever joined room 42 last, as the platform tells it.
func (p *silentPlatform) echo(t *testing.T) talkcloud.Message {
	t.Helper()
	joins := p.Joins()
	m := talkcloud.ClassBegin{HasRecordType: true, RecordType: 1, RecordChat: true}.Message()
	m.FromID = joins[len(joins)-1].UserID
	return m
}

func (p *silentPlatform) all() []*store.Entry {
	all, _, _, _ := p.st.List(context.Background(), "default", store.Filter{Room: "42"}, store.Cursor{}, 100)
	return all
}

// await waits until the only recording that has begun is as it should be.
func (p *silentPlatform) await(t *testing.T, what string, is func(*classrecv1.Recording) bool) *classrecv1.Recording {
	t.Helper()
	var r *classrecv1.Recording
	roomservertest.Poll(t, what, func() bool {
		all := p.all()
		if len(all) > 1 {
			t.Fatalf("there are %d recordings", len(all))
		}
		if len(all) == 1 {
			r = all[0].Record.GetRecording()
		}
		return len(all) == 1 && is(r)
	})
	return r
}

func refusedPubMsg(event string, _ json.RawMessage) (args []any, usual bool) {
	return []any{"error", "no"}, event != talkcloud.EventPubMsg
}

type started struct {
	r   *classrecv1.Recording
	err error
}

func startAsync(t *testing.T, s *life, req *classrecv1.StartRecordingRequest) <-chan started {
	t.Helper()
	c := make(chan started, 1)
	ctx := testContext(t)
	go func() {
		r, err := s.Start(ctx, req)
		c <- started{r, err}
	}()
	return c
}

func (p *silentPlatform) joined(t *testing.T, n int) {
	t.Helper()
	roomservertest.Poll(t, "the room to be joined", func() bool { return len(p.Joins()) >= n })
}

// An echo that comes long after the wait for it is over, and before the start's
// deadline, begins the recording.
func TestUnsure_LateEcho(t *testing.T) {
	t.Parallel()
	s, platform := newSilent(t, nil)
	c := startAsync(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
	platform.joined(t, 1)
	select {
	case out := <-c:
		t.Fatalf("answered with %v, %v before the echo", out.r, out.err)
	case <-time.After(5 * echoTimeout):
	}
	platform.Publish("42", platform.echo(t))
	if out := <-c; out.err != nil || out.r.GetState() != isRecording {
		t.Fatalf("answered with %v, %v", out.r, out.err)
	}
}

// A class whose echo comes when the start was given up is recorded; it ends if
// nobody asks for it.
func TestUnsure_EchoAfterTheDeadline(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"", "recorder"} {
		t.Run("as "+user, func(t *testing.T) {
			t.Parallel()
			s, platform := newSilent(t, func(cfg *recording.Config) { cfg.StartTimeout = 4 * echoTimeout })
			_, err := s.Start(testContext(t), &classrecv1.StartRecordingRequest{Room: "42", UserId: user})
			wantReason(t, err, recording.KindDeadlineExceeded, "START_NOT_CONFIRMED")
			platform.Publish("42", platform.echo(t))
			r := platform.await(t, "the class to be ended", func(r *classrecv1.Recording) bool { return r.GetEndReason() != 0 })
			if r.GetEndReason() != classrecv1.EndReason_END_REASON_START_FAILED || r.GetOrigin() != classrecv1.RecordingOrigin_RECORDING_ORIGIN_API {
				t.Errorf("it is %v", r)
			}
			if len(platform.Saved("42")) != 0 {
				t.Error("ClassBegin is still in the room")
			}
		})
	}
}

// Whoever asks again with the same request_id gets the class that began late, be
// it seen before or after that, and by whichever life; and it does not end.
func TestUnsure_AskedAgain(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"before", "before, in another life", "after"} {
		t.Run("seen "+when, func(t *testing.T) {
			t.Parallel()
			s, platform := newSilent(t, func(cfg *recording.Config) { cfg.StartTimeout = 10 * echoTimeout })
			req := &classrecv1.StartRecordingRequest{Room: "42", RequestId: "r"}
			_, err := s.Start(testContext(t), req)
			wantReason(t, err, recording.KindDeadlineExceeded, "START_NOT_CONFIRMED")
			echo := platform.echo(t)
			var again <-chan started
			switch when {
			case "after":
				again = startAsync(t, s, req)
				time.Sleep(echoTimeout) // so that it is under way, mostly
				platform.Publish("42", echo)
			case "before":
				platform.Publish("42", echo)
				platform.await(t, "it to be seen", func(r *classrecv1.Recording) bool { return r.GetState() == isRecording })
				again = startAsync(t, s, req)
			default:
				s.stop()
				echo.TS, echo.Seq = 1795375600, 9
				platform.Save("42", echo)
				s = platform.life(t, nil)
				if w := follow(t, s, &classrecv1.WatchClassBeginRequest{Room: "42"}); nextEvent(t, w).GetRecording().GetOrigin() != classrecv1.RecordingOrigin_RECORDING_ORIGIN_API {
					t.Error("it is taken for somebody else's")
				}
				again = startAsync(t, s, req)
			}
			out := <-again
			if out.err != nil || out.r.GetState() != isRecording {
				t.Fatalf("asked again: %v, %v", out.r, out.err)
			}
			time.Sleep(15 * echoTimeout) // longer than it would last unwanted
			if r := platform.await(t, "it to go on", func(*classrecv1.Recording) bool { return true }); r.GetState() != isRecording || r.GetName() != out.r.GetName() {
				t.Errorf("later, it is %v", r)
			}
		})
	}
}

// The platform tells our own ClassBegin under another name: it is our class.
func TestUnsure_EchoOfAnother(t *testing.T) {
	t.Parallel()
	for _, from := range []talkcloud.UserID{"", "server", "1234567"} {
		t.Run("from "+string(from), func(t *testing.T) {
			t.Parallel()
			s, platform := newSilent(t, nil)
			c := startAsync(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
			platform.joined(t, 1)
			time.Sleep(echoTimeout) // so that it is published, or the class is the other's
			echo := platform.echo(t)
			echo.FromID = from
			platform.Publish("42", echo)
			if out := <-c; out.err != nil || out.r.GetState() != isRecording || out.r.GetOrigin() != classrecv1.RecordingOrigin_RECORDING_ORIGIN_API {
				t.Fatalf("answered with %v, %v", out.r, out.err)
			}
			platform.Script(talkcloudtest.Script{})
			mustStop(t, s, &classrecv1.StopRecordingRequest{Room: "42"})
			if n := len(platform.all()); n != 1 {
				t.Errorf("there are %d recordings", n)
			}
		})
	}
}

// An echo that comes once more when the class is over begins none.
func TestUnsure_SecondEcho(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"us", "the teacher"} {
		for _, seq := range []bool{true, false} {
			t.Run(by+map[bool]string{true: ", with seq", false: ", without seq"}[seq], func(t *testing.T) {
				t.Parallel()
				s, platform := newSilent(t, nil)
				platform.Script(talkcloudtest.Script{})
				watch := follow(t, s, &classrecv1.WatchClassBeginRequest{Room: "42"})
				nextSynced(t, watch)
				if by == "us" {
					mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
				} else {
					platform.Publish("42", platform.echo(t))
				}
				nextEvent(t, watch)
				echo := platform.Saved("42")[0]
				platform.Delete("42", talkcloud.ClassEnd())
				nextEvent(t, watch)
				if !seq {
					echo.Seq = 0
				}
				platform.Send("42", talkcloud.EventPubMsg, echo)
				time.Sleep(2 * echoTimeout) // so that it has come; a start may come before it, too
				r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
				if n := len(platform.all()); n != 2 {
					t.Errorf("there are %d recordings", n)
				}
				mustStop(t, s, &classrecv1.StopRecordingRequest{Name: r.GetName()})
			})
		}
	}
}

// On a platform that is not ours, a class that is gone when we come back is
// over, even where nobody and nothing is in the room; it goes on if the room's
// list shows it again.
func TestUnsure_GoneWhenWeCameBack(t *testing.T) {
	t.Parallel()
	for _, comesBack := range []bool{false, true} {
		t.Run(map[bool]string{false: "for good", true: "for a moment"}[comesBack], func(t *testing.T) {
			t.Parallel()
			s, platform := newSilent(t, func(cfg *recording.Config) { cfg.DoubtTime = 3 * time.Second })
			platform.Script(talkcloudtest.Script{})
			first := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
			was := platform.Saved("42")
			platform.Save("42")
			platform.Drop("42")
			r := waitState(t, s, first.GetName(), processing)
			if r.GetEndReason() != classrecv1.EndReason_END_REASON_ENDED_WHILE_AWAY {
				t.Errorf("ended as %v", r)
			}
			if !comesBack {
				roomservertest.Poll(t, "the room to be left", func() bool { return len(platform.Members("42")) == 0 })
				if len(platform.Saved("42")) != 0 {
					t.Error("it was begun again")
				}
				return
			}
			platform.Save("42", was...) // and tells nobody: the list is looked at once more
			r = waitState(t, s, first.GetName(), isRecording)
			if r.GetEndReason() != 0 || r.GetStopTime() != nil || len(r.GetGaps()) != 1 {
				t.Errorf("it goes on as %v", r)
			}
			mustStop(t, s, &classrecv1.StopRecordingRequest{Room: "42"})
			if n := len(platform.all()); n != 1 {
				t.Errorf("there are %d recordings", n)
			}
		})
	}
}

// A class that is begun again in an empty room ends when nobody comes.
func TestUnsure_AloneInTheRoom(t *testing.T) {
	t.Parallel()
	platform := roomservertest.New(t)
	cfg := config()
	cfg.RoomsStartEmpty, cfg.AloneTime = true, time.Second
	s := newLife(t, storetest.New(t), platform.Client(t), cfg)
	alone := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
	visited := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "43"})
	first := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "44"})
	platform.Restart()
	for _, r := range []*classrecv1.Recording{alone, visited, first} {
		roomservertest.Poll(t, "it to be begun again", func() bool {
			r, err := s.Get(testContext(t), r.GetName())
			return err == nil && len(r.GetGaps()) == 1
		})
	}
	platform.Join(t, "43", "student")
	r := waitState(t, s, alone.GetName(), available)
	if r.GetEndReason() != classrecv1.EndReason_END_REASON_ENDED_WHILE_AWAY {
		t.Errorf("ended as %v", r)
	}
	if r, err := s.Get(testContext(t), visited.GetName()); err != nil || r.GetState() != isRecording {
		t.Errorf("with somebody there, it is %v, %v", r, err)
	}
	// One that was never lost goes on, however long nobody comes.
	fresh := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "45"})
	time.Sleep(1200 * time.Millisecond)
	if r, err := s.Get(testContext(t), fresh.GetName()); err != nil || r.GetState() != isRecording {
		t.Errorf("alone from the beginning, it is %v, %v", r, err)
	}
}

// However much data a ClassBegin has, the class is recorded, and the record says
// what was cut.
func TestUnsure_MuchData(t *testing.T) {
	t.Parallel()
	s, platform := newSilent(t, nil)
	platform.Script(talkcloudtest.Script{})
	watch := follow(t, s, &classrecv1.WatchClassBeginRequest{Room: "42"})
	nextSynced(t, watch)
	m := platform.echo(t)
	m.FromID = talkcloud.UserID("teacher" + strings.Repeat("r", 5000))
	m.Data = talkcloud.TextData(`{"recordtype":"3","x":"` + strings.Repeat("張", 2_200_000/3) + `"}`)
	platform.Publish("42", m)
	ev := nextEvent(t, watch)
	r := ev.GetRecording()
	if n := len(ev.GetData()); n > 64<<10 || n < 64<<10-3 {
		t.Errorf("the event has %d bytes of data", n)
	}
	if r.GetRecordType() != classrecv1.RecordType_RECORD_TYPE_MIX || len(r.GetWarnings()) != 1 || !strings.Contains(r.GetWarnings()[0], "65536") {
		t.Errorf("recorded as %v", r)
	}
	end := talkcloud.ClassEnd()
	end.Data = m.Data
	platform.Delete("42", end)
	if ev := nextEvent(t, watch); ev.GetRecording().GetState() != processing || len(ev.GetData()) > 64<<10 {
		t.Errorf("then comes %v", ev.GetAction())
	}
}

// A publish whose connection is lost before its echo is sent again, and the class
// is begun once.
func TestUnsure_ConnectionLost(t *testing.T) {
	t.Parallel()
	for _, taken := range []bool{false, true} {
		t.Run(map[bool]string{false: "before it was taken", true: "after it was taken"}[taken], func(t *testing.T) {
			t.Parallel()
			s, platform := newSilent(t, nil)
			c := startAsync(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
			platform.joined(t, 1)
			time.Sleep(echoTimeout / 2)
			if taken {
				m := platform.echo(t)
				m.TS, m.Seq = 1795375600, 9
				platform.Save("42", m)
			} else {
				platform.Script(talkcloudtest.Script{})
			}
			platform.Drop("42")
			out := <-c
			if out.err != nil || out.r.GetState() != isRecording {
				t.Fatalf("answered with %v, %v", out.r, out.err)
			}
			if n := len(platform.all()); n != 1 {
				t.Errorf("there are %d recordings", n)
			}
		})
	}
}

// What a platform refuses is not waited for.
func TestUnsure_Refused(t *testing.T) {
	t.Parallel()
	s, platform := newSilent(t, nil)
	platform.Script(talkcloudtest.Script{
		Silent: func(event string) bool { return event == talkcloud.EventPubMsg },
		Ack:    refusedPubMsg,
	})
	ctx, cancel := context.WithTimeout(testContext(t), 5*time.Second)
	defer cancel()
	_, err := s.Start(ctx, &classrecv1.StartRecordingRequest{Room: "42"})
	wantReason(t, err, recording.KindFailedPrecondition, "PLATFORM_REFUSED")
}
