// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/conformance"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// However odd the platform's list is, callers get what is understood of it, over
// both ways, and are told that there is something else.
func TestPlatform_OddLists(t *testing.T) {
	t.Parallel()
	platform := talkcloudtest.NewPlain(t)
	s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL))
	for _, tc := range conformance.Lists() {
		body(talkcloud.PathGetUserRecordList, tc.Body)(platform)
		for _, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
			out := s.Call(t, way, apitest.Call{Name: apitest.List, Request: `{"room":"room"}`})
			if out.Code != codes.OK {
				t.Errorf("%s, %s: %v %s", tc.Name, way, out.Code, out.Message)
				continue
			}
			list, urls := listOf(t, out), 0
			for _, r := range list.GetRecordings() {
				urls += len(r.GetUrls())
			}
			if urls != len(tc.Want) || (list.GetIncomplete() != nil) != tc.Odd {
				t.Errorf("%s, %s: %d URLs, want %d; incomplete: %v", tc.Name, way, urls, len(tc.Want), list.GetIncomplete())
			}
		}
	}
}
