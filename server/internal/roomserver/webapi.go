// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// rolePasswords are the parameters that are passwords, by the role that they give.
func rolePasswords() map[string]int {
	return map[string]int{
		"chairmanpwd": talkcloud.RoleTeacher, "assistantpwd": talkcloud.RoleAssistant, "confuserpwd": talkcloud.RoleStudent,
		"sidelineuserpwd": talkcloud.RoleAuditor, "patrolpwd": talkcloud.RolePatrol,
	}
}

// roomSettings are parameters of a room that mean nothing here, and are given back.
func roomSettings() []string {
	return []string{"videotype", "videoframerate", "autoopenav", "sharedesk"}
}

const (
	maxRoomName     = 256
	maxRoomPassword = 64
	maxSetting      = 64
)

// roomCreate makes a room. Passwords that are not given are made, but that of students, who need one only where it is
// asked for: so no room that was made is open to who wants to be its teacher.
func (s *Server) roomCreate(w http.ResponseWriter, _ *http.Request, p params) {
	m := &madeRoom{Serial: s.book.newSerial(), Passwords: map[int]string{}, Settings: map[string]string{}}
	if err := m.set(p); err != nil {
		reply(w, failure(codeField, err.Error()))
		return
	}
	m.complete()
	s.changeRoom(w, m)
}

// complete makes the passwords that a room needs and has not.
func (m *madeRoom) complete() {
	roles := []int{talkcloud.RoleTeacher, talkcloud.RoleAssistant, talkcloud.RolePatrol}
	if m.PasswordRequired {
		roles = append(roles, talkcloud.RoleStudent)
	}
	for _, role := range roles {
		if m.Passwords[role] == "" {
			m.Passwords[role] = newPassword()
		}
	}
}

// set takes over what is given of a room.
func (m *madeRoom) set(p params) error {
	for key, role := range rolePasswords() {
		switch password, given := p[key]; {
		case !given || password == "":
		case len(password) > maxRoomPassword:
			return fmt.Errorf("%s has more than %d bytes", key, maxRoomPassword)
		default:
			m.Passwords[role] = password
		}
	}
	for _, key := range roomSettings() {
		if value, given := p[key]; given && len(value) <= maxSetting {
			m.Settings[key] = value
		}
	}
	for key, to := range map[string]*string{"roomname": &m.Name, "roomtype": &m.Type, "thirdroomid": &m.ThirdRoomID} {
		switch value, given := p[key]; {
		case !given:
		case len(value) > maxRoomName:
			return fmt.Errorf("%s has more than %d bytes", key, maxRoomName)
		default:
			*to = value
		}
	}
	for key, to := range map[string]*int64{"starttime": &m.Start, "endtime": &m.End} {
		if n, err := p.number(key); err != nil {
			return err
		} else if n > 0 {
			*to = talkcloud.Timestamp(n).Unix()
		}
	}
	if value, given := p["passwordrequired"]; given {
		m.PasswordRequired = talkcloud.Text(value).Truthy()
	}
	return nil
}

// changeRoom keeps a room, and answers with its serial.
func (s *Server) changeRoom(w http.ResponseWriter, m *madeRoom) {
	err := s.book.change(m, s.cfg.Now())
	switch {
	case errors.Is(err, errNameTaken):
		reply(w, failure(codeField, err.Error()))
	case errors.Is(err, errBookFull):
		reply(w, failure(codeQuota, err.Error()))
	case err != nil:
		s.log.Error("room not kept", "room", m.Serial, "error", err)
		reply(w, failure(codeWriteFailed, "the room could not be kept"))
	default:
		reply(w, struct {
			Result talkcloud.Scalar `json:"result"`
			Serial talkcloud.RoomID `json:"serial"`
		}{talkcloud.Number(talkcloud.ResultOK), m.Serial})
	}
}

// roomOf finds the room that a call is about, or answers that there is none.
func (s *Server) roomOf(w http.ResponseWriter, p params) *madeRoom {
	id := p["serial"]
	if id == "" {
		id = p["thirdroomid"]
	}
	if m := s.book.get(s.book.resolve(id)); m != nil {
		return m
	}
	message := "there is no such room"
	if _, fixed := s.cfg.Rooms[talkcloud.RoomID(id)]; fixed {
		message = "the room is one of the platform's configuration"
	}
	reply(w, failure(codeRoomMissing, message))
	return nil
}

// roomModify changes what is given of a room. thirdroomid names the room where no serial does.
func (s *Server) roomModify(w http.ResponseWriter, _ *http.Request, p params) {
	old := s.roomOf(w, p)
	if old == nil {
		return
	}
	m := *old
	m.Passwords, m.Settings = maps.Clone(old.Passwords), maps.Clone(old.Settings)
	if m.Settings == nil {
		m.Settings = map[string]string{}
	}
	if err := m.set(p); err != nil {
		reply(w, failure(codeField, err.Error()))
		return
	}
	m.complete()
	s.changeRoom(w, &m)
}

