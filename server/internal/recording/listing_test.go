// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/clock"
	"github.com/classrec/classrec/server/internal/conformance"
	"github.com/classrec/classrec/server/internal/recording"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// richPlatform has a getrecordlist that keeps to starttime and endtime, and
// answers no more than it is allowed to at once.
type richPlatform struct {
	*talkcloudtest.Platform
	items   atomic.Pointer[[]map[string]any] // with starttime as int64
	batches atomic.Bool                      // it has batchGetRecord
	asked   atomic.Int64
}

func newRich(t *testing.T) *richPlatform {
	t.Helper()
	p := &richPlatform{Platform: talkcloudtest.NewPlain(t)}
	p.list()
	p.Answer(talkcloud.PathGetRecordList, func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		_ = json.NewEncoder(w).Encode(map[string]any{"result": 0, "recordlist": p.within(r)})
	})
	p.Answer(talkcloud.PathBatchGetRecord, func(w http.ResponseWriter, r *http.Request) {
		if !p.batches.Load() {
			_, _ = w.Write([]byte(`{"result":-1,"msg":"no such call"}`))
			return
		}
		all := p.within(r)
		page, _ := strconv.Atoi(r.PostForm.Get("page"))
		size, _ := strconv.Atoi(r.PostForm.Get("numberPage"))
		from := min((page-1)*size, len(all))
		_ = json.NewEncoder(w).Encode(map[string]any{"result": 0, "total": len(all), "recordlist": all[from:min(from+size, len(all))]})
	})
	return p
}

func (p *richPlatform) list(items ...map[string]any) { p.items.Store(&items) }

func (p *richPlatform) within(r *http.Request) []map[string]any {
	from, _ := strconv.ParseInt(r.PostForm.Get("starttime"), 10, 64)
	to, err := strconv.ParseInt(r.PostForm.Get("endtime"), 10, 64)
	found := []map[string]any{}
	for _, item := range *p.items.Load() {
		if at, _ := item["starttime"].(int64); at >= from && (err != nil || at <= to) {
			found = append(found, item)
		}
	}
	return found
}

func (p *richPlatform) service(t *testing.T, change func(*recording.Config), client func(*talkcloud.Config)) *life {
	t.Helper()
	cfg := config()
	cfg.SkipFileCheck = true
	cfg.SettleTime = 300 * time.Millisecond
	if change != nil {
		change(&cfg)
	}
	c := p.NewClient(t, func(c *talkcloud.Config) {
		c.RichRecordList = true
		if client != nil {
			client(c)
		}
	})
	return newLife(t, storetest.New(t), c, cfg)
}

// A platform's entry of a class that is over counts as all of it only when it has
// stayed the same, and not while it names no file.
func TestFiles_RichSettles(t *testing.T) {
	t.Parallel()
	p := newRich(t)
	s := p.service(t, nil, nil)
	r := record(t, s)
	ts := r.GetRecordTime().GetSeconds()
	p.list(map[string]any{"starttime": ts, "recordid": "1"}) // mentioned
	asked := p.asked.Load()
	roomservertest.Poll(t, "the list to be asked", func() bool { return p.asked.Load() > asked+3 })
	if r, err := s.Get(testContext(t), r.GetName()); err != nil || r.GetState() != processing {
		t.Fatalf("with a mention, it is %v, %v", r, err)
	}
	p.list(map[string]any{"starttime": ts, "recordid": "1", "playpath": "https://files.test/a.mp4"})
	asked = p.asked.Load()
	roomservertest.Poll(t, "the list to be asked", func() bool { return p.asked.Load() > asked })
	p.list(map[string]any{"starttime": ts, "recordid": "1", "playpath": "https://files.test/a.mp4", "playpath_m4a": "https://files.test/a.m4a"})
	if r = waitState(t, s, r.GetName(), available); len(r.GetUrls()) != 2 {
		t.Errorf("available with %q", r.GetUrls())
	}
	for _, form := range p.Forms(talkcloud.PathGetRecordList) {
		if form.Get("starttime") == "" || form.Get("endtime") == "" {
			t.Fatalf("asked for all times: %v", form)
		}
	}
}

