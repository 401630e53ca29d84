// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package service_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// leaseTTL is how long the replicas of these tests may be silent.
const leaseTTL = 2 * time.Second

// replicas is three servers on one platform and one PostgreSQL, which a standby
// follows.
type replicas struct {
	primary  *storetest.Postgres
	platform *apitest.Server
	links    []*storetest.Link // each replica's own way to the database
	all      []*apitest.Server
}

// One after another: each is work for a whole machine.
func TestReplicas(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		test func(*testing.T)
	}{
		{"Any serves any", replicasAnyServesAny},
		{"Watchers elsewhere", replicasWatchersElsewhere},
		{"Same request id", replicasSameRequestID},
		{"Cut off", replicasCutOff},
		{"A standby is promoted", replicasPromoted},
	} {
		t.Run(tc.name, tc.test)
	}
}

func newReplicas(t *testing.T) *replicas {
	t.Helper()
	r := &replicas{primary: storetest.NewPostgres(t), platform: apitest.PlatformOnly(t)}
	for range 3 {
		link := r.primary.Link(t)
		r.links = append(r.links, link)
		r.all = append(r.all, apitest.New(t, apitest.Replica(t, r.platform, link.URL(), leaseTTL)))
	}
	for i, s := range r.all {
		watch := apitest.Call{Name: apitest.Watch, Request: fmt.Sprintf(`{"room":"first-%d"}`, i)}
		roomservertest.Poll(t, "the replicas to be there", func() bool {
			return s.Call(t, apitest.GRPC, watch).Code == codes.OK
		})
	}
	return r
}

func (r *replicas) join(t *testing.T, room, user string) *apitest.Participant {
	t.Helper()
	return apitest.JoinAt(t, r.platform.RoomURL(), room, user)
}

// persist is Call until the answer is not UNAVAILABLE: what a caller does with that.
func persist(t *testing.T, s *apitest.Server, way apitest.Transport, call apitest.Call) apitest.Outcome {
	t.Helper()
	var out apitest.Outcome
	roomservertest.Poll(t, call.Name+" to be answered", func() bool {
		out = s.Call(t, way, call)
		if out.Code == codes.Unavailable && out.RetryAfter == 0 {
			t.Fatalf("%s: UNAVAILABLE without a word on when to try again: %s", call.Name, out.Message)
		}
		return out.Code != codes.Unavailable
	})
	return out
}

// insist is persist for goroutines that are not the test's.
func insist(ctx context.Context, s *apitest.Server, call apitest.Call) (out apitest.Outcome, err error) {
	for out.Code = codes.Unavailable; err == nil && out.Code == codes.Unavailable; {
		out, err = s.TryCall(ctx, apitest.GRPC, call)
	}
	return out, err
}

// retry is persist for a call that has to succeed.
func retry(t *testing.T, s *apitest.Server, call apitest.Call) *classrecv1.Recording {
	t.Helper()
	out := persist(t, s, apitest.GRPC, call)
	if out.Code != codes.OK {
		t.Fatalf("%s %s: %+v", call.Name, call.Request, out)
	}
	return out.Recording(t)
}

// start is retry of a start in the room, which it does not begin twice.
func start(t *testing.T, s *apitest.Server, room string, n int) *classrecv1.Recording {
	t.Helper()
	return retry(t, s, apitest.Call{Name: apitest.Start, Request: fmt.Sprintf(`{"room":"%s","request_id":"%s-%d"}`, room, room, n)})
}

// Any replica serves any call, and shows at once what another has answered.
// All of them give their watchers the same events.
func replicasAnyServesAny(t *testing.T) {
	r := newReplicas(t)
	teacher := r.join(t, "42", "teacher")
	watches := make([]*apitest.Stream, 0, 6)
	for _, s := range r.all {
		for _, room := range []string{"42", "-"} {
			w, _ := s.AwaitWatch(t, apitest.GRPC, room)
			watches = append(watches, w)
		}
	}
	const classes = 6
	for i := range classes {
		starter, reader, stopper := r.all[i%3], r.all[(i+1)%3], r.all[(i+2)%3]
		rec := start(t, starter, "42", i)
		if got := retry(t, reader, apitest.Call{Name: apitest.Get, Request: `{"name":"` + rec.GetName() + `"}`}); got.GetState() != stateRecording {
			t.Errorf("another replica shows %v right after the start", got)
		}
		if out := persist(t, reader, apitest.REST, apitest.Call{Name: apitest.List, Request: `{"room":"42"}`}); !strings.Contains(out.Response, rec.GetName()) {
			t.Errorf("another replica does not list it: %s", out.Response)
		}
		out := persist(t, stopper, apitest.REST, apitest.Call{Name: apitest.Start, Request: `{"room":"42"}`})
		if out.Code != codes.AlreadyExists || out.Metadata["recording"] != rec.GetName() {
			t.Errorf("a second start on another replica: %+v", out)
		}
		retry(t, stopper, apitest.Call{Name: apitest.Stop, Request: `{"name":"` + rec.GetName() + `"}`})
	}
	first := watches[0].Events(t, 2*classes)
	for _, w := range watches[1:] {
		if diff := sequencesOf(w.Events(t, 2*classes)); !slices.Equal(diff, sequencesOf(first)) {
			t.Errorf("a watcher has %v, another %v", diff, sequencesOf(first))
		}
	}
	if n := teacher.Count(talkcloud.Published); n != classes {
		t.Errorf("in the room, %d classes began", n)
	}
}

