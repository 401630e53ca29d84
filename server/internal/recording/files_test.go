// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/recording"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/service"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// lister is a platform that lists the same URLs for every recording, and
// serves what is said to be there.
type lister struct {
	*talkcloudtest.Platform
	asked atomic.Int64 // how often for the list
}

func newLister(t *testing.T, urls ...string) *lister {
	t.Helper()
	l := &lister{Platform: talkcloudtest.NewPlain(t)}
	for i, u := range urls {
		if strings.HasPrefix(u, "/") {
			urls[i] = l.Config().BaseURL + u
		}
	}
	l.Answer(talkcloud.PathGetUserRecordList, func(w http.ResponseWriter, _ *http.Request) {
		l.asked.Add(1)
		_ = json.NewEncoder(w).Encode(urls)
	})
	return l
}

func (l *lister) service(t *testing.T, change func(*recording.Config)) *life {
	t.Helper()
	cfg := config()
	cfg.RichRecordList = false
	cfg.PollMax = 50 * time.Millisecond
	cfg.ProcessingTimeout = patience
	cfg.Status = service.Status
	if change != nil {
		change(&cfg)
	}
	client := l.NewClient(t, func(c *talkcloud.Config) { c.RequestTimeout = 300 * time.Millisecond })
	return newLife(t, storetest.New(t), client, cfg)
}

// soon lets the time for the files pass quickly.
func soon(cfg *recording.Config) { cfg.ProcessingTimeout = time.Second }

// record makes a recording of room 42 that is over.
func record(t *testing.T, s *life) *classrecv1.Recording {
	t.Helper()
	r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
	return mustStop(t, s, &classrecv1.StopRecordingRequest{Name: r.GetName()})
}

// served answers with a file.
func served(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "a.mkv", time.Unix(1511860322, 0), strings.NewReader("media"))
}

// after answers with a file from the n-th request on, before that with 404.
func after(n int64) http.HandlerFunc {
	var count atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		if count.Add(1) < n {
			http.NotFound(w, r)
			return
		}
		served(w, r)
	}
}

// wantFailure fails unless the recording is FAILED for a reason, with its URLs
// and without them in the text.
func wantFailure(t *testing.T, r *classrecv1.Recording, reason, says string, urls int) {
	t.Helper()
	var got string
	for _, detail := range r.GetFailure().GetDetails() {
		info := new(errdetails.ErrorInfo)
		if detail.UnmarshalTo(info) == nil {
			got = info.GetReason()
		}
	}
	if got != reason || !strings.Contains(r.GetFailure().GetMessage(), says) {
		t.Errorf("failed for %s: %s; want %s: …%s…", got, r.GetFailure().GetMessage(), reason, says)
	}
	if len(r.GetUrls()) != urls || len(r.GetFiles()) != urls {
		t.Errorf("%d URLs and %d files are left, want %d", len(r.GetUrls()), len(r.GetFiles()), urls)
	}
	for _, u := range r.GetUrls() {
		if _, path, _ := strings.Cut(u, "://"); strings.Contains(r.GetFailure().GetMessage(), path[strings.Index(path, "/"):]) {
			t.Errorf("the failure shows a URL: %s", r.GetFailure().GetMessage())
		}
	}
}

// What is listed too early is waited for, until all of it can be fetched.
func TestFiles_ListedBeforeTheyAreThere(t *testing.T) {
	t.Parallel()
	platform := newLister(t, "/files/a.mkv", "/files/b.mkv", "/files/c.mkv")
	platform.Answer("/files/a.mkv", served)
	platform.Answer("/files/b.mkv", after(3))
	platform.Answer("/files/c.mkv", after(5))
	s := platform.service(t, nil)
	r := record(t, s)
	if r = waitState(t, s, r.GetName(), available); len(r.GetUrls()) != 3 {
		t.Errorf("available with %d files", len(r.GetUrls()))
	}
	missing := 0
	for _, path := range platform.Paths() {
		if path == "/files/c.mkv" {
			missing++
		}
	}
	if missing < 5 {
		t.Errorf("the last file was asked for %d times", missing)
	}
}

// A server of files that refuses HEAD is asked by GET.
func TestFiles_HeadRefused(t *testing.T) {
	t.Parallel()
	platform := newLister(t, "/files/a.mkv")
	platform.Answer("/files/a.mkv", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		served(w, r)
	})
	s := platform.service(t, nil)
	waitState(t, s, record(t, s).GetName(), available)
}

