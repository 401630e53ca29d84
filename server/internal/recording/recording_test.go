// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/recording"
	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

const (
	isRecording = classrecv1.RecordingState_RECORDING_STATE_RECORDING
	processing  = classrecv1.RecordingState_RECORDING_STATE_PROCESSING
	available   = classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
	failed      = classrecv1.RecordingState_RECORDING_STATE_FAILED
	actionAdd   = classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD
	remove      = classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE
)

func TestStart_PublishesClassBegin(t *testing.T) {
	t.Parallel()
	s, platform := newService(t)
	student := platform.Join(t, "42", "student")
	off := false
	r := mustStart(t, s, &classrecv1.StartRecordingRequest{
		Room: "42", UserId: "recorder", Nickname: "Rec",
		Format:     classrecv1.RecordingFormat_RECORDING_FORMAT_WEBM,
		RecordType: classrecv1.RecordType_RECORD_TYPE_FILE,
		Layout:     classrecv1.RecordingLayout_RECORDING_LAYOUT_PORTRAIT,
		RecordChat: &off,
	})
	msg := student.Message(t, talkcloud.EventPubMsg, talkcloud.MessageClassBegin)
	if want := `{"recordtype":"0","convert":1,"layout":1}`; msg.DataText() != want {
		t.Errorf("ClassBegin carries %s, want %s", msg.DataText(), want)
	}
	if msg.FromID != "recorder" || r.GetUserId() != "recorder" {
		t.Errorf("published by %s, the recording says %s", msg.FromID, r.GetUserId())
	}
	if at, _ := msg.TS.Time(); !r.GetRecordTime().AsTime().Equal(at) || r.GetName() != recording.Name("42", at.Unix(), 1) {
		t.Errorf("recording %s began at %v; ClassBegin has ts %v", r.GetName(), r.GetRecordTime().AsTime(), at)
	}
	if r.GetOrigin() != classrecv1.RecordingOrigin_RECORDING_ORIGIN_API || r.GetRecordChat() {
		t.Errorf("recording is %v", r)
	}

	stopped := mustStop(t, s, &classrecv1.StopRecordingRequest{Name: r.GetName()})
	end := student.Message(t, talkcloud.EventDelMsg, talkcloud.MessageClassBegin)
	if at, _ := end.TS.Time(); !stopped.GetStopTime().AsTime().Equal(at) {
		t.Errorf("stopped at %v, the delete has ts %v", stopped.GetStopTime().AsTime(), at)
	}
	if stopped.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED {
		t.Errorf("end reason %v", stopped.GetEndReason())
	}
	// Nobody published: the class is complete, and empty.
	if r = waitState(t, s, r.GetName(), available); len(r.GetUrls()) != 0 {
		t.Errorf("a class without media has the files %d", len(r.GetUrls()))
	}
}

func TestStart_MakesAUserID(t *testing.T) {
	t.Parallel()
	s, _ := newService(t)
	a := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "1"})
	b := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "2"})
	if a.GetUserId() == "" || a.GetUserId() == b.GetUserId() {
		t.Errorf("user ids %q and %q are not unique", a.GetUserId(), b.GetUserId())
	}
}

func TestStart_SameRequestIDAtOnce(t *testing.T) {
	t.Parallel()
	s, platform := newService(t)
	student := platform.Join(t, "42", "student")
	const callers = 1000
	names := make([]string, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			r, err := s.Start(testContext(t), &classrecv1.StartRecordingRequest{Room: "42", RequestId: "once"})
			if err != nil {
				t.Errorf("start: %v", err)
				return
			}
			names[i] = r.GetName()
		})
	}
	wg.Wait()
	for _, name := range names {
		if name != names[0] || name == "" {
			t.Fatalf("got the recordings %q and %q", names[0], name)
		}
	}
	student.Sync(t)
	adds := 0
	for _, ev := range student.Events() {
		if ev.Name == talkcloud.EventPubMsg {
			adds++
		}
	}
	if adds != 1 {
		t.Errorf("%d messages were published, want 1", adds)
	}
	_, err := s.Start(testContext(t), &classrecv1.StartRecordingRequest{Room: "43", RequestId: "once"})
	wantReason(t, err, recording.KindAlreadyExists, "REQUEST_ID_REUSED")
}

