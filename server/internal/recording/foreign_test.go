// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/recording"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// recordList is a platform's record list that tells URLs and nothing else, by
// recordts: what it has of all times it tells only when asked for no time.
type recordList struct {
	*talkcloudtest.Platform
	urls atomic.Pointer[map[string][]string]
}

func newRecordList(t *testing.T) *recordList {
	t.Helper()
	l := &recordList{Platform: talkcloudtest.NewPlain(t)}
	l.list(nil)
	l.Answer(talkcloud.PathGetUserRecordList, func(w http.ResponseWriter, r *http.Request) {
		_, ts, one := strings.Cut(r.URL.Path, "/recordts/")
		all := []string{}
		for key, urls := range *l.urls.Load() {
			if !one || key == ts {
				all = append(all, urls...)
			}
		}
		slices.Sort(all)
		_ = json.NewEncoder(w).Encode(all)
	})
	return l
}

// list changes what is listed.
func (l *recordList) list(urls map[string][]string) { l.urls.Store(&urls) }

func (l *recordList) service(t *testing.T, cfg recording.Config) *life {
	t.Helper()
	cfg.RichRecordList = false
	cfg.SkipFileCheck = true // what these tests list is nowhere
	client := l.NewClient(t, func(c *talkcloud.Config) { c.EnterpriseKey = "a-key-of-the-test" })
	return newLife(t, storetest.New(t), client, cfg)
}

func mustList(t *testing.T, s *life, req *classrecv1.ListRecordingsRequest) []*classrecv1.Recording {
	t.Helper()
	page, err := s.List(testContext(t), req, recording.Rooms{})
	if err != nil || page.GetIncomplete() != nil {
		t.Fatalf("list: %v, %v", page.GetIncomplete(), err)
	}
	return page.GetRecordings()
}

// While the platform lists the files of a recording that is still looked for,
// they are not listed as somebody else's too.
func TestList_FilesJustListed(t *testing.T) {
	t.Parallel()
	platform := newRecordList(t)
	cfg := config()
	cfg.PollMin = patience // nobody looks for the files in this test
	s := platform.service(t, cfg)
	r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42", UserId: "recorder"})
	mustStop(t, s, &classrecv1.StopRecordingRequest{Name: r.GetName()})
	_, ts, _ := strings.Cut(r.GetName(), "/recordings/")
	platform.list(map[string][]string{ts: {"https://files.example/a.mkv", "https://files.example/b.mkv"}})

	for _, req := range []*classrecv1.ListRecordingsRequest{
		{Room: "42"}, {UserId: "recorder"}, {Room: "42", RecordTime: r.GetRecordTime()},
	} {
		if page := mustList(t, s, req); len(page) != 1 || page[0].GetName() != r.GetName() {
			t.Errorf("%v: listed %v", req, page)
		}
	}
	// What is somebody else's is listed all the same.
	platform.list(map[string][]string{ts: {"https://files.example/a.mkv"}, "1700000000": {"https://files.example/c.mkv"}})
	page := mustList(t, s, &classrecv1.ListRecordingsRequest{Room: "42"})
	if len(page) != 2 || page[1].GetName() != "" || !slices.Equal(page[1].GetUrls(), []string{"https://files.example/c.mkv"}) {
		t.Errorf("listed %v", page)
	}
}

// What the platform lists of one room and time is one recording, in a list as
// by its name; and no name is in a list twice.
func TestList_ForeignOfOneTime(t *testing.T) {
	t.Parallel()
	platform := newRecordList(t)
	s := platform.service(t, config())
	platform.list(map[string][]string{"1700000000": {"https://files.example/a.mkv", "https://files.example/b.mkv"}})
	req := &classrecv1.ListRecordingsRequest{Room: "42", RecordTime: &timestamppb.Timestamp{Seconds: 1700000000}}
	page := mustList(t, s, req)
	if len(page) != 1 {
		t.Fatalf("listed %v", page)
	}
	got, err := s.Get(testContext(t), page[0].GetName())
	if err != nil || !slices.Equal(got.GetUrls(), page[0].GetUrls()) || len(got.GetUrls()) != 2 {
		t.Errorf("listed as %v, by its name it is %v, %v", page[0], got, err)
	}

	// Files that come when a recording of that time is final are its own.
	r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42", UserId: "recorder"})
	mustStop(t, s, &classrecv1.StopRecordingRequest{Name: r.GetName()})
	_, ts, _ := strings.Cut(r.GetName(), "/recordings/")
	platform.list(map[string][]string{ts: {"https://files.example/c.mkv"}})
	waitState(t, s, r.GetName(), available)
	platform.list(map[string][]string{ts: {"https://files.example/c.mkv", "https://files.example/late.mkv"}})
	page = mustList(t, s, &classrecv1.ListRecordingsRequest{Room: "42", RecordTime: r.GetRecordTime()})
	if len(page) != 1 || page[0].GetName() != r.GetName() || !slices.Equal(page[0].GetUrls(), []string{"https://files.example/c.mkv", "https://files.example/late.mkv"}) {
		t.Errorf("listed %v", page)
	}
}
