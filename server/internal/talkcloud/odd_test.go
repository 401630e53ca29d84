// SPDX-License-Identifier: Apache-2.0

package talkcloud_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/classrec/classrec/server/internal/conformance"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// Of an odd answer, what is understood is taken; and it is said that there is
// something else.
func TestUserRecordList_Odd(t *testing.T) {
	t.Parallel()
	for _, tc := range conformance.Lists() {
		t.Run(tc.Name, func(t *testing.T) {
			t.Parallel()
			p := talkcloudtest.New(t)
			p.Answer(talkcloud.PathGetUserRecordList, talkcloudtest.Body(tc.Body))
			got, err := p.NewClient(t, nil).UserRecordList(within(t), talkcloud.RecordQuery{UserID: "u"})
			want := slices.Clone(tc.Want) // several cases may share one
			for i := range want {
				want[i] = strings.ReplaceAll(want[i], "BASE", p.Config().BaseURL)
			}
			if !slices.Equal(got, want) {
				t.Errorf("listed %q, want %q", got, want)
			}
			if (err != nil) != tc.Odd {
				t.Errorf("odd is %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "://") {
				t.Errorf("the error shows a URL: %v", err)
			}
		})
	}
}

// The beginning of a list that is too large is taken.
func TestUserRecordList_TooLarge(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.New(t)
	many := make([]string, 1000)
	for i := range many {
		many[i] = fmt.Sprintf("https://files.test/%d.mp4", i)
	}
	body, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	p.Answer(talkcloud.PathGetUserRecordList, talkcloudtest.Body(string(body)))
	p.Answer(talkcloud.PathGetRecordList, talkcloudtest.Body(`{"result":0,"recordlist":`+string(body)+`}`))
	c := p.NewClient(t, func(cfg *talkcloud.Config) { cfg.MaxBodyBytes, cfg.RichRecordList = 10_000, true })
	urls, err := c.UserRecordList(within(t), talkcloud.RecordQuery{Room: "7"})
	if err == nil || len(urls) < 300 || urls[0] != many[0] {
		t.Errorf("listed %d, %v", len(urls), err)
	}
	if _, err := c.RecordList(within(t), talkcloud.RecordListQuery{Room: "7"}); !errors.Is(err, talkcloud.ErrTooLarge) {
		t.Errorf("the error is %v", err)
	}
}

// The same of getrecordlist.
func TestRecordList_Odd(t *testing.T) {
	t.Parallel()
	for _, tc := range conformance.RichLists() {
		t.Run(tc.Name, func(t *testing.T) {
			t.Parallel()
			p := talkcloudtest.New(t)
			p.Answer(talkcloud.PathGetRecordList, talkcloudtest.Body(tc.Body))
			c := p.NewClient(t, func(cfg *talkcloud.Config) { cfg.RichRecordList = true })
			items, err := c.RecordList(within(t), talkcloud.RecordListQuery{Room: "7"})
			var got []string
			for _, item := range items {
				got = append(got, item.URLs()...)
			}
			if len(got)+len(tc.Want) > 0 && !reflect.DeepEqual(got, tc.Want) || (err != nil) != tc.Odd {
				t.Errorf("listed %q, %v, want %q", got, err, tc.Want)
			}
		})
	}
}

// FuzzRecordLists reads any answer: it ends, panics at nothing, and gives only
// absolute http and https URLs.
func FuzzRecordLists(f *testing.F) {
	for _, tc := range conformance.Lists() {
		f.Add([]byte(tc.Body))
	}
	c, err := talkcloud.New(talkcloud.Config{BaseURL: "https://platform.test", EnterpriseKey: "k", RichRecordList: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		urls, items, _ := c.ParseRecordLists(body)
		for _, item := range items {
			urls = append(urls, item.URLs()...)
		}
		for _, u := range urls {
			if !strings.HasPrefix(u, "http://") && !strings.HasPrefix(u, "https://") {
				t.Fatalf("gives %q", u)
			}
		}
	})
}
