// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// What a start puts on the wire: ClassBegin as the vendor's own client writes
// it, whatever the request leaves out. The platform takes all of it, MP4 too.
func TestStart_OnTheWire(t *testing.T) {
	t.Parallel()
	platform := talkcloudtest.NewPlain(t)
	s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL))
	for i, tc := range []struct{ fields, data string }{
		{``, `{"recordtype":"1","convert":0,"layout":0,"recordchat":true}`},
		{`,"format":0,"record_type":0,"layout":0`, `{"recordtype":"1","convert":0,"layout":0,"recordchat":true}`},
		{`,"format":"RECORDING_FORMAT_MKV"`, `{"recordtype":"1","convert":0,"layout":0,"recordchat":true}`},
		{`,"format":"RECORDING_FORMAT_WEBM"`, `{"recordtype":"1","convert":1,"layout":0,"recordchat":true}`},
		{`,"format":"RECORDING_FORMAT_MP4"`, `{"recordtype":"1","convert":2,"layout":0,"recordchat":true}`},
		{`,"record_type":"RECORD_TYPE_FILE"`, `{"recordtype":"0","convert":0,"layout":0,"recordchat":true}`},
		{`,"record_type":"RECORD_TYPE_LIST"`, `{"recordtype":"1","convert":0,"layout":0,"recordchat":true}`},
		{`,"record_type":"RECORD_TYPE_MP3"`, `{"recordtype":"2","convert":0,"layout":0,"recordchat":true}`},
		{`,"record_type":"RECORD_TYPE_MIX"`, `{"recordtype":"3","convert":0,"layout":0,"recordchat":true}`},
		{`,"record_type":"RECORD_TYPE_MIX","layout":"RECORDING_LAYOUT_LANDSCAPE"`, `{"recordtype":"3","convert":0,"layout":0,"recordchat":true}`},
		{`,"record_type":"RECORD_TYPE_MIX","layout":"RECORDING_LAYOUT_PORTRAIT"`, `{"recordtype":"3","convert":0,"layout":1,"recordchat":true}`},
		{`,"record_chat":true`, `{"recordtype":"1","convert":0,"layout":0,"recordchat":true}`},
		{`,"record_chat":false`, `{"recordtype":"1","convert":0,"layout":0}`},
		{
			`,"format":"RECORDING_FORMAT_MP4","record_type":"RECORD_TYPE_MIX","layout":"RECORDING_LAYOUT_PORTRAIT","record_chat":false`,
			`{"recordtype":"3","convert":2,"layout":1}`,
		},
	} {
		for _, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
			room := fmt.Sprintf("%s-%d", way, i)
			out := s.Call(t, way, apitest.Call{Name: apitest.Start, Request: `{"room":"` + room + `"` + tc.fields + `}`})
			if out.Code != codes.OK {
				t.Fatalf("%s %s: %+v", way, tc.fields, out)
			}
			saved := platform.Saved(talkcloud.RoomID(room))
			if len(saved) != 1 {
				t.Fatalf("%s %s: the room has %v", way, tc.fields, saved)
			}
			m := saved[0]
			if m.Name != "ClassBegin" || m.ID != "ClassBegin" || m.To != "__all" || m.DoNotSave || m.DataText() != tc.data || m.AssociatedUserID != "" {
				t.Errorf("%s %s: published %+v with %s, want %s", way, tc.fields, m, m.DataText(), tc.data)
			}
			if rec := out.Recording(t); rec.GetUserId() != string(m.FromID) || rec.GetRecordTime().GetSeconds() != m.TS.Unix() {
				t.Errorf("%s %s: published by %s at %v, and the recording is %v", way, tc.fields, m.FromID, m.TS, rec)
			}
		}
	}
	// The password and the nickname go to checkroom, and nowhere else.
	s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"named","user_id":"me","nickname":"n","room_password":"p w&d"}`})
	for _, form := range platform.Forms(talkcloud.PathCheckRoom) {
		if form.Get("serial") == "named" && (form.Get("password") != "p w&d" || form.Get("nickname") != "n") {
			t.Errorf("checkroom got %v", form)
		}
	}
	for _, join := range platform.Joins() {
		if join.Room() == "named" && join.UserID != "me" {
			t.Errorf("joined as %s", join.UserID)
		}
	}
}

// The embedded platform tells everybody in the room the same.
func TestStart_SeenInTheRoom(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	teacher := s.Join(t, "room", "teacher")
	rec := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"room","format":"RECORDING_FORMAT_WEBM","record_type":"RECORD_TYPE_FILE","record_chat":false}`})
	begun := teacher.Nth(t, talkcloud.Published, 0)
	if begun.DataText() != `{"recordtype":"0","convert":1,"layout":0}` || string(begun.FromID) != rec.GetUserId() || begun.TS.Unix() != rec.GetRecordTime().GetSeconds() {
		t.Errorf("the room saw %+v of %v", begun, rec)
	}
	stopped := s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"room":"room"}`})
	if ended := teacher.Nth(t, talkcloud.Deleted, 0); ended.TS.Unix() != stopped.GetStopTime().GetSeconds() {
		t.Errorf("the room saw the end %+v of %v", ended, stopped)
	}
	teacher.AwaitLeft(t, rec.GetUserId())
}
