// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// checkRoom tells whether a client may enter a room, and as what.
func (s *Server) checkRoom(w http.ResponseWriter, r *http.Request) {
	p, ok := form(w, r)
	if !ok {
		return
	}
	id := s.book.resolve(p["serial"])
	role, err := s.entry(id, p, r)
	if err != nil {
		refusal := refusalOf(err)
		reply(w, failure(int64(refusal.Code), refusal.Message))
		return
	}
	if c, _, _ := s.book.lookup(id); len(c.Passwords) > 0 {
		s.entries.add(entry{room: id, from: remoteIP(r), role: role}, time.Now())
	}
	reply(w, talkcloud.CheckRoomReply{
		Result:   talkcloud.Number(talkcloud.ResultOK),
		Nickname: talkcloud.Text(nickname(p["nickname"])),
		RoomRole: talkcloud.Number(int64(role)),
		ThirdID:  talkcloud.Text(""),
		Room:     s.roomDetails(id),
		PullInfo: json.RawMessage("null"),
	})
}

// entry decides on the role of who wants to enter. A stranger may not enter a room without showing a password.
func (s *Server) entry(id talkcloud.RoomID, p params, r *http.Request) (role int, err error) {
	if err := checkID(string(id)); err != nil {
		return 0, refuse(codeField, reasonID, "serial: "+err.Error())
	}
	room, known, gone := s.book.lookup(id)
	if gone || s.cfg.StrictRooms && !known {
		return 0, refuse(codeRoomMissing, reasonRoom, "there is no such room")
	}
	var wanted *int
	if n, err := strconv.Atoi(p["userrole"]); err == nil && n >= talkcloud.RolePlayback && n <= talkcloud.RolePatrol {
		wanted = &n
	}
	stranger := isStranger(r)
	switch {
	case len(room.Passwords) > 0 && room.StudentsOpen && p["password"] == "" && !stranger:
		return talkcloud.RoleStudent, nil
	case len(room.Passwords) > 0:
		role, fits, wait := s.tryPassword(id, room.Passwords, p["password"], r, wanted)
		if !fits {
			return 0, refuse(codePassword, reasonPassword, wrongPassword(wait))
		}
		return role, nil
	case stranger:
		return 0, s.over(limitPassword, openRoomHere)
	case wanted != nil:
		return *wanted, nil
	}
	return roleByName(p["password"]), nil
}

func wrongPassword(wait time.Duration) string {
	if wait > 0 {
		return fmt.Sprintf("too many wrong passwords from this address; try again in %d s", int(wait.Seconds())+1)
	}
	return "no password of the room"
}

// roleByPassword returns the role that a password gives: the wanted one where several have the same password, else the
// first. All are compared, in constant time.
func roleByPassword(passwords map[int]talkcloud.Secret, password string, wanted *int) (role int, fits bool) {
	for candidate := talkcloud.RolePatrol; candidate >= talkcloud.RolePlayback; candidate-- {
		secret, ok := passwords[candidate]
		if !ok || !equalSecret(secret, password) {
			continue
		}
		if !fits || wanted == nil || role != *wanted {
			role, fits = candidate, true
		}
	}
	return role, fits
}

// equalSecret compares in a time that tells nothing, of the length neither.
func equalSecret(secret talkcloud.Secret, given string) bool {
	a, b := sha256.Sum256([]byte(secret.Reveal())), sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// roleByName is the role that a password names in a room that has none.
func roleByName(password string) int {
	switch strings.ToLower(password) {
	case "teacher":
		return talkcloud.RoleTeacher
	case "assistant":
		return talkcloud.RoleAssistant
	case "auditor":
		return talkcloud.RoleAuditor
	case "patrol":
		return talkcloud.RolePatrol
	}
	return talkcloud.RoleStudent
}

// nickname undoes an encoding that mobile clients add to the form's.
func nickname(name string) string {
	if plain, err := url.PathUnescape(name); err == nil && strings.Contains(name, "%") && encoded(name) {
		return plain
	}
	return name
}

// roomDetails are those of a room of the captured session: six on stage, 320 by 240, VP8.
func (s *Server) roomDetails(id talkcloud.RoomID) talkcloud.RoomDetails {
	name := s.roomName(id)
	return talkcloud.RoomDetails{
		Serial: talkcloud.Text(string(id)), RoomName: talkcloud.Text(name),
		RoomType: talkcloud.Text("3"), MaxVideo: talkcloud.Text("6"), CompanyID: talkcloud.Text("10001"),
		ChairmanControl: talkcloud.Text(strings.Repeat("0", 200)),
		VideoType:       talkcloud.Text("1"), VideoFramerate: talkcloud.Text("15"),
		VideoWidth: talkcloud.Text("320"), VideoHeight: talkcloud.Text("240"), VCodec: talkcloud.Text("0"),
	}
}

// checkRoomType tells whether a room may be entered at all.
func (s *Server) checkRoomType(w http.ResponseWriter, r *http.Request) {
	p, ok := form(w, r)
	if !ok {
		return
	}
	id := s.book.resolve(p["serial"])
	if _, known, gone := s.book.lookup(id); checkID(string(id)) != nil || gone || s.cfg.StrictRooms && !known {
		reply(w, result(codeRoomMissing))
		return
	}
	reply(w, struct {
		Result   talkcloud.Scalar `json:"result"`
		RoomType talkcloud.Scalar `json:"roomtype"`
	}{talkcloud.Number(talkcloud.ResultOK), talkcloud.Text("3")})
}

// roomOver ends the class of a room, as the teacher's client does before it deletes ClassBegin itself. In a room that has
// passwords it is for those who have shown one to checkroom, from the same address: they may delete ClassBegin too.
func (s *Server) roomOver(w http.ResponseWriter, r *http.Request) {
	p, ok := form(w, r)
	if !ok {
		return
	}
	id := s.book.resolve(p["serial"])
	if !s.mayEnd(id, remoteIP(r)) {
		s.refused[limitPassword].Add(1)
		reply(w, result(codePassword))
		return
	}
	s.endClassOf(id)
	reply(w, result(talkcloud.ResultOK))
}

// endClassOf ends the class of a room, if there is one.
func (s *Server) endClassOf(id talkcloud.RoomID) {
	room := s.findRoom(id)
	if room == nil {
		return
	}
	defer room.mu.Unlock()
	if begin := room.begin; begin != nil {
		room.deleteSaved(begin, "")
		room.settle()
	}
}