func TestStart_ClassIsOn(t *testing.T) {
	t.Parallel()
	s, platform := newService(t)
	teacher := platform.Join(t, "42", "teacher")
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordChat: true})

	_, err := s.Start(testContext(t), &classrecv1.StartRecordingRequest{Room: "42", UserId: "teacher2"})
	e := wantReason(t, err, recording.KindAlreadyExists, "CLASS_ALREADY_BEGUN")
	name := recording.Name("42", ts, 1)
	if e.Stored == nil && e.Metadata["recording"] != name {
		t.Errorf("metadata %v does not name %s", e.Metadata, name)
	}
	r := waitState(t, s, name, isRecording)
	if r.GetOrigin() != classrecv1.RecordingOrigin_RECORDING_ORIGIN_ROOM || r.GetUserId() != "teacher" {
		t.Errorf("adopted as %v of %s", r.GetOrigin(), r.GetUserId())
	}
	if r.GetRecordType() != classrecv1.RecordType_RECORD_TYPE_FILE || !r.GetRecordChat() {
		t.Errorf("record type %v, chat %v: not what ClassBegin said", r.GetRecordType(), r.GetRecordChat())
	}
	// A second Start knows it without asking the room.
	_, err = s.Start(testContext(t), &classrecv1.StartRecordingRequest{Room: "42"})
	if e := wantReason(t, err, recording.KindAlreadyExists, "CLASS_ALREADY_BEGUN"); e.Metadata["recording"] != name {
		t.Errorf("metadata %v does not name %s", e.Metadata, name)
	}
	teacher.EndClass(t)
	if r = waitState(t, s, name, available); r.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED_IN_ROOM {
		t.Errorf("end reason %v", r.GetEndReason())
	}
}

func TestStart_AfterStopInOneSecond(t *testing.T) {
	t.Parallel()
	s, _ := newService(t)
	seen := map[string]bool{}
	for range 5 {
		r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
		if seen[r.GetName()] {
			t.Fatalf("two recordings are named %s", r.GetName())
		}
		seen[r.GetName()] = true
		mustStop(t, s, &classrecv1.StopRecordingRequest{Room: "42"})
	}
	if page := mustList(t, s, &classrecv1.ListRecordingsRequest{Room: "42"}); len(page) != len(seen) {
		t.Errorf("listed %d, want %d", len(page), len(seen))
	}
}

func TestStart_RefusedByThePlatform(t *testing.T) {
	t.Parallel()
	platform := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.FFmpegPath = "/nonexistent/ffmpeg" }))
	s := newLife(t, storetest.New(t), platform.Client(t), config())
	req := &classrecv1.StartRecordingRequest{Room: "42", RequestId: "r", Format: classrecv1.RecordingFormat_RECORDING_FORMAT_MP4}
	_, err := s.Start(testContext(t), req)
	e := wantReason(t, err, recording.KindFailedPrecondition, "FFMPEG_MISSING")
	if e.Stored == nil {
		t.Errorf("the failure is not the stored one")
	}
	if want := "the platform refuses: ffmpeg is needed to make MP4 files, and is not installed where the platform runs"; e.Message != want {
		t.Errorf("the failure reads %q, want %q", e.Message, want)
	}
	// A start that failed frees its id, and leaves no live recording behind.
	mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42", RequestId: "r"})
}

func TestStart_WrongPassword(t *testing.T) {
	t.Parallel()
	platform := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) {
		c.Rooms = map[talkcloud.RoomID]roomserver.RoomConfig{"42": {Passwords: map[int]talkcloud.Secret{0: "marked-secret"}}}
	}))
	cfg := config()
	s := newLife(t, storetest.New(t), platform.Client(t), cfg)
	_, err := s.Start(testContext(t), &classrecv1.StartRecordingRequest{Room: "42", RoomPassword: "wrong"})
	if err == nil {
		t.Fatal("entered with a wrong password")
	}
	mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42", RoomPassword: "marked-secret"})
}