// What cannot be fetched in time is FAILED, says why, and keeps what is listed.
func TestFiles_NotFetchable(t *testing.T) {
	t.Parallel()
	unknown := httptest.NewUnstartedServer(http.HandlerFunc(served))
	unknown.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of handshakes that fail
	unknown.StartTLS()
	t.Cleanup(unknown.Close)
	for name, tc := range map[string]struct {
		urls   []string
		answer http.HandlerFunc // of /files/a.mkv
		says   string
	}{
		"never there":         {[]string{"/files/a.mkv"}, http.NotFound, "file 1 of 1: check a file: the server of the file answers HTTP status 404"},
		"one of several":      {[]string{"/files/b.mkv", "/files/a.mkv", "/files/b.mkv?2"}, http.NotFound, "file 2 of 3"},
		"forbidden":           {[]string{"/files/a.mkv"}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, "403"},
		"empty":               {[]string{"/files/a.mkv"}, func(http.ResponseWriter, *http.Request) {}, "the file is empty"},
		"slow":                {[]string{"/files/a.mkv"}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer within 300ms"},
		"unknown certificate": {[]string{unknown.URL + "/files/a.mkv"}, nil, "certificate"},
		"nobody there":        {[]string{"http://" + talkcloudtest.Refusing(t) + "/files/a.mkv"}, nil, "not reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			platform := newLister(t, tc.urls...)
			platform.Answer("/files/b.mkv", served)
			platform.Answer("/files/a.mkv", tc.answer)
			s := platform.service(t, soon)
			r := record(t, s)
			wantFailure(t, waitState(t, s, r.GetName(), failed), "FILES_NOT_FETCHABLE", tc.says, len(tc.urls))
			// They are this recording's: nobody else's, in a list.
			if page := mustList(t, s, &classrecv1.ListRecordingsRequest{Room: "42"}); len(page) != 1 {
				t.Errorf("listed %v", page)
			}
		})
	}
}

// A list that has not settled when the time is up is taken as it is, if it can
// be fetched.
func TestFiles_NotSettled(t *testing.T) {
	t.Parallel()
	unsettled := func(cfg *recording.Config) {
		soon(cfg)
		cfg.SettleTime = patience
	}
	platform := newLister(t, "/files/a.mkv")
	platform.Answer("/files/a.mkv", served)
	s := platform.service(t, unsettled)
	if r := waitState(t, s, record(t, s).GetName(), available); len(r.GetUrls()) != 1 {
		t.Errorf("available with %d files", len(r.GetUrls()))
	}
	platform = newLister(t, "/files/a.mkv")
	platform.Answer("/files/a.mkv", http.NotFound)
	s = platform.service(t, unsettled)
	wantFailure(t, waitState(t, s, record(t, s).GetName(), failed), "FILES_NOT_FETCHABLE", "404", 1)
}

// A class that was begun again has files in several parts. That the list of one
// part stays the same does not tell that there is no other.
func TestFiles_OfEveryPart(t *testing.T) {
	t.Parallel()
	for _, all := range []bool{true, false} {
		t.Run(fmt.Sprintf("all listed %t", all), func(t *testing.T) {
			t.Parallel()
			platform := &lister{Platform: talkcloudtest.NewPlain(t)}
			var first, second atomic.Pointer[string] // recordts of the parts that are listed
			platform.Answer(talkcloud.PathGetUserRecordList, func(w http.ResponseWriter, r *http.Request) {
				platform.asked.Add(1)
				urls := []string{}
				for _, ts := range []*string{first.Load(), second.Load()} {
					if ts != nil && strings.Contains(r.URL.Path+"/", "/recordts/"+*ts+"/") {
						urls = append(urls, platform.Config().BaseURL+"/files/"+*ts)
					}
				}
				_ = json.NewEncoder(w).Encode(urls)
			})
			s := platform.service(t, func(cfg *recording.Config) {
				cfg.SettleTime = time.Millisecond
				if !all {
					cfg.ProcessingTimeout = 2 * time.Second
				}
			})
			started := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
			again := talkcloud.ClassBegin{}.Message()
			again.FromID = "teacher"
			watch := follow(t, s, &classrecv1.WatchClassBeginRequest{Room: "42"})
			for watch().GetSynced() == nil {
			}
			begun := strconv.FormatInt(int64(platform.Publish("42", again).TS), 10)
			nextEvent(t, watch)
			name := mustStop(t, s, &classrecv1.StopRecordingRequest{Room: "42"}).GetName()
			ts := strconv.FormatInt(started.GetRecordTime().GetSeconds(), 10)
			platform.Answer("/files/"+ts, served)
			platform.Answer("/files/"+begun, served)
			first.Store(&ts)
			if asked := platform.asked.Load(); all {
				roomservertest.Poll(t, "the list to stay as it is", func() bool { return platform.asked.Load() > asked+10 })
				if r, err := s.Get(testContext(t), name); err != nil || r.GetState() != classrecv1.RecordingState_RECORDING_STATE_PROCESSING {
					t.Errorf("with one part listed, it is %v, %v", r, err)
				}
				second.Store(&begun)
			}
			r := waitState(t, s, name, available)
			if want := map[bool]int{true: 2, false: 1}[all]; len(r.GetUrls()) != want {
				t.Errorf("available with %v", r.GetUrls())
			}
		})
	}
}