func sequencesOf(events []*classrecv1.ClassBeginEvent) []uint64 {
	var list []uint64
	for _, ev := range events {
		list = append(list, ev.GetSequence())
	}
	return list
}

// A class begun by the teacher is seen by watchers of every replica, also when
// the one that was in the room for them all has nothing to do there any more.
func replicasWatchersElsewhere(t *testing.T) {
	r := newReplicas(t)
	teacher := r.join(t, "42", "teacher")
	first, _ := r.all[0].AwaitWatch(t, apitest.GRPC, "42")
	second, _ := r.all[1].AwaitWatch(t, apitest.SSE, "42")
	if others := teacher.Present(); len(others) != 1 {
		t.Errorf("with two watchers, in the room are %v", others)
	}
	teacher.Begin(t, talkcloud.ClassBegin{})
	rec := first.Events(t, 1)[0].GetRecording()
	if got := second.Events(t, 1)[0].GetRecording(); got.GetName() != rec.GetName() || got.GetOrigin() != classrecv1.RecordingOrigin_RECORDING_ORIGIN_ROOM {
		t.Errorf("the other replica's watcher has %v", got)
	}
	// A third comes into the class, by a replica that is not in the room.
	third, snapshot := r.all[2].AwaitWatch(t, apitest.NDJSON, "42")
	if len(snapshot) != 1 || snapshot[0].GetRecording().GetName() != rec.GetName() {
		t.Errorf("the third begins with %v", snapshot)
	}
	teacher.End(t)
	for _, w := range []*apitest.Stream{first, second, third} {
		w.Events(t, 1)
	}
	// The replica that works the room stops: another one takes its place.
	first.Close()
	r.all[0].Stop()
	roomservertest.Poll(t, "another replica to be in the room", func() bool {
		return len(teacher.Present()) == 1
	})
	// Whoever it is may be on its way out or in: what counts is what is seen.
	teacher.Begin(t, talkcloud.ClassBegin{})
	begun, other := second.Events(t, 1)[0], third.Events(t, 1)[0]
	if begun.GetSequence() != other.GetSequence() || begun.GetRecording().GetName() == rec.GetName() {
		t.Errorf("seen as %v and %v", begun, other)
	}
}

// A thousand starts with one request_id, on three replicas at once, are one
// recording; for different rooms, one of the rooms has it.
func replicasSameRequestID(t *testing.T) {
	r := newReplicas(t)
	teacher := r.join(t, "42", "teacher")
	starts := 1000
	if testing.Short() {
		starts = 100
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*apitest.Patience)
	defer cancel()
	type answer struct {
		out apitest.Outcome
		err error
	}
	answers := make(chan answer, starts)
	for i := range starts {
		go func() {
			out, err := insist(ctx, r.all[i%3], apitest.Call{Name: apitest.Start, Request: `{"room":"42","request_id":"r"}`})
			answers <- answer{out, err}
		}()
	}
	names := map[string]int{}
	for range starts {
		a := <-answers
		if a.err != nil || a.out.Code != codes.OK {
			t.Fatalf("a start ended in %+v, %v", a.out, a.err)
		}
		names[a.out.Recording(t).GetName()]++
	}
	if len(names) != 1 || teacher.Count(talkcloud.Published) != 1 {
		t.Errorf("there are %v, and %d classes began", names, teacher.Count(talkcloud.Published))
	}

	rooms := []string{"a", "b", "c"}
	var students []*apitest.Participant
	for _, room := range rooms {
		students = append(students, r.join(t, room, "student"))
	}
	var wg sync.WaitGroup
	outs := make([]apitest.Outcome, len(rooms))
	for i, room := range rooms {
		wg.Go(func() {
			outs[i], _ = insist(ctx, r.all[i], apitest.Call{Name: apitest.Start, Request: `{"room":"` + room + `","request_id":"x"}`})
		})
	}
	wg.Wait()
	ok, begun := 0, 0
	for i, out := range outs {
		begun += students[i].Count(talkcloud.Published)
		switch {
		case out.Code == codes.OK:
			ok++
		case out.Code != codes.AlreadyExists || out.Reason != "REQUEST_ID_REUSED":
			t.Errorf("room %s: %+v", rooms[i], out)
		}
	}
	if ok != 1 || begun != 1 {
		t.Errorf("one request_id for three rooms: %d started, %d classes began", ok, begun)
	}
}

