// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"

	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// The limits of what the API can say, which a room of the file has to be
// within to be of use.
const (
	maxRoomBytes     = 128
	maxPasswordBytes = 256
)

type roomConfigs = map[talkcloud.RoomID]roomserver.RoomConfig

// readRooms reads [Config.RoomsFile]. An error names the line, and never what
// stands there: it may be a password in the wrong place.
func readRooms(path string, logger *slog.Logger) (roomConfigs, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--rooms-file: %w", err)
	}
	rooms, err := parseRooms(text)
	if err != nil {
		return nil, fmt.Errorf("--rooms-file: %s: %w", path, err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		logger.Warn("the file of rooms has passwords, and others may read it; chmod 600 it",
			slog.String("file", path), slog.String("mode", info.Mode().Perm().String()))
	}
	return rooms, nil
}

func parseRooms(text []byte) (roomConfigs, error) {
	root, err := parseYAML(text)
	if err != nil {
		return nil, err
	}
	rooms := roomConfigs{}
	return rooms, eachKey(root, func(key string, value ast.Node) error {
		if key != "rooms" {
			return errors.New("has a key that is not rooms")
		}
		return eachKey(value, func(id string, value ast.Node) error {
			if !isRoomID(id) {
				return errors.New("has a room id that cannot be")
			}
			room, err := parseRoom(value)
			rooms[talkcloud.RoomID(id)] = room
			return err
		})
	})
}

func parseRoom(node ast.Node) (room roomserver.RoomConfig, err error) {
	if isNull(node) { // open to all, of the default name
		return room, nil
	}
	return room, eachKey(node, func(key string, value ast.Node) (err error) {
		switch key {
		case "name":
			room.Name, err = scalar(value)
		case "passwords":
			room.Passwords, err = parsePasswords(value)
		default:
			err = errors.New("has a key that is neither name nor passwords")
		}
		return err
	})
}

func parsePasswords(node ast.Node) (map[int]talkcloud.Secret, error) {
	passwords := map[int]talkcloud.Secret{}
	err := eachKey(node, func(key string, value ast.Node) error {
		role, ok := roleNamed(key)
		if !ok {
			return errors.New("has a role that is none of teacher, assistant, student, auditor, patrol")
		}
		password, err := scalar(value)
		if err != nil {
			return err
		}
		if password == "" || len(password) > maxPasswordBytes {
			return fmt.Errorf("has a password that has not 1 to %d bytes", maxPasswordBytes)
		}
		passwords[role] = talkcloud.Secret(password)
		return nil
	})
	if err == nil && len(passwords) == 0 {
		err = atLine(node, errors.New("has no password; leave passwords out for an open room"))
	}
	return passwords, err
}

func roleNamed(name string) (role int, ok bool) {
	switch name {
	case "teacher":
		return talkcloud.RoleTeacher, true
	case "assistant":
		return talkcloud.RoleAssistant, true
	case "student":
		return talkcloud.RoleStudent, true
	case "auditor":
		return talkcloud.RoleAuditor, true
	case "patrol":
		return talkcloud.RolePatrol, true
	}
	return 0, false
}

func isRoomID(id string) bool {
	return id != "" && len(id) <= maxRoomBytes && utf8.ValidString(id) &&
		id != "-" && id != "." && id != ".." && !strings.HasPrefix(id, "__") &&
		!strings.Contains(id, "/") && !strings.ContainsFunc(id, unicode.IsControl)
}
