// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"

	"github.com/classrec/classrec/server/internal/apitest"
)

// testCase is one call and what it is to end in, over either way.
type testCase struct {
	name string
	// given prepares the room, and returns what {key} in the texts below stands
	// for. {room} is a room that no other case has.
	given   func(t *testing.T, s *apitest.Server, room string) map[string]string
	call    string
	request string // JSON; over REST its fields go where the annotations say

	code     codes.Code
	reason   string
	fields   []string
	metadata map[string]string
	retry    bool
	// wording: REST refuses in words of its own before the call is made.
	wording bool

	// response is a subset of the answer: "*" is anything but empty, null is
	// absent.
	response string
	// then looks at what has come of it.
	then func(t *testing.T, s *apitest.Server, room string, out apitest.Outcome)
}

// rooms numbers the rooms of the table.
type rooms struct{ n atomic.Int64 }

func (r *rooms) next() string { return "room-" + strconv.FormatInt(1000+r.n.Add(1), 10) }

func runCases(t *testing.T, s *apitest.Server, cases []testCase) {
	t.Helper()
	var numbers rooms
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var outcomes []apitest.Outcome
			for _, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
				room := numbers.next()
				vars := map[string]string{"room": room}
				if tc.given != nil {
					maps.Copy(vars, tc.given(t, s, room))
				}
				out := s.Call(t, way, apitest.Call{Name: tc.call, Request: fill(tc.request, vars)})
				tc.check(t, way, vars, out)
				if tc.then != nil {
					tc.then(t, s, room, out)
				}
				outcomes = append(outcomes, tc.normal(out, vars))
			}
			if !reflect.DeepEqual(outcomes[0], outcomes[1]) {
				t.Errorf("the two ways differ:\ngRPC %+v\nREST %+v", outcomes[0], outcomes[1])
			}
		})
	}
}

func fill(text string, vars map[string]string) string {
	for key, value := range vars {
		text = strings.ReplaceAll(text, "{"+key+"}", value)
	}
	return text
}

func (tc *testCase) check(t *testing.T, way apitest.Transport, vars map[string]string, out apitest.Outcome) {
	t.Helper()
	if out.Code != tc.code || out.Reason != tc.reason || !slices.Equal(out.Fields, tc.fields) || (out.RetryAfter > 0) != tc.retry {
		t.Fatalf("%s: got %v %q, fields %v, retry %v: %s%s\nwant %v %q, fields %v, retry %v",
			way, out.Code, out.Reason, out.Fields, out.RetryAfter, out.Message, out.Response, tc.code, tc.reason, tc.fields, tc.retry)
	}
	if tc.code != codes.OK && out.Domain != "classrec.dev" {
		t.Errorf("%s: domain is %q", way, out.Domain)
	}
	if want := runtime.HTTPStatusFromCode(tc.code); way == apitest.REST && out.Status != want {
		t.Errorf("HTTP status is %d, want %d", out.Status, want)
	}
	for key, want := range tc.metadata {
		if got := out.Metadata[key]; got != fill(want, vars) {
			t.Errorf("%s: metadata %s is %q, want %q", way, key, got, fill(want, vars))
		}
	}
	if tc.response != "" {
		for _, difference := range subset(t, fill(tc.response, vars), out.Response) {
			t.Errorf("%s: %s\nin %s", way, difference, out.Response)
		}
	}
}

// What differs between two runs of the same case.
var (
	times     = regexp.MustCompile(`"\d{4}-\d\d-\d\dT[0-9:.]+Z"`)
	sequences = regexp.MustCompile(`"(s|lastS|last_s|oldest_s)equence":\s*"\d+"`)
	recordTS  = regexp.MustCompile(`recordings/\d+(-\d+)?`)
	userIDs   = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	numbers   = regexp.MustCompile(`sequence is \d+`)
	over      = regexp.MustCompile(`RECORDING_STATE_(PROCESSING|AVAILABLE)`) // the files come when they come
)

// normal is an outcome without what is the way's or the moment's own.
func (tc *testCase) normal(out apitest.Outcome, vars map[string]string) apitest.Outcome {
	plain := func(text string) string {
		text = strings.ReplaceAll(text, vars["room"], "{room}")
		text = times.ReplaceAllString(text, `"{time}"`)
		text = recordTS.ReplaceAllString(text, "recordings/{ts}")
		text = sequences.ReplaceAllString(text, `"$1equence":"{sequence}"`)
		text = over.ReplaceAllString(text, "{over}")
		text = numbers.ReplaceAllString(text, "sequence is {sequence}")
		return userIDs.ReplaceAllString(text, "{user}")
	}
	out.Status, out.Message = 0, plain(out.Message)
	if tc.wording {
		out.Message = ""
	}
	metadata := map[string]string{}
	for key, value := range out.Metadata {
		if strings.HasSuffix(key, "_sequence") {
			value = "{sequence}"
		}
		metadata[key] = plain(value)
	}
	out.Metadata = metadata
	if out.Response != "" {
		var value any
		if json.Unmarshal([]byte(out.Response), &value) == nil {
			raw, err := json.Marshal(value)
			if err == nil {
				out.Response = plain(string(raw))
			}
		}
	}
	return out
}

// subset says where the JSON got is not what want asks for.
func subset(t *testing.T, want, got string) []string {
	t.Helper()
	var w, g any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("want: %v in %s", err, want)
	}
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("got: %v in %s", err, got)
	}
	return differences("", w, g)
}

func differences(path string, want, got any) []string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %v, want an object", path, got)}
		}
		var list []string
		for _, key := range slices.Sorted(maps.Keys(w)) {
			value, there := g[key]
			switch {
			case w[key] == nil && there:
				list = append(list, fmt.Sprintf("%s.%s is %v, want none", path, key, value))
			case w[key] != nil:
				list = append(list, differences(path+"."+key, w[key], value)...)
			}
		}
		return list
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return []string{fmt.Sprintf("%s is %v, want %d elements", path, got, len(w))}
		}
		var list []string
		for i := range w {
			list = append(list, differences(fmt.Sprintf("%s[%d]", path, i), w[i], g[i])...)
		}
		return list
	}
	if want == "*" && got != nil && got != "" {
		return nil
	}
	if !reflect.DeepEqual(want, got) {
		return []string{fmt.Sprintf("%s is %v, want %v", path, got, want)}
	}
	return nil
}
