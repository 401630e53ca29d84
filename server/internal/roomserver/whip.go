// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/classrec/classrec/server/internal/ingest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Paths of WHIP: /whip/{room}/{user} is the endpoint, and sessions are below whipSessions. No room begins with "__". The
// endpoint's URL may have a query: nickname is the name in the room, the user's id without it, and role a number as in
// joinRoom, a student's without it. Where the room has passwords, the password says the role. Of a user who is in the
// room already, both stay as they are.
const (
	whipPrefix   = "/whip/"
	whipSessions = "/whip/__sessions/"
)

// whipSession is a publisher by WHIP, in the room as a participant.
type whipSession struct {
	mediaSession
	server *Server
}

// authorizeWHIP makes the participant and stream of a WHIP request. Where the room has passwords, one of them has to be
// the bearer token.
func (s *Server) authorizeWHIP(r *http.Request) (ingest.Handler, error) {
	roomID, userID, err := whipTarget(r.URL)
	if err != nil {
		return nil, err
	}
	nickname, wanted, err := whipPerson(r.URL.Query(), userID)
	if err != nil {
		return nil, err
	}
	role := talkcloud.RoleStudent
	room, _, _ := s.book.lookup(roomID)
	asStudent := room.StudentsOpen && r.Header.Get("Authorization") == "" && !isStranger(r)
	if len(room.Passwords) == 0 && wanted != nil {
		role = *wanted
	}
	if len(room.Passwords) > 0 && !asStudent {
		if role, err = s.roleOfToken(roomID, room, r, wanted); err != nil {
			return nil, err
		}
	} else if isStranger(r) {
		s.refused[limitPassword].Add(1)
		return nil, &ingest.StatusError{Status: http.StatusForbidden, Message: openRoomHere}
	}
	if !s.admit() {
		s.refuseMediaIn(roomID, userID, "server is full")
		return nil, &ingest.StatusError{Status: http.StatusServiceUnavailable, Message: "server is full"}
	}
	if s.space.check() != nil {
		s.dismiss()
		s.refuseMediaIn(roomID, userID, "the disk is nearly full")
		return nil, &ingest.StatusError{
			Status: http.StatusInsufficientStorage, Message: refusalOf(s.over(limitDisk, "the disk is nearly full")).Message,
		}
	}
	session, err := s.enterByWHIP(roomID, userID, nickname, role, whipSource(r.URL))
	if err != nil {
		s.dismiss()
		s.refuseMediaIn(roomID, userID, refusalOf(err).Message)
		status := http.StatusForbidden
		switch refusalOf(err).Reason {
		case reasonRoom:
			status = http.StatusNotFound
		case reasonLimit:
			status = http.StatusTooManyRequests
		case reasonClosing:
			status = http.StatusServiceUnavailable
		}
		return nil, &ingest.StatusError{Status: status, Message: refusalOf(err).Message}
	}
	return session, nil
}

// roleOfToken is the role that the bearer token gives, which is a password of the room.
func (s *Server) roleOfToken(id talkcloud.RoomID, room RoomConfig, r *http.Request, wanted *int) (role int, err error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
	}
	role, fits, wait := s.tryPassword(id, room.Passwords, strings.TrimSpace(token), r, wanted)
	switch {
	case wait > 0:
		return 0, &ingest.StatusError{Status: http.StatusTooManyRequests, Message: wrongPassword(wait)}
	case !fits:
		return 0, &ingest.StatusError{Status: http.StatusUnauthorized, Message: "the room's password is needed as bearer token"}
	}
	return role, nil
}

func whipTarget(u *url.URL) (talkcloud.RoomID, talkcloud.UserID, error) {
	notFound := &ingest.StatusError{Status: http.StatusNotFound, Message: "publish at /whip/{room}/{user}"}
	rest, found := strings.CutPrefix(u.EscapedPath(), whipPrefix)
	room, user, two := strings.Cut(rest, "/")
	if !found || !two {
		return "", "", notFound
	}
	room, user = unescapePath(room), unescapePath(user)
	if checkID(room) != nil || checkID(user) != nil {
		return "", "", notFound
	}
	return talkcloud.RoomID(room), talkcloud.UserID(user), nil
}

