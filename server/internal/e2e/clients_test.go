// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"fmt"
	"slices"
	"testing"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// TestClients has the reference clients of both versions, which speak engine.io 3 and 4, use the embedded platform
// together: each begins a class that the other sees, comes late to one, is put out by its double, and comes back after
// a cut.
func TestClients(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, versions := range [][2]string{{"2", "4"}, {"4", "2"}} {
		t.Run("socket.io-client "+versions[0]+" and "+versions[1], func(t *testing.T) {
			t.Parallel()
			room := "95" + versions[0]
			line, other := newLine(t, s.Process().RoomAddr()), newLine(t, s.Process().RoomAddr())
			cert := s.Process().RoomCertFile()
			teacher := newNodeMember(t, versions[0], cert, "teacher-1")
			student := newNodeMember(t, versions[1], cert, "student-1")
			enter(t, teacher, line.url(), room, "王老师 & co", "teacher")
			enter(t, student, other.url(), room, "小明", "")
			teacher.await(t, "room-participant_join", has(map[string]any{"id": student.id}))

			const data = `{"recordtype":"1","convert":0,"layout":0,"recordchat":true}`
			teacher.acked(t, "startServerRecord", map[string]any{})
			ts := teacher.classBegun(t, teacher.id, data)
			if got := student.classBegun(t, teacher.id, data); got != ts {
				t.Errorf("the student sees the class begin at %d, the teacher at %d", got, ts)
			}
			teacher.acked(t, "sendMessage", "早上好 \u2028 👋")
			student.await(t, "room-text-message", has(map[string]any{"from": teacher.id, "message": map[string]any{"msg": "早上好 \u2028 👋"}}))
			teacher.acked(t, "pubMsg", map[string]any{"name": "UpdateTime", "toID": teacher.id, "data": "", "save": false})
			teacher.await(t, "room-pubmsg", has(map[string]any{"name": "UpdateTime", "fromID": teacher.id}))

			late := newNodeMember(t, versions[0], cert, "late-1")
			if j := enter(t, late, other.url(), room, "Late", ""); len(j.Messages) != 1 || j.Messages[0].ID != "ClassBegin" ||
				string(j.Messages[0].Data) != fmt.Sprintf("%q", data) || !slices.Equal(j.Users, []string{teacher.id, student.id}) {
				t.Errorf("the late one is told %+v", j)
			}

			// Cut, the teacher comes back by itself as the same user, and the class is still on.
			line.cut()
			student.await(t, "room-participant_leave", is(0, teacher.id))
			teacher.await(t, "room-reconnected", nil)
			back := teacher.await(t, "room-connected", nil)
			if want := `"ts":` + fmt.Sprint(ts); !containsAll(back.String(), want, "ClassBegin", student.id) {
				t.Errorf("back, the teacher is told %s", back)
			}
			student.await(t, "room-participant_join", has(map[string]any{"id": teacher.id}))

			// Whoever joins as the same user puts the earlier one out for good.
			double := newNodeMember(t, versions[1], cert, student.id)
			enter(t, double, other.url(), room, "Double", "")
			student.await(t, "room-participant_evicted", has(map[string]any{"reason": 400}))
			teacher.await(t, "room-participant_leave", is(0, student.id))
			teacher.await(t, "room-participant_join", has(map[string]any{"id": student.id}))

			teacher.acked(t, "stopServerRecord")
			for _, m := range []*member{teacher, late, double} {
				m.classEnded(t, teacher.id)
			}
			if n := student.pending("room-delmsg") + student.pending("room-reconnecting"); n > 0 {
				t.Error("who was evicted is still there")
			}
			for _, m := range []*member{teacher, late, double} {
				m.call(t, "leave")
			}
			// A class without media ends well, and is listed.
			var list *classrecv1.ListRecordingsResponse
			eventually(t, "the class is listed", func() bool {
				var err error
				list, err = s.API().ListRecordings(testContext(t), &classrecv1.ListRecordingsRequest{Room: room})
				return err == nil && len(list.GetRecordings()) == 1
			})
			r := available(t, s, list.GetRecordings()[0].GetName())
			if r.GetRecordTime().GetSeconds() != ts {
				t.Errorf("listed is %s, the class began at %d", r.GetName(), ts)
			}
		})
	}
}
