// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// What cannot be read in the log, and what a later version wrote there, breaks
// nothing: before and after a restart, every call goes on in the same room.
func TestGarbageInTheLog(t *testing.T) {
	t.Parallel()
	platform := talkcloudtest.NewPlain(t)
	log := storetest.NewCluster(t, 1)
	sealKey := filepath.Join(t.TempDir(), "seal.key")
	if err := os.WriteFile(sealKey, []byte(strings.Repeat("5a", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL), func(c *server.Config) {
		c.NATS, c.NATSReplicas, c.SealKeyFile = log.URLs(), 1, sealKey
	})
	first := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"42"}`})
	w := s.Watch(t, apitest.GRPC, "42", 0)
	_, synced := w.Synced(t)

	future := func(id string, state classrecv1.RecordingState) []byte {
		rec := &storev1.Record{Tenant: "default", Id: id, Recording: &classrecv1.Recording{
			Name: "rooms/42/recordings/" + id, Room: "42", State: state, RecordTime: &timestamppb.Timestamp{Seconds: 1600000000},
		}}
		data, err := proto.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		data = protowire.AppendTag(data, 1000, protowire.BytesType)
		return protowire.AppendBytes(data, []byte("of a later version"))
	}
	log.Spoil(t, "default", "42", "garbage", []byte("\xff garbage"))
	log.Spoil(t, "default", "42", "empty", nil)
	log.Spoil(t, "default", "42", "1600000001", future("1600000001", 99))
	log.Spoil(t, "default", "42", "1600000000", future("1600000000", stateAvailable))

	check := func(live *classrecv1.Recording) {
		t.Helper()
		for _, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
			for _, request := range []string{`{"room":"42"}`, `{"room":"42","page_size":1000}`} {
				out := s.Call(t, way, apitest.Call{Name: apitest.List, Request: request})
				if out.Code != codes.OK || !strings.Contains(out.Response, live.GetName()) || !strings.Contains(out.Response, "rooms/42/recordings/1600000000") {
					t.Errorf("%s: list %s: %+v", way, request, out)
				}
			}
			for _, name := range []string{live.GetName(), "rooms/42/recordings/1600000000"} {
				if out := s.Call(t, way, apitest.Call{Name: apitest.Get, Request: `{"name":"` + name + `"}`}); out.Code != codes.OK {
					t.Errorf("%s: get %s: %+v", way, name, out)
				}
			}
		}
		s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"name":"` + live.GetName() + `"}`})
	}
	check(first)
	w.Events(t, 1)
	second := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"42"}`})
	w.Events(t, 1)
	s.Restart()
	for _, way := range watchWays() { // over what cannot be read
		events, _ := s.Watch(t, way, "42", synced).Synced(t)
		if len(events) != 2 || events[0].GetAction() != remove || events[1].GetRecording().GetName() != second.GetName() {
			t.Errorf("%s: resumed with %v", way, events)
		}
	}
	check(second)
	third := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"42"}`})
	check(third)
}