func TestStop_EveryStateAndTwice(t *testing.T) {
	t.Parallel()
	s, platform := newService(t)
	_, err := s.Stop(testContext(t), &classrecv1.StopRecordingRequest{Room: "42"})
	wantReason(t, err, recording.KindNotFound, "NO_CLASS")
	_, err = s.Stop(testContext(t), &classrecv1.StopRecordingRequest{Name: "rooms/42/recordings/1"})
	wantReason(t, err, recording.KindNotFound, "RECORDING_NOT_FOUND")

	student := platform.Join(t, "42", "student")
	r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			req := &classrecv1.StopRecordingRequest{Name: r.GetName()}
			if i%2 == 0 {
				req = &classrecv1.StopRecordingRequest{Room: "42"}
			}
			got, err := s.Stop(testContext(t), req)
			if err != nil || got.GetName() != r.GetName() || got.GetState() < processing {
				t.Errorf("stop: %v, %v", got, err)
			}
		})
	}
	wg.Wait()
	waitState(t, s, r.GetName(), available)
	mustStop(t, s, &classrecv1.StopRecordingRequest{Name: r.GetName()})
	student.Sync(t)
	deletes := 0
	for _, ev := range student.Events() {
		if ev.Name == talkcloud.EventDelMsg {
			deletes++
		}
	}
	if deletes != 1 {
		t.Errorf("%d deletes, want 1", deletes)
	}
}

func TestStop_WhileStarting(t *testing.T) {
	t.Parallel()
	s, _ := newService(t)
	for i := range 20 {
		roomID := fmt.Sprint(i)
		started := make(chan error, 1)
		go func() {
			_, err := s.Start(testContext(t), &classrecv1.StartRecordingRequest{Room: roomID})
			started <- err
		}()
		roomservertest.Poll(t, "the stop to find the class", func() bool {
			r, err := s.Stop(testContext(t), &classrecv1.StopRecordingRequest{Room: roomID})
			return err == nil && r.GetState() >= processing
		})
		if err := <-started; err != nil {
			t.Errorf("start: %v", err)
		}
	}
}

func TestStop_AClassOfSomebodyElse(t *testing.T) {
	t.Parallel()
	s, platform := newService(t)
	teacher := platform.Join(t, "42", "teacher")
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{})
	r := mustStop(t, s, &classrecv1.StopRecordingRequest{Room: "42"})
	if r.GetName() != recording.Name("42", ts, 1) || r.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED {
		t.Errorf("stopped %v", r)
	}
	teacher.Message(t, talkcloud.EventDelMsg, talkcloud.MessageClassBegin)
}

func TestMaxDuration(t *testing.T) {
	t.Parallel()
	s, _ := newService(t)
	r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42", MaxDuration: durationpb.New(time.Second)})
	r = waitState(t, s, r.GetName(), available)
	if r.GetEndReason() != classrecv1.EndReason_END_REASON_MAX_DURATION {
		t.Errorf("end reason %v", r.GetEndReason())
	}
}

func TestStop_WhileComingBack(t *testing.T) {
	t.Parallel()
	s, platform := newService(t)
	r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
	platform.Drop()
	got := mustStop(t, s, &classrecv1.StopRecordingRequest{Name: r.GetName()})
	if got.GetState() < processing {
		t.Errorf("stopped as %v", got.GetState())
	}
}