// URLs that are signed anew in each answer are those of the same files: the
// recording becomes available, with few calls, and is listed once.
func TestFiles_RotatingURLs(t *testing.T) {
	t.Parallel()
	platform := newLister(t)
	var n atomic.Int64
	platform.Answer(talkcloud.PathGetUserRecordList, func(w http.ResponseWriter, _ *http.Request) {
		sign := n.Add(1)
		_ = json.NewEncoder(w).Encode([]string{
			fmt.Sprintf("https://files.test/a.mp4?sig=%d", sign), fmt.Sprintf("https://files.test/get?id=1&sig=%d", sign), fmt.Sprintf("https://files.test/get?id=2&sig=%d", sign),
		})
	})
	s := platform.service(t, func(cfg *recording.Config) { cfg.SkipFileCheck, cfg.SettleTime = true, time.Second })
	r := waitState(t, s, record(t, s).GetName(), available)
	if len(r.GetUrls()) != 3 {
		t.Errorf("available with %q", r.GetUrls())
	}
	if calls := n.Load(); calls > 60 { // every 50 ms at most
		t.Errorf("the list was asked %d times", calls)
	}
	page := mustList(t, s, &classrecv1.ListRecordingsRequest{Room: "42", RecordTime: r.GetRecordTime()})
	if len(page) != 1 || len(page[0].GetUrls()) != 3 {
		t.Errorf("listed %v", page)
	}
	if page = mustList(t, s, &classrecv1.ListRecordingsRequest{Room: "42"}); len(page) != 1 {
		t.Errorf("listed %v", page)
	}
}

// A file under another host, port or scheme is the same file.
func TestFiles_AnotherHost(t *testing.T) {
	t.Parallel()
	platform := newRecordList(t)
	s := platform.service(t, config())
	r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
	mustStop(t, s, &classrecv1.StopRecordingRequest{Name: r.GetName()})
	_, ts, _ := strings.Cut(r.GetName(), "/recordings/")
	platform.list(map[string][]string{ts: {"http://files.example/a.mkv", "https://files.example/a.mkv"}})
	if r = waitState(t, s, r.GetName(), available); !slices.Equal(r.GetUrls(), []string{"https://files.example/a.mkv"}) {
		t.Errorf("available with %q", r.GetUrls())
	}
	for _, moved := range []string{"http://files.example/a.mkv", "https://other.example:8443/a.mkv", "https://files.example/a.mkv?x=1"} {
		platform.list(map[string][]string{ts: {moved}})
		for _, req := range []*classrecv1.ListRecordingsRequest{{Room: "42"}, {Room: "42", RecordTime: r.GetRecordTime()}} {
			if page := mustList(t, s, req); len(page) != 1 {
				t.Errorf("%s: listed %v", moved, page)
			}
		}
	}
}