// whipSource is what a WHIP publisher shows: ?type=screen, media or file as in the vendor's publish, or else a camera.
func whipSource(u *url.URL) publication {
	source := u.Query().Get("type")
	switch source {
	case "screen", "media", "file":
	default:
		source = "video"
	}
	attributes := json.RawMessage(`{"type":"` + source + `"}`)
	return publication{Audio: json.RawMessage("true"), Video: json.RawMessage("true"), Attributes: attributes}
}

// maxWHIPNickname bounds a nickname in a URL, in bytes.
const maxWHIPNickname = 256

// whipPerson reads who publishes from the query. role is nil when it is not told.
func whipPerson(query url.Values, id talkcloud.UserID) (nickname string, role *int, err error) {
	bad := func(text string) error { return &ingest.StatusError{Status: http.StatusBadRequest, Message: text} }
	nickname = cmp.Or(query.Get("nickname"), string(id))
	if len(nickname) > maxWHIPNickname || !utf8.ValidString(nickname) {
		return "", nil, bad(fmt.Sprintf("nickname must be UTF-8 of at most %d bytes", maxWHIPNickname))
	}
	if text := query.Get("role"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < talkcloud.RoleTeacher || n > talkcloud.RolePatrol {
			return "", nil, bad("role must be 0 (teacher), 1 (assistant), 2 (student), 3 (auditor) or 4 (patrol)")
		}
		role = &n
	}
	return nickname, role, nil
}

// enterByWHIP gives a stream to the participant of that name, who comes into being for it when not there yet.
func (s *Server) enterByWHIP(roomID talkcloud.RoomID, userID talkcloud.UserID, nickname string, role int, pub publication) (*whipSession, error) {
	r, err := s.lockRoom(roomID, false)
	if err != nil {
		return nil, err
	}
	defer r.mu.Unlock()
	p := r.people[userID]
	if room, _, _ := s.book.lookup(roomID); p != nil && (p.ours || len(room.Passwords) > 0 && rankOf(p.shown) > rankOf(int8(role))) { //nolint:gosec // a role is small
		return nil, refuse(codeNoPermission, reasonPermission, "the user is in the room, with a role above this one")
	}
	if p == nil {
		if err := r.hasPlace(userID); err != nil {
			return nil, err // somebody is there, so the room is not left empty
		}
		p = &participant{server: s, room: r, id: userID}
		properties, err := encode(map[string]any{
			"role": role, "nickname": nickname, "publishstate": 3, "hasvideo": true, "hasaudio": true,
		})
		if err != nil {
			return nil, refuse(codeFailure, reasonPayload, "user id is not text")
		}
		p.setProperties(properties, &role)
		p.shown = p.role
		r.admit(p, false, nil)
	}
	st, err := r.addStream(p, pub)
	if err != nil {
		return nil, err // somebody with streams is there, so the room is not left empty
	}
	st.whip = true
	p.whip++
	session := &whipSession{mediaSession: mediaSession{room: r, stream: st, user: userID}, server: s}
	st.session = &session.mediaSession
	return session, nil
}

// Accepted takes the peer, so that whoever ends the stream ends the connection too.
func (w *whipSession) Accepted(peer *ingest.Peer) {
	w.room.mu.Lock()
	defer w.room.mu.Unlock()
	w.peer = peer
	w.tellRefusals(peer)
	if w.over.Load() {
		peer.Stop()
	}
}

// Rejected tells why there is no peer.
func (w *whipSession) Rejected(err error) {
	w.server.log.Info("stream not published", "room", w.room.id, "user", w.user, "error", err)
	w.room.mu.Lock()
	defer w.room.mu.Unlock()
	w.room.refuseMedia(w.user, err.Error())
}

// Closed ends the session, and the participant if nothing else keeps it in the room.
func (w *whipSession) Closed(err error) {
	w.mediaSession.Closed(err)
	_ = w.Close()
}

// Close is called when there is no peer, or no longer: the offer was refused, or the peer is gone.
func (w *whipSession) Close() error {
	defer w.server.dismiss()
	r, st := w.room, w.stream
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropStream(st)
	p := st.owner
	p.whip--
	if p.whip <= 0 && p.conn == nil && !p.gone && !r.closed {
		r.depart(p)
	}
	return nil
}
