// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// A platform whose echoes are late, doubled or missing, whose connections drop,
// and whose list is odd: what it has had of classes is what is recorded. Of each
// class there is one recording, with its file; there is no other, none is open at
// the end, and none is left in the room.
func TestRandom_ClassesOfAnOddPlatform(t *testing.T) {
	t.Parallel()
	rooms, classes := 16, 6
	if testing.Short() {
		rooms, classes = 6, 3
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	p := newOdd(t, seed)
	cfg := config()
	cfg.RichRecordList, cfg.SkipFileCheck = false, true
	cfg.StartTimeout, cfg.DoubtTime, cfg.StopDeadline, cfg.ProcessingTimeout = 2*time.Second, time.Second, time.Minute, 30*time.Second
	cfg.SettleTime, cfg.PollMax, cfg.Linger = 200*time.Millisecond, 100*time.Millisecond, 50*time.Millisecond
	st := storetest.New(t)
	in := room.Config{BackoffMin: 5 * time.Millisecond, BackoffMax: 20 * time.Millisecond, EchoTimeout: 150 * time.Millisecond}
	s := newLifeIn(t, st, p.NewClient(t, nil), in, cfg)

	var running sync.WaitGroup
	for i := range rooms {
		running.Go(func() { p.live(t, s, strconv.Itoa(i), classes, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	running.Wait()
	p.Script(talkcloudtest.Script{}) // what is unsure comes to rest
	for i := range rooms {
		p.check(t, s, st, strconv.Itoa(i))
	}
}

// oddPlatform is the platform of that test.
type oddPlatform struct {
	*talkcloudtest.Platform
	mu  sync.Mutex
	rnd *rand.Rand
}

func newOdd(t *testing.T, seed uint64) *oddPlatform {
	t.Helper()
	p := &oddPlatform{Platform: talkcloudtest.NewPlain(t), rnd: rand.New(rand.NewPCG(seed, 0xc1a55))}
	p.Script(talkcloudtest.Script{Echo: p.echo})
	p.Answer(talkcloud.PathGetUserRecordList, p.list)
	return p
}

func (p *oddPlatform) chance(of int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rnd.IntN(of) == 0
}

func (p *oddPlatform) within(d time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Duration(p.rnd.Int64N(int64(d)))
}

// echo is late, twice, or never there; what is never told is seen in the list.
func (p *oddPlatform) echo(roomID talkcloud.RoomID, _ string) []time.Duration {
	switch {
	case p.chance(6):
		return []time.Duration{p.within(400 * time.Millisecond)}
	case p.chance(6):
		return []time.Duration{0, p.within(300 * time.Millisecond)}
	case p.chance(10):
		time.AfterFunc(p.within(100*time.Millisecond), func() { p.Drop(roomID) })
		return nil
	}
	return []time.Duration{0}
}

// list answers getUserRecordlist in one of the ways of platforms. The file of a
// class is there once it has ended.
func (p *oddPlatform) list(w http.ResponseWriter, r *http.Request) {
	_, rest, _ := strings.Cut(r.URL.Path, "/serial/")
	roomID, rest, _ := strings.Cut(rest, "/")
	_, ts, _ := strings.Cut(rest, "recordts/")
	file := ""
	for _, class := range classesOf(p.History(talkcloud.RoomID(roomID))) {
		if strconv.FormatInt(class.begin, 10) == ts && class.end > 0 {
			file = fmt.Sprintf("https://files.test/%s/%s.mp4?signed=%d", roomID, ts, time.Now().UnixNano())
		}
	}
	p.mu.Lock()
	way := p.rnd.IntN(8)
	p.mu.Unlock()
	var answer any = []string{}
	switch {
	case way == 0:
		_, _ = w.Write([]byte("<html>502</html>"))
		return
	case way == 1:
		answer = map[string]any{"result": -1}
	case file == "":
	case way == 2:
		answer = []any{file, "rtmp://x/y", 7}
	case way == 3:
		answer = map[string]any{"0": strings.Replace(file, "files.test", "other.test:8443", 1)}
	case way == 4:
		answer = map[string]any{"result": "0", "recordlist": []any{map[string]any{"url": file}}}
	case way == 5:
		_, _ = w.Write([]byte("<br /><b>Notice</b>: x in /a[1].php<br />"))
		answer = []string{file}
	default:
		answer = []string{file, strings.Replace(file, "https:", "http:", 1)}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// class is one that the platform has had.
type class struct{ begin, end int64 }

// classesOf returns the classes of a room: from the first publish to the delete
// that ended it; what was published again meanwhile belongs to it.
func classesOf(history []talkcloudtest.Change) (classes []class) {
	open := false
	for _, c := range history {
		switch {
		case c.Message.Key() != talkcloud.MessageClassBegin:
		case c.Event == talkcloud.EventPubMsg && !open:
			classes, open = append(classes, class{begin: c.Message.TS.Unix()}), true
		case c.Event == talkcloud.EventDelMsg && open:
			classes[len(classes)-1].end, open = c.Message.TS.Unix(), false
		}
	}
	return classes
}

// live has classes in a room, one after the other: by calls, and by the teacher
// while the service watches.
func (p *oddPlatform) live(t *testing.T, s *life, roomID string, classes int, rnd *rand.Rand) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	watch, err := s.Watch(ctx, &classrecv1.WatchClassBeginRequest{Room: roomID}, nil) // keeps us there
	if err != nil {
		t.Errorf("watch: %v", err)
		return
	}
	defer watch.Close()
	for n := range classes {
		if rnd.IntN(3) > 0 {
			req := &classrecv1.StartRecordingRequest{Room: roomID, RequestId: fmt.Sprintf("%s-%d", roomID, n)}
			for ctx.Err() == nil {
				if _, err = s.Start(ctx, req); err == nil {
					break
				}
			}
			time.Sleep(time.Duration(rnd.IntN(50)) * time.Millisecond)
			if rnd.IntN(4) == 0 {
				p.Drop(talkcloud.RoomID(roomID))
			}
			for ctx.Err() == nil {
				if _, err := s.Stop(ctx, &classrecv1.StopRecordingRequest{Room: roomID}); err == nil {
					break
				}
			}
			continue
		}
		if len(p.Saved(talkcloud.RoomID(roomID))) > 0 {
			continue
		}
		m := talkcloud.ClassBegin{HasRecordType: true}.Message()
		m.FromID = "teacher"
		p.Publish(talkcloud.RoomID(roomID), m)
		time.Sleep(time.Second) // so that it is seen, however late its echo is
		p.Delete(talkcloud.RoomID(roomID), talkcloud.ClassEnd())
		time.Sleep(time.Duration(rnd.IntN(500)) * time.Millisecond)
	}
}

// check compares a room with what is recorded of it, once it has come to rest.
func (p *oddPlatform) check(t *testing.T, s *life, st *store.Store, roomID string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for ctx.Err() == nil && len(st.UnfinishedIn("default", roomID)) > 0 {
		time.Sleep(50 * time.Millisecond)
	}
	for _, e := range st.UnfinishedIn("default", roomID) {
		t.Errorf("room %s: open is %v", roomID, e.Record)
	}
	roomservertest.Poll(t, "the room to be without a class", func() bool { return len(p.Saved(talkcloud.RoomID(roomID))) == 0 })
	var want, got []int64
	for _, c := range classesOf(p.History(talkcloud.RoomID(roomID))) {
		want = append(want, c.begin)
	}
	all, _, _, _ := st.List(context.Background(), "default", store.Filter{Room: roomID}, store.Cursor{}, 1000)
	for _, e := range all {
		r := e.Record.GetRecording()
		got = append(got, r.GetRecordTime().GetSeconds())
		if r.GetState() != available || len(r.GetUrls()) == 0 {
			t.Errorf("room %s: %s is %v with %q: %s", roomID, r.GetName(), r.GetState(), r.GetUrls(), r.GetFailure().GetMessage())
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("room %s: classes began at %v, recorded are %v\n%s", roomID, want, got, describe(p.History(talkcloud.RoomID(roomID))))
	}
}

func describe(history []talkcloudtest.Change) string {
	var b strings.Builder
	for _, c := range history {
		fmt.Fprintf(&b, "%s %d by %q\n", c.Event, c.Message.TS.Unix(), c.Message.FromID)
	}
	return b.String()
}