// Two classes of one room that begin in one second share no file, and none is
// lost.
func TestFiles_TwoClassesInOneSecond(t *testing.T) {
	t.Parallel()
	for _, rich := range []bool{true, false} {
		t.Run(map[bool]string{true: "rich list", false: "URLs"}[rich], func(t *testing.T) {
			t.Parallel()
			p := newRich(t)
			s := p.service(t, func(cfg *recording.Config) { cfg.ProcessingTimeout = 3 * time.Second; cfg.RichRecordList = rich }, nil)
			watch := follow(t, s, &classrecv1.WatchClassBeginRequest{Room: "42"})
			nextSynced(t, watch)
			const ts = 1795375600
			var names []string
			for i := range 2 {
				m := talkcloud.ClassBegin{}.Message()
				m.FromID, m.TS, m.Seq = "teacher", ts, int64(100+2*i)
				p.Send("42", talkcloud.EventPubMsg, m)
				names = append(names, nextEvent(t, watch).GetRecording().GetName())
				m.Seq++
				p.Send("42", talkcloud.EventDelMsg, m)
				nextEvent(t, watch)
			}
			p.list(map[string]any{"starttime": int64(ts), "recordid": "1", "playpath": "https://files.test/a.mp4"},
				map[string]any{"starttime": int64(ts), "recordid": "2", "playpath": "https://files.test/b.mp4"})
			p.Answer(talkcloud.PathGetUserRecordList, talkcloudtest.Body(`["https://files.test/a.mp4","https://files.test/b.mp4"]`))
			var urls []string
			for _, name := range names {
				var r *classrecv1.Recording
				roomservertest.Poll(t, name+" to be over", func() bool {
					var err error
					r, err = s.Get(testContext(t), name)
					return err == nil && r.GetState() > processing
				})
				urls = append(urls, r.GetUrls()...)
				if rich && len(r.GetUrls()) != 1 {
					t.Errorf("%s has %q", name, r.GetUrls())
				}
			}
			slices.Sort(urls)
			if !slices.Equal(urls, []string{"https://files.test/a.mp4", "https://files.test/b.mp4"}) {
				t.Errorf("together they have %q", urls)
			}
		})
	}
}

// A class that was begun again very often costs no more calls at a time.
func TestFiles_ManyParts(t *testing.T) {
	t.Parallel()
	platform := newLister(t)
	s := platform.service(t, func(cfg *recording.Config) { cfg.PollMin, cfg.PollMax = time.Second, time.Minute })
	watch := follow(t, s, &classrecv1.WatchClassBeginRequest{Room: "42"})
	nextSynced(t, watch)
	m := talkcloud.ClassBegin{}.Message()
	m.FromID = "teacher"
	for range 100 {
		platform.Publish("42", m)
		nextEvent(t, watch)
	}
	platform.Delete("42", talkcloud.ClassEnd())
	nextEvent(t, watch)
	time.Sleep(500 * time.Millisecond) // within which it looks once
	if n := platform.asked.Load(); n > 20 {
		t.Errorf("the list was asked %d times", n)
	}
}

// A file that is listed when the recording is available already is taken into it,
// without anybody asking for a list.
func TestFiles_Late(t *testing.T) {
	t.Parallel()
	p := newRich(t)
	now := new(clock.Clock)
	s := p.service(t, func(cfg *recording.Config) { cfg.LateEvery, cfg.Clock = 20*time.Millisecond, now }, nil)
	r := record(t, s)
	entry := map[string]any{"starttime": r.GetRecordTime().GetSeconds(), "playpath": "https://files.test/a.mp4"}
	p.list(entry)
	waitState(t, s, r.GetName(), available)
	late := maps.Clone(entry)
	late["playpath"], late["playpath_m4a"] = "https://files.test/a.mp4?signed=anew", "https://files.test/a.m4a"
	p.list(late)
	roomservertest.Poll(t, "the late file to be taken in", func() bool {
		now.Advance(time.Minute)
		r, err := s.Get(testContext(t), r.GetName())
		return err == nil && slices.Equal(r.GetUrls(), []string{"https://files.test/a.mp4?signed=anew", "https://files.test/a.m4a"})
	})
}