func TestFiles_NotListed(t *testing.T) {
	t.Parallel()
	platform := newLister(t)
	s := platform.service(t, soon)
	wantFailure(t, waitState(t, s, record(t, s).GetName(), failed), "FILES_NOT_LISTED", "in time", 0)
	if n := platform.asked.Load(); n < 3 {
		t.Errorf("the list was asked for %d times", n)
	}
}

// The pauses between looks grow, so that a platform which takes long is not asked
// all the time.
func TestFiles_Backoff(t *testing.T) {
	t.Parallel()
	platform := newLister(t)
	s := platform.service(t, func(cfg *recording.Config) {
		cfg.PollMin, cfg.PollMax, cfg.ProcessingTimeout = 20*time.Millisecond, time.Hour, 2*time.Second
	})
	waitState(t, s, record(t, s).GetName(), failed)
	// At 0, 20, 60, 140, 300, 620, 1260 and 2000 ms, each by room and by user.
	if n := platform.asked.Load(); n > 2*8 {
		t.Errorf("the list was asked for %d times", n)
	}
}

// What has failed can be stopped as all else: it is returned as it is.
func TestStop_Failed(t *testing.T) {
	t.Parallel()
	platform := newLister(t, "/files/a.mkv")
	s := platform.service(t, func(cfg *recording.Config) { cfg.ProcessingTimeout = time.Millisecond })
	r := waitState(t, s, record(t, s).GetName(), failed)
	for _, req := range []*classrecv1.StopRecordingRequest{{Name: r.GetName()}, {Room: "42"}} {
		if got := mustStop(t, s, req); !proto.Equal(got, r) {
			t.Errorf("stopped as %v, was %v", got, r)
		}
	}
}

func TestFiles_SkipCheck(t *testing.T) {
	t.Parallel()
	platform := newLister(t, "/files/a.mkv")
	platform.Answer("/files/a.mkv", http.NotFound)
	s := platform.service(t, func(cfg *recording.Config) { cfg.SkipFileCheck = true })
	waitState(t, s, record(t, s).GetName(), available)
	if slices.Contains(platform.Paths(), "/files/a.mkv") {
		t.Error("the file was asked for")
	}
}

// The check of many files is bounded: not all of them at once.
func TestFiles_BoundedChecks(t *testing.T) {
	t.Parallel()
	urls := make([]string, 40)
	for i := range urls {
		urls[i] = "https://files.example/" + strings.Repeat("x", i)
	}
	asked, goOn := make(chan struct{}, len(urls)), make(chan struct{})
	platform := newLister(t, urls...)
	s := platform.service(t, func(cfg *recording.Config) {
		cfg.Fetchable = func(ctx context.Context, _ string) error {
			asked <- struct{}{}
			select {
			case <-goOn:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	r := record(t, s)
	const atOnce = 8
	for range atOnce {
		<-asked
	}
	mustList(t, s, &classrecv1.ListRecordingsRequest{Room: "42"}) // which takes long enough for others to be asked for
	for left := len(urls) - atOnce; left > 0; left-- {            // for each that is done, one more is asked for
		if len(asked) > 0 {
			t.Fatalf("more than %d files are asked for at once", atOnce)
		}
		goOn <- struct{}{}
		<-asked
	}
	close(goOn)
	if r = waitState(t, s, r.GetName(), available); len(r.GetUrls()) != len(urls) {
		t.Errorf("available with %d files", len(r.GetUrls()))
	}
	roomservertest.Poll(t, "the worker to end", func() bool { return s.Rooms() == 0 })
}

// A recording that is finished between the two lists is first seen in the one that tells only its URLs; what the other
// tells of them a moment later is taken all the same.
func TestFiles_ToldMoreLater(t *testing.T) {
	t.Parallel()
	platform := newLister(t, "/files/a.mkv")
	platform.Answer("/files/a.mkv", served)
	var name atomic.Pointer[string] // of the recording, once it is over
	platform.Answer(talkcloud.PathGetRecordList, func(w http.ResponseWriter, _ *http.Request) {
		items := []map[string]any{}
		if name.Load() != nil && platform.asked.Load() > 0 {
			_, ts, _ := strings.Cut(*name.Load(), "/recordings/")
			items = append(items, map[string]any{"starttime": ts, "files": []map[string]any{
				{"url": platform.Config().BaseURL + "/files/a.mkv", "userid": "teacher", "size": 5},
			}})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"result": 0, "recordlist": items})
	})
	cfg := config()
	cfg.SettleTime = patience
	client := platform.NewClient(t, func(c *talkcloud.Config) { c.RichRecordList = true })
	s := newLife(t, storetest.New(t), client, cfg)
	r := record(t, s)
	asked := r.GetName()
	name.Store(&asked)
	r = waitState(t, s, r.GetName(), available)
	if len(r.GetFiles()) != 1 || r.GetFiles()[0].GetUserId() != "teacher" || r.GetFiles()[0].GetSize() != 5 {
		t.Errorf("the files are %v", r.GetFiles())
	}
}
