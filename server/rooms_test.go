// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
)

// withRooms is a configuration with a file of rooms.
func withRooms(t *testing.T, text string) server.Config {
	t.Helper()
	cfg := anywhere(t.TempDir())
	cfg.RoomsFile = filepath.Join(t.TempDir(), "rooms.yaml")
	if err := os.WriteFile(cfg.RoomsFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Passwords of a file are asked for at the API; a room that is not in the file
// is open, or with StrictRooms not there.
func TestServer_Rooms(t *testing.T) {
	t.Parallel()
	const text = `
rooms:
  "42":
    name: Maths
    passwords: {teacher: hunter2, student: 'pupil', assistant: "a", auditor: b, patrol: c}
  0123: {passwords: {teacher: 0077}} # as written, not in octal
  open:
`
	for _, strict := range []bool{false, true} {
		cfg := withRooms(t, text)
		cfg.StrictRooms = strict
		r := newRunning(t, cfg)
		elsewhere := codes.OK
		if strict {
			elsewhere = codes.NotFound
		}
		for _, tc := range []struct {
			room, password string
			want           codes.Code
		}{
			{"42", "", codes.PermissionDenied},
			{"42", "hunter3", codes.PermissionDenied},
			{"42", "hunter2", codes.OK},
			{"0123", "77", codes.PermissionDenied},
			{"0123", "0077", codes.OK},
			{"open", "", codes.OK},
			{"83", "", elsewhere},
		} {
			_, err := r.api.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: tc.room, RoomPassword: tc.password})
			if got := client.Details(err).Code; got != tc.want {
				t.Errorf("room %s, strict %v: %v, want %v", tc.room, strict, got, tc.want)
			}
		}
		r.stop()
	}
}

// A file that is wrong is refused with the line, and says nothing of what
// stands there.
func TestNew_RoomsRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", "empty"},
		{"not YAML", "rooms:\n\t- hunter2: [", "not YAML"},
		{"unclosed", "rooms: {\"42\": {passwords: {teacher: \"hunter2", "not YAML"},
		{"a list", "- hunter2\n", "line 1: is not a map"},
		{"two documents", "rooms: {}\n---\nrooms: {}\n", "one YAML document"},
		{"unknown key", "rooms: {}\nhunter2: {}\n", "line 2: has a key that is not rooms"},
		{"unknown key of a room", "rooms:\n  a: {password: hunter2}\n", "line 2: has a key that is neither name nor passwords"},
		{"unknown role", "rooms:\n  a:\n    passwords:\n      hunter2: x\n", "line 4: has a role that is none of teacher"},
		{"room twice", "rooms:\n  a: {}\n  'a': {}\n", ""},
		{"room id", "rooms:\n  a/hunter2: {}\n", "line 2: has a room id that cannot be"},
		{"password for a room", "rooms:\n  a: hunter2\n", "line 2: is not a map"},
		{"password for passwords", "rooms:\n  a: {passwords: hunter2}\n", "line 2: is not a map"},
		{"password a list", "rooms:\n  a: {passwords: {teacher: [hunter2]}}\n", "line 2: has something that is not a text"},
		{"no password", "rooms:\n  a: {passwords: {teacher: }}\n", "line 2: has something that is not a text"},
		{"empty password", "rooms:\n  a: {passwords: {teacher: ''}}\n", "line 2: has a password that has not"},
		{"long password", "rooms:\n  a: {passwords: {teacher: " + strings.Repeat("hunter2", 40) + "}}\n", "line 2: has a password that has not"},
		{"no passwords", "rooms:\n  a: {passwords: {}}\n", "line 2: has no password"},
		{"alias", "rooms:\n  a: {name: &x hunter2}\n  b: {name: *x}\n", "line 2: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, err := server.New(t.Context(), withRooms(t, tc.text))
			if err == nil {
				s.Close()
				t.Fatal("no error")
			}
			if !strings.HasPrefix(err.Error(), "--rooms-file: ") || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter") {
				t.Error(err)
			}
		})
	}
}

// Who can read the file, can enter the rooms.
func TestNew_RoomsFileOfOthers(t *testing.T) {
	t.Parallel()
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o640: true, 0o604: true} {
		var log bytes.Buffer
		cfg := withRooms(t, "rooms: {a: {passwords: {teacher: hunter2}}}")
		cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		if err := os.Chmod(cfg.RoomsFile, mode); err != nil {
			t.Fatal(err)
		}
		s, err := server.New(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if got := strings.Contains(log.String(), "chmod 600"); got != warned || strings.Contains(log.String(), "hunter2") {
			t.Errorf("%v: %s", mode, &log)
		}
	}
}

// A handler's panic is seen; what strangers do to a TLS port is not, unless
// asked for.
func TestErrorLog(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := server.ErrorLog(slog.New(slog.NewTextHandler(&out, nil)))
	for _, text := range []string{"http: TLS handshake error from 192.0.2.1:1: EOF\n", "http: panic serving 192.0.2.1:1: oops\n"} {
		logger.Warn(text)
	}
	if got := out.String(); strings.Contains(got, "handshake") || !strings.Contains(got, "level=WARN") || !strings.Contains(got, "oops") {
		t.Error(got)
	}
}
