// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/recording"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/service"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// leftBehind writes a recording as a life of the service leaves it that ended
// long ago, in a room of its own; the room's name is returned.
func leftBehind(t *testing.T, st *store.Store, state classrecv1.RecordingState, deadline bool) string {
	t.Helper()
	roomID := strings.ToLower(strings.TrimPrefix(state.String(), "RECORDING_STATE_"))
	long := time.Now().Add(-100 * time.Hour)
	rec := &storev1.Record{
		Tenant: "default", Id: fmt.Sprintf("01LEFT%d", state),
		Recording: &classrecv1.Recording{
			Room: roomID, UserId: "u", State: state, Origin: classrecv1.RecordingOrigin_RECORDING_ORIGIN_API,
			CreateTime: timestamppb.New(long), UpdateTime: timestamppb.New(long),
		},
		Join:           &storev1.JoinIdentity{UserId: "u"},
		ClassBeginData: `{"recordtype":"1"}`,
	}
	if deadline {
		rec.Deadline = timestamppb.New(long.Add(time.Hour))
	}
	if state != classrecv1.RecordingState_RECORDING_STATE_STARTING {
		rec.Recording.Name = recording.Name(roomID, long.Unix(), 1)
		rec.Recording.RecordTime = timestamppb.New(long)
		rec.RecordTs = []int64{long.Unix()}
	}
	if state == classrecv1.RecordingState_RECORDING_STATE_STOPPING {
		rec.StopReason = classrecv1.EndReason_END_REASON_STOPPED
	}
	if state == processing {
		rec.Recording.EndReason, rec.Recording.StopTime = classrecv1.EndReason_END_REASON_STOPPED, timestamppb.New(long)
	}
	if _, err := st.Append(testContext(t), rec, 0); err != nil {
		t.Fatal(err)
	}
	return roomID
}

// ofRoom is the room's only recording.
func ofRoom(t *testing.T, st *store.Store, roomID string) *classrecv1.Recording {
	t.Helper()
	id := "01LEFT1"
	for state := range classrecv1.RecordingState_name {
		if strings.EqualFold("RECORDING_STATE_"+roomID, classrecv1.RecordingState(state).String()) {
			id = fmt.Sprintf("01LEFT%d", state)
		}
	}
	e, err := st.Get(t.Context(), "default", roomID, id)
	if err != nil {
		t.Fatal(err)
	}
	return e.Record.GetRecording()
}

// What a life that ended long ago has left in any state is brought to its end
// by the next one, with the reason: where the platform answers, and where it
// cannot be reached.
func TestRun_LeftBehind(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]func() *talkcloud.Client{
		"platform is there": func() *talkcloud.Client { return roomservertest.New(t).Client(t) },
		"platform is down": func() *talkcloud.Client {
			c, err := talkcloud.New(talkcloud.Config{BaseURL: "http://" + talkcloudtest.Refusing(t), EnterpriseKey: "a-key-of-the-test"})
			if err != nil {
				t.Fatal(err)
			}
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config()
			cfg.Status = service.Status
			cfg.StartTimeout, cfg.StopDeadline, cfg.ProcessingTimeout = 300*time.Millisecond, patience, 300*time.Millisecond
			st := storetest.New(t)
			rooms := map[string]classrecv1.EndReason{
				leftBehind(t, st, classrecv1.RecordingState_RECORDING_STATE_STARTING, true):   classrecv1.EndReason_END_REASON_START_FAILED,
				leftBehind(t, st, classrecv1.RecordingState_RECORDING_STATE_RECORDING, false): classrecv1.EndReason_END_REASON_MAX_DURATION,
				leftBehind(t, st, classrecv1.RecordingState_RECORDING_STATE_STOPPING, true):   classrecv1.EndReason_END_REASON_STOPPED,
				leftBehind(t, st, processing, true):                                           classrecv1.EndReason_END_REASON_STOPPED,
			}
			if name == "platform is down" { // nobody can confirm a stop
				cfg.StopDeadline = 300 * time.Millisecond
				rooms["recording"] = classrecv1.EndReason_END_REASON_STOP_NOT_CONFIRMED
				rooms["stopping"] = classrecv1.EndReason_END_REASON_STOP_NOT_CONFIRMED
			}
			s := newLife(t, st, client(), cfg)
			for roomID, reason := range rooms {
				var r *classrecv1.Recording
				roomservertest.Poll(t, roomID+" to be terminal", func() bool {
					r = ofRoom(t, st, roomID)
					return r.GetState() == failed
				})
				if r.GetEndReason() != reason || r.GetFailure().GetMessage() == "" {
					t.Errorf("%s has ended for %v: %s", roomID, r.GetEndReason(), r.GetFailure().GetMessage())
				}
			}
			if left := st.Unfinished(); len(left) != 0 {
				t.Errorf("%d recordings are left", len(left))
			}
			roomservertest.Poll(t, "the workers to end", func() bool { return s.Rooms() == 0 })
		})
	}
}