func TestStateLost_BeginsAgain(t *testing.T) {
	t.Parallel()
	platform := roomservertest.New(t)
	cfg := config()
	cfg.RoomsStartEmpty = true
	s := newLife(t, storetest.New(t), platform.Client(t), cfg)
	r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
	next := follow(t, s, &classrecv1.WatchClassBeginRequest{Room: "42"})
	if ev := nextEvent(t, next); !ev.GetInList() || ev.GetRecording().GetName() != r.GetName() {
		t.Fatalf("snapshot is %v", ev)
	}
	nextSynced(t, next)
	platform.Restart()
	ev := nextEvent(t, next)
	if ev.GetAction() != actionAdd || ev.GetRecording().GetName() != r.GetName() || len(ev.GetRecording().GetGaps()) != 1 {
		t.Fatalf("after the restart: %v", ev)
	}
	student := platform.Join(t, "42", "student")
	if len(student.Reply.Messages) != 1 {
		t.Errorf("%d saved messages, want ClassBegin", len(student.Reply.Messages))
	}
	mustStop(t, s, &classrecv1.StopRecordingRequest{Name: r.GetName()})
	waitState(t, s, r.GetName(), available)
}

func TestRun_TakesUp(t *testing.T) {
	t.Parallel()
	platform := roomservertest.New(t)
	dir := t.TempDir()
	student := platform.Join(t, "42", "student") // keeps the room's state
	_ = student
	st := storetest.Open(t, dir)
	s := newLife(t, st, platform.Client(t), config())
	r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42", RequestId: "r"})
	s.stop()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}

	st = storetest.Open(t, dir)
	s = newLife(t, st, platform.Client(t), config())
	again := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42", RequestId: "r"})
	if again.GetName() != r.GetName() || len(again.GetGaps()) != 0 {
		t.Errorf("taken up as %v", again)
	}
	if got := mustStop(t, s, &classrecv1.StopRecordingRequest{Room: "42"}); got.GetName() != r.GetName() {
		t.Errorf("stopped %s, want %s", got.GetName(), r.GetName())
	}
	waitState(t, s, r.GetName(), available)
}

func TestRun_EndedWhileAway(t *testing.T) {
	t.Parallel()
	platform := roomservertest.New(t)
	dir := t.TempDir()
	teacher := platform.Join(t, "42", "teacher")
	st := storetest.Open(t, dir)
	s := newLife(t, st, platform.Client(t), config())
	r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
	s.stop()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	teacher.EndClass(t)

	s = newLife(t, storetest.Open(t, dir), platform.Client(t), config())
	if r = waitState(t, s, r.GetName(), available); r.GetEndReason() != classrecv1.EndReason_END_REASON_ENDED_WHILE_AWAY {
		t.Errorf("end reason %v", r.GetEndReason())
	}
}

func TestProcessing_OutOfTime(t *testing.T) {
	t.Parallel()
	platform := roomservertest.New(t)
	cfg := config()
	cfg.ProcessingTimeout = 50 * time.Millisecond
	// A record list that does not answer for this key.
	client := platform.Client(t, func(c *talkcloud.Config) { c.EnterpriseKey = "another-key-0000" })
	s := newLife(t, storetest.New(t), client, cfg)
	r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
	mustStop(t, s, &classrecv1.StopRecordingRequest{Room: "42"})
	r = waitState(t, s, r.GetName(), failed)
	if r.GetFailure().GetMessage() == "" {
		t.Error("failed without a reason")
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	s, platform := newService(t)
	next := follow(t, s, &classrecv1.WatchClassBeginRequest{Room: "42"})
	first := nextSynced(t, next)
	teacher := platform.Join(t, "42", "teacher")
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{HasRecordType: true, RecordType: 1})
	add := nextEvent(t, next)
	if add.GetAction() != actionAdd || add.GetTime().GetSeconds() != ts || add.GetInList() || add.GetFromUserId() != "teacher" || add.GetSequence() <= first {
		t.Errorf("add is %v", add)
	}
	late := follow(t, s, &classrecv1.WatchClassBeginRequest{Room: "-"})
	if ev := nextEvent(t, late); !ev.GetInList() || ev.GetSequence() != add.GetSequence() || ev.GetData() != add.GetData() {
		t.Errorf("the snapshot has %v, the log had %v", ev, add)
	}
	nextSynced(t, late)
	teacher.EndClass(t)
	for _, next := range []func() *classrecv1.WatchClassBeginResponse{next, late} {
		if ev := nextEvent(t, next); ev.GetAction() != remove || ev.GetRecording().GetState() != processing {
			t.Errorf("remove is %v", ev)
		}
	}
	resumed := follow(t, s, &classrecv1.WatchClassBeginRequest{Room: "42", AfterSequence: add.GetSequence()})
	if ev := nextEvent(t, resumed); ev.GetAction() != remove {
		t.Errorf("resumed with %v", ev)
	}
	nextSynced(t, resumed)
	_, err := s.Watch(testContext(t), &classrecv1.WatchClassBeginRequest{Room: "-", AfterSequence: 1 << 40}, nil)
	wantReason(t, err, recording.KindOutOfRange, "SEQUENCE_UNKNOWN")
}