// roomDelete takes a room away: its class ends, whoever is there is put out, and it is no open room afterwards. Its
// recordings stay.
func (s *Server) roomDelete(w http.ResponseWriter, _ *http.Request, p params) {
	old := s.roomOf(w, p)
	if old == nil {
		return
	}
	gone := madeRoom{Serial: old.Serial, Name: old.Name, Deleted: s.cfg.Now().Unix()}
	if err := s.book.change(&gone, s.cfg.Now()); err != nil {
		s.log.Error("room not deleted", "room", old.Serial, "error", err)
		reply(w, failure(codeWriteFailed, "the room could not be deleted"))
		return
	}
	s.endClassOf(old.Serial)
	s.disable(old.Serial)
	reply(w, result(talkcloud.ResultOK))
}

// disable puts everybody out of a room.
func (s *Server) disable(id talkcloud.RoomID) {
	room := s.findRoom(id)
	if room == nil {
		return
	}
	defer room.mu.Unlock()
	for _, p := range slices.Clone(room.list) {
		if p.conn != nil {
			p.conn.Disconnect(talkcloud.EventParticipantEvicted, map[string]int{"reason": talkcloud.EvictedRoomDisabled})
		}
		room.depart(p)
	}
}

// describe is a room as getroom tells of it.
func (m *madeRoom) describe() map[string]any {
	room := map[string]any{
		"serial": m.Serial, "roomname": m.Name, "roomtype": m.Type, "thirdroomid": m.ThirdRoomID,
		"starttime": strconv.FormatInt(m.Start, 10), "endtime": strconv.FormatInt(m.End, 10), "passwordrequired": "0",
	}
	if m.PasswordRequired {
		room["passwordrequired"] = "1"
	}
	for key, role := range rolePasswords() {
		room[key] = m.Passwords[role]
	}
	for key, value := range m.Settings {
		room[key] = value
	}
	return room
}

func (s *Server) getRoom(w http.ResponseWriter, _ *http.Request, p params) {
	m := s.roomOf(w, p)
	if m == nil {
		return
	}
	room := m.describe()
	room["result"] = talkcloud.ResultOK
	reply(w, room)
}

// getRoomList answers getroomlist and getroombytime: the rooms that were made, those that begin first first. A window of
// time has those that touch it; timetype 1 has those of now, 2 those to come, 3 those of the past.
func (s *Server) getRoomList(w http.ResponseWriter, _ *http.Request, p params) {
	from, errFrom := p.number("starttime")
	to, errTo := p.number("endtime")
	if err := errors.Join(errFrom, errTo); err != nil {
		reply(w, failure(codeField, err.Error()))
		return
	}
	rooms := slices.DeleteFunc(s.book.all(), func(m *madeRoom) bool {
		return from != 0 && m.End != 0 && m.End < from || to != 0 && m.Start > to || !m.isOf(p["timetype"], s.cfg.Now())
	})
	page, err := pageOf(p, rooms)
	if err != nil {
		reply(w, failure(codeField, err.Error()))
		return
	}
	list := make([]map[string]any, 0, len(page))
	for _, m := range page {
		list = append(list, m.describe())
	}
	// The vendor's own name of the list is room; newer integrations read roomlist.
	reply(w, map[string]any{"result": talkcloud.ResultOK, "total": len(rooms), "room": list, "roomlist": list})
}

func (m *madeRoom) isOf(timeType string, now time.Time) bool {
	switch at := now.Unix(); timeType {
	case "1":
		return m.Start <= at && (m.End == 0 || at <= m.End)
	case "2":
		return m.Start > at
	case "3":
		return m.End != 0 && m.End < at
	}
	return true
}

// maxPage is how many entries a page has at most; without numberPage it has as many.
const (
	maxPage     = 1000
	defaultPage = 20
)

// pageOf cuts a page out of a list: page from 1 on, of numberPage entries. Neither given: all.
func pageOf[T any](p params, list []T) ([]T, error) {
	page, errPage := p.number("page")
	size, errSize := p.number("numberPage")
	if err := errors.Join(errPage, errSize); err != nil {
		return nil, err
	}
	if page <= 0 && size <= 0 {
		return list, nil
	}
	if size <= 0 {
		size = defaultPage
	}
	size, page = min(size, maxPage), max(page, 1)
	from := (min(page, 1+int64(len(list))) - 1) * size
	if from >= int64(len(list)) {
		return nil, nil
	}
	return list[from:min(int64(len(list)), from+size)], nil
}
