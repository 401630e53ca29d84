// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/base64"
	"strings"
)

const (
	streamName    = "CLASSREC"
	subjectPrefix = "classrec.log."
)

// roomEncoding makes any bytes a legal subject token, one to one.
func roomEncoding() *base64.Encoding { return base64.RawURLEncoding.Strict() }

// recordingKey names one recording.
type recordingKey struct{ tenant, room, id string }

func (k recordingKey) roomKey() roomKey { return roomKey{k.tenant, k.room} }

// subject is where the recording's changes are published.
func (k recordingKey) subject() string { return k.roomKey().subjectPrefix() + k.id }

// roomKey names one room.
type roomKey struct{ tenant, room string }

func (k roomKey) subjectPrefix() string {
	return subjectPrefix + k.tenant + "." + encodeRoom(k.room) + "."
}

// subjects matches all changes of all recordings of the room.
func (k roomKey) subjects() string { return k.subjectPrefix() + "*" }

func encodeRoom(room string) string { return roomEncoding().EncodeToString([]byte(room)) }

// decodeRoom is the inverse of encodeRoom; ok is false for what encodeRoom
// does not make of any room that is not empty.
func decodeRoom(token string) (room string, ok bool) {
	// DecodeString skips line ends, which encodeRoom never makes.
	if strings.ContainsAny(token, "\r\n") {
		return "", false
	}
	b, err := roomEncoding().DecodeString(token)
	return string(b), err == nil && len(b) > 0
}

// parseSubject is the inverse of recordingKey.subject.
func parseSubject(subject string) (recordingKey, bool) {
	rest, ok := strings.CutPrefix(subject, subjectPrefix)
	if !ok {
		return recordingKey{}, false
	}
	tenant, rest, _ := strings.Cut(rest, ".")
	token, id, _ := strings.Cut(rest, ".")
	room, ok := decodeRoom(token)
	if !ok || !isToken(tenant) || !isToken(id) {
		return recordingKey{}, false
	}
	return recordingKey{tenant: tenant, room: room, id: id}, true
}

// isToken tells whether s may stand in a subject as it is: 1 to 64 letters,
// digits, hyphens and underscores of ASCII.
func isToken(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