// The replica that works a room is cut off from the database: another one takes over,
// in time, and sees what has happened since; the first one leaves the room.
func replicasCutOff(t *testing.T) {
	r := newReplicas(t)
	var recs []*classrecv1.Recording
	var teachers []*apitest.Participant
	for i := range 6 { // two rooms for each replica
		room := fmt.Sprintf("room-%d", i)
		teachers = append(teachers, r.join(t, room, "teacher"))
		recs = append(recs, start(t, r.all[i%3], room, 1))
	}
	all, _ := r.all[1].AwaitWatch(t, apitest.GRPC, "-")
	cut := time.Now()
	r.links[0].Cut()
	// One class ends while nobody of ours can write it down.
	teachers[0].End(t)
	ended := all.Events(t, 1)[0]
	took := time.Since(cut)
	if ended.GetRecording().GetName() != recs[0].GetName() || ended.GetAction() != classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE {
		t.Errorf("seen is %v", ended)
	}
	if took > 15*time.Second { // of a lease of two; `make chaos` measures it
		t.Errorf("taken over after %v", took)
	}
	t.Logf("taken over after %v", took.Round(10*time.Millisecond))
	if out := r.all[0].Call(t, apitest.GRPC, apitest.Call{Name: apitest.Get, Request: `{"name":"` + recs[1].GetName() + `"}`}); out.Code != codes.Unavailable || out.RetryAfter == 0 {
		t.Errorf("the one that is cut off answers %+v", out)
	}
	// The other class of that replica goes on, and is stopped by another.
	rec := retry(t, r.all[2], apitest.Call{Name: apitest.Stop, Request: `{"name":"` + recs[3].GetName() + `"}`})
	if rec.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED {
		t.Errorf("stopped as %v", rec)
	}
	r.links[0].Heal()
	retry(t, r.all[0], apitest.Call{Name: apitest.Stop, Request: `{"name":"` + recs[1].GetName() + `"}`})
	// Whoever is in a room now is there once.
	for i, teacher := range teachers {
		roomservertest.Poll(t, fmt.Sprintf("one of us at most in room %d", i), func() bool { return len(teacher.Present()) <= 1 })
	}
	for _, i := range []int{2, 4, 5} {
		rec := retry(t, r.all[0], apitest.Call{Name: apitest.Stop, Request: `{"name":"` + recs[i].GetName() + `"}`})
		if rec.GetName() != recs[i].GetName() || teachers[i].Count(talkcloud.Published) != 1 {
			t.Errorf("room %d: %v; %d classes began", i, rec, teachers[i].Count(talkcloud.Published))
		}
	}
}

// The primary is killed, and a standby that has got all (synchronous
// replication) is promoted: calls are UNAVAILABLE until then, nothing that was
// acknowledged is lost, and all goes on.
func replicasPromoted(t *testing.T) {
	primary := storetest.NewPostgres(t)
	standby := primary.Standby()
	primary.SQL("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
	primary.SQL("SELECT pg_reload_conf()")
	r := &replicas{platform: apitest.PlatformOnly(t)}
	for range 3 {
		r.all = append(r.all, apitest.New(t, apitest.Replica(t, r.platform, storetest.URLOf(primary, standby), leaseTTL)))
	}
	teacher := r.join(t, "42", "teacher")
	rec := start(t, r.all[0], "42", 1)
	w, _ := r.all[2].AwaitWatch(t, apitest.GRPC, "-")
	primary.Kill()
	roomservertest.Poll(t, "calls to be refused", func() bool {
		out := r.all[2].Call(t, apitest.GRPC, apitest.Call{Name: apitest.Get, Request: `{"name":"` + rec.GetName() + `"}`})
		if out.Code == codes.Unavailable && out.RetryAfter == 0 {
			t.Fatalf("refused without a word on when to try again: %+v", out)
		}
		return out.Code == codes.Unavailable
	})
	begun := time.Now()
	out := r.all[1].Call(t, apitest.REST, apitest.Call{Name: apitest.Start, Request: `{"room":"43","request_id":"late"}`})
	if out.Code != codes.Unavailable || out.RetryAfter == 0 || time.Since(begun) > 8*time.Second {
		t.Errorf("without the database, a start is answered %+v after %v", out, time.Since(begun))
	}
	teacher.End(t) // and nobody can write it down
	standby.Promote()
	promoted := time.Now()
	if ev := w.Events(t, 1)[0]; ev.GetRecording().GetName() != rec.GetName() || ev.GetAction() != classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE {
		t.Errorf("the watcher that stayed has %v", ev)
	}
	t.Logf("the end is told %v after the promotion", time.Since(promoted).Round(10*time.Millisecond))
	if got := retry(t, r.all[0], apitest.Call{Name: apitest.Get, Request: `{"name":"` + rec.GetName() + `"}`}); got.GetState() < stateProcessing {
		t.Errorf("it is %v", got)
	}
	retry(t, r.all[1], apitest.Call{Name: apitest.Start, Request: `{"room":"43","request_id":"late"}`})
	retry(t, r.all[0], apitest.Call{Name: apitest.Stop, Request: `{"room":"43"}`})
}