func TestWatch_LeavesTheRoom(t *testing.T) {
	t.Parallel()
	s, platform := newService(t)
	student := platform.Join(t, "42", "student")
	ctx := testContext(t)
	w, err := s.Watch(ctx, &classrecv1.WatchClassBeginRequest{Room: "42"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	student.Wait(t, talkcloud.EventParticipantJoined)
	w.Close()
	student.Wait(t, talkcloud.EventParticipantLeft)
	roomservertest.Poll(t, "the worker to end", func() bool { return s.Rooms() == 0 })
}

func TestWatch_Heartbeat(t *testing.T) {
	t.Parallel()
	platform := roomservertest.New(t)
	cfg := config()
	cfg.Heartbeat = 5 * time.Millisecond
	s := newLife(t, storetest.New(t), platform.Client(t), cfg)
	next := follow(t, s, &classrecv1.WatchClassBeginRequest{Room: "-"})
	at := nextSynced(t, next)
	if hb := next().GetHeartbeat(); hb == nil || hb.GetSequence() != at {
		t.Errorf("heartbeat is %v, want sequence %d", hb, at)
	}
}

func TestList_Pages(t *testing.T) {
	t.Parallel()
	s, platform := newService(t)
	// Three that the service knows, and two that only the platform does.
	teacher := platform.Join(t, "42", "teacher")
	var want []string
	foreign := func() {
		teacher.Sync(t)
		teacher.Events() // forget the classes of before
		ts := teacher.BeginClass(t, talkcloud.ClassBegin{HasRecordType: true, RecordType: talkcloud.RecordTypeList, RecordChat: true})
		teacher.Chat(t, "hello") // so that there is a file
		teacher.EndClass(t)
		roomservertest.Poll(t, "the platform to list it", func() bool {
			items, err := platform.Client(t).RecordList(testContext(t), talkcloud.RecordListQuery{Room: "42"})
			return err == nil && slices.ContainsFunc(items, func(item talkcloud.RecordListItem) bool {
				n, _ := item.StartTime.Int()
				return n == ts
			})
		})
		want = append(want, recording.Name("42", ts, 1))
	}
	own := func() {
		r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42", UserId: "rec"})
		mustStop(t, s, &classrecv1.StopRecordingRequest{Room: "42"})
		waitState(t, s, r.GetName(), available)
		roomservertest.Poll(t, "the service to leave", func() bool { return s.Rooms() == 0 })
		want = append(want, r.GetName())
	}
	own()
	foreign()
	own()
	foreign()
	own()
	var got []string
	token := ""
	for {
		page, err := s.List(testContext(t), &classrecv1.ListRecordingsRequest{Room: "42", PageSize: 2, PageToken: token}, recording.Rooms{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.GetRecordings() {
			got = append([]string{r.GetName()}, got...)
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
		if _, err := s.List(testContext(t), &classrecv1.ListRecordingsRequest{Room: "43", PageToken: token}, recording.Rooms{}); err == nil {
			t.Error("a page token was taken for another list")
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("listed %v, want %v", got, want)
	}
}

func TestGet_KnownToThePlatformOnly(t *testing.T) {
	t.Parallel()
	s, platform := newService(t)
	teacher := platform.Join(t, "42", "teacher")
	name := recording.Name("42", teacher.BeginClass(t, talkcloud.ClassBegin{HasRecordType: true, RecordType: talkcloud.RecordTypeList, RecordChat: true}), 1)
	teacher.Chat(t, "hello")
	teacher.EndClass(t)
	var r *classrecv1.Recording
	roomservertest.Poll(t, "the platform to list it", func() bool {
		var err error
		r, err = s.Get(testContext(t), name)
		return err == nil && len(r.GetFiles()) == 1 && r.GetFiles()[0].GetSize() > 0
	})
	if r.GetOrigin() != classrecv1.RecordingOrigin_RECORDING_ORIGIN_PLATFORM || r.GetName() != name {
		t.Errorf("got %s of %v", r.GetName(), r.GetOrigin())
	}
}

// However many rooms that nobody knows are asked to be stopped in at once, only so
// many are worked at a time; a room with a class does not wait behind them, and
// each of them is answered in the end.
func TestStop_ManyUnknownRooms(t *testing.T) {
	t.Parallel()
	const places, strangers = 3, 40
	platform := talkcloudtest.NewPlain(t)
	cfg := config()
	cfg.MaxLooks = places
	s := newLife(t, storetest.New(t), platform.NewClient(t, nil), cfg)
	mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})

	arrived, let := make(chan struct{}, strangers), make(chan struct{})
	platform.Answer(talkcloud.PathCheckRoom, func(w http.ResponseWriter, r *http.Request) {
		select {
		case arrived <- struct{}{}:
		default: // later on, nobody counts
		}
		select {
		case <-let:
		case <-r.Context().Done():
		}
		_, _ = fmt.Fprintf(w, `{"result":0,"roomrole":2,"room":{"serial":%q,"maxvideo":"6","roomtype":"3"}}`, r.PostForm.Get("serial"))
	})
	var mu sync.Mutex
	var most int
	var wg sync.WaitGroup
	for n := range strangers {
		wg.Go(func() {
			_, err := s.Stop(testContext(t), &classrecv1.StopRecordingRequest{Room: fmt.Sprint("never-", n)})
			var e *recording.Error
			if !errors.As(err, &e) || e.Reason != "NO_CLASS" {
				t.Errorf("stop in a room that nobody knows: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			most = max(most, s.Rooms())
		})
	}
	for range places {
		<-arrived
	}
	if rooms := s.Rooms(); rooms != places+1 {
		t.Errorf("%d rooms are worked in, of which %d may be looked into", rooms, places)
	}
	// A name that is not known needs no room, and one that is has its own.
	_, err := s.Stop(testContext(t), &classrecv1.StopRecordingRequest{Name: "rooms/nobody/recordings/1700000000"})
	wantReason(t, err, recording.KindNotFound, "RECORDING_NOT_FOUND")
	mustStop(t, s, &classrecv1.StopRecordingRequest{Room: "42"})
	select {
	case <-arrived:
		t.Error("one more looks")
	default:
	}
	close(let)
	wg.Wait()
	if most > places+1 {
		t.Errorf("%d rooms were worked in", most)
	}
	// Who watches a room that was looked into has a place of his own; so has a class.
	for n := range 2 * places {
		room := fmt.Sprint("watched-", n)
		watch, err := s.Watch(testContext(t), &classrecv1.WatchClassBeginRequest{Room: room}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer watch.Close()
		_, err = s.Stop(testContext(t), &classrecv1.StopRecordingRequest{Room: room})
		wantReason(t, err, recording.KindNotFound, "NO_CLASS")
	}
	for n := range 2 * places {
		room := talkcloud.RoomID(fmt.Sprint("theirs-", n))
		platform.Publish(room, talkcloud.ClassBegin{HasRecordType: true, RecordType: 1}.Message())
		mustStop(t, s, &classrecv1.StopRecordingRequest{Room: string(room)})
	}
}