// lines is a log that can be looked through.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// A worker whose look at the files hangs does not keep its recording in
// PROCESSING for ever: the reconciler moves it, and says so.
func TestReconcile_WorkerHangs(t *testing.T) {
	t.Parallel()
	platform := newLister(t, "https://files.example/a.mkv")
	goOn := make(chan struct{})
	asked := make(chan struct{}, 1)
	log := new(lines)
	s := platform.service(t, func(cfg *recording.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
		cfg.ProcessingTimeout = 200 * time.Millisecond
		cfg.ReconcileEvery, cfg.ReconcileGrace = 50*time.Millisecond, 100*time.Millisecond
		cfg.Fetchable = func(context.Context, string) error { // whatever its context says
			select {
			case asked <- struct{}{}:
			default:
			}
			<-goOn
			return nil
		}
	})
	defer close(goOn)
	r := record(t, s)
	<-asked
	wantFailure(t, waitState(t, s, r.GetName(), failed), "FILES_NOT_LISTED", "in time", 0)
	if !log.contains("outlived its deadline") {
		t.Error("nothing is logged")
	}
}

// A class begun by somebody in the room is bounded too.
func TestMaxDuration_OfTheService(t *testing.T) {
	t.Parallel()
	platform := roomservertest.New(t)
	cfg := config()
	cfg.MaxDuration = time.Second
	s := newLife(t, storetest.New(t), platform.Client(t), cfg)
	next := follow(t, s, &classrecv1.WatchClassBeginRequest{Room: "42"})
	nextSynced(t, next)
	teacher := platform.Join(t, "42", "teacher")
	teacher.BeginClass(t, talkcloud.ClassBegin{RecordChat: true})
	name := nextEvent(t, next).GetRecording().GetName()
	r := waitState(t, s, name, available)
	if r.GetEndReason() != classrecv1.EndReason_END_REASON_MAX_DURATION || r.GetMaxDuration() != nil {
		t.Errorf("ended as %v", r)
	}
	teacher.Message(t, talkcloud.EventDelMsg, talkcloud.MessageClassBegin)
}

// The longest time goes on over a restart: it is not begun anew.
func TestMaxDuration_OverARestart(t *testing.T) {
	t.Parallel()
	platform := roomservertest.New(t)
	platform.Join(t, "42", "student") // keeps the room's state
	dir := t.TempDir()
	cfg := config()
	cfg.MaxDuration = 2 * time.Second
	st := storetest.Open(t, dir)
	s := newLife(t, st, platform.Client(t), cfg)
	r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
	began := time.Now()
	s.stop()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.MaxDuration = time.Hour // what holds is what was stored
	s = newLife(t, storetest.Open(t, dir), platform.Client(t), cfg)
	r = waitState(t, s, r.GetName(), available)
	if r.GetEndReason() != classrecv1.EndReason_END_REASON_MAX_DURATION {
		t.Errorf("ended as %v", r)
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("ended after %v", took)
	}
}