// However odd the answer is, a list is not refused: it has what is understood,
// and says that there is something else. A recording is available with what is
// understood of its files.
func TestList_Odd(t *testing.T) {
	t.Parallel()
	platform := newRecordList(t)
	s := platform.service(t, config())
	for _, tc := range conformance.Lists() {
		platform.Answer(talkcloud.PathGetUserRecordList, talkcloudtest.Body(tc.Body))
		for _, req := range []*classrecv1.ListRecordingsRequest{
			{Room: "7"}, {UserId: "u"}, {Room: "7", RecordTime: &timestamppb.Timestamp{Seconds: 1700000000}},
		} {
			page, err := s.List(testContext(t), req, recording.Rooms{})
			if err != nil {
				t.Errorf("%s: %v", tc.Name, err)
				continue
			}
			n := 0
			for _, r := range page.GetRecordings() {
				n += len(r.GetUrls())
			}
			if n != len(tc.Want) || (page.GetIncomplete() != nil) != tc.Odd {
				t.Errorf("%s, %v: %d URLs, want %d; incomplete: %v", tc.Name, req, n, len(tc.Want), page.GetIncomplete())
			}
		}
	}
}

// A recording with a good file beside an odd entry is available, and says so.
func TestFiles_BesideAnOddEntry(t *testing.T) {
	t.Parallel()
	platform := newRecordList(t)
	s := platform.service(t, config())
	platform.Answer(talkcloud.PathGetUserRecordList, talkcloudtest.Body(`["https://files.test/a.mp4","rtmp://x/y"]`))
	r := waitState(t, s, record(t, s).GetName(), available)
	if len(r.GetUrls()) != 1 || len(r.GetWarnings()) != 1 || !strings.Contains(r.GetWarnings()[0], "1 of 2") {
		t.Errorf("it is %v", r)
	}
}

// A room with very many recordings is listed page by page, without asking for all
// of them, and completely.
func TestList_LongHistory(t *testing.T) {
	t.Parallel()
	for _, batches := range []bool{false, true} {
		t.Run(fmt.Sprintf("batchGetRecord %t", batches), func(t *testing.T) {
			t.Parallel()
			p := newRich(t)
			p.batches.Store(batches)
			const all = 3000
			items := make([]map[string]any, all)
			now := time.Now().Unix()
			for i := range items {
				items[i] = map[string]any{"starttime": now - int64(i)*3600, "recordid": strconv.Itoa(i), "playpath": fmt.Sprintf("https://files.test/%d.mp4", i)}
			}
			p.list(items...)
			s := p.service(t, nil, func(c *talkcloud.Config) { c.MaxBodyBytes = 20_000 })
			req := &classrecv1.ListRecordingsRequest{Room: "42", PageSize: 1000}
			seen := map[string]bool{}
			for pages := 0; ; pages++ {
				page, err := s.List(testContext(t), req, recording.Rooms{})
				if err != nil || page.GetIncomplete() != nil || pages > 20 {
					t.Fatalf("page %d: %v, %v", pages, page.GetIncomplete(), err)
				}
				for _, r := range page.GetRecordings() {
					if seen[r.GetName()] {
						t.Fatalf("%s is listed twice", r.GetName())
					}
					seen[r.GetName()] = true
				}
				if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
					break
				}
			}
			if len(seen) != all {
				t.Errorf("listed %d of %d", len(seen), all)
			}
		})
	}
}

// A page ends at 3 MiB.
func TestList_PageBytes(t *testing.T) {
	t.Parallel()
	p := newRich(t)
	items := make([]map[string]any, 900)
	now := time.Now().Unix()
	for i := range items {
		items[i] = map[string]any{"starttime": now - int64(i), "playpath": fmt.Sprintf("https://files.test/%d/%s.mp4", i, strings.Repeat("x", 4000))}
	}
	p.list(items...)
	s := p.service(t, nil, nil)
	req := &classrecv1.ListRecordingsRequest{Room: "42", PageSize: 1000}
	n := 0
	for range 10 {
		page, err := s.List(testContext(t), req, recording.Rooms{})
		if err != nil || page.GetIncomplete() != nil {
			t.Fatalf("%v, %v", page.GetIncomplete(), err)
		}
		if size := proto.Size(page); size > 3<<20+1000 {
			t.Errorf("a page has %d bytes", size)
		}
		n += len(page.GetRecordings())
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	if n != len(items) {
		t.Errorf("listed %d of %d", n, len(items))
	}
}
