// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net"
	"net/url"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// dryRun prints the commands of other tools that do the same. They hold no
// secret: they read the room's password and the token from where this command
// does, or from the environment. Like the start itself they have a request id, the
// same in both, so that whoever gives them again gets the same recording.
func (c startCommand) dryRun(a *app, req *classrecv1.StartRecordingRequest) error {
	base, err := c.restURL(a.server)
	if err != nil {
		return usageError{err}
	}
	hasPassword := req.GetRoomPassword() != ""
	req = proto.CloneOf(req)
	req.RoomPassword = ""
	if req.GetRequestId() == "" {
		req.RequestId = rand.Text()
	}
	full, err := plainJSON(req)
	if err != nil {
		return err
	}
	req.Room = "" // is in the path
	rest, err := plainJSON(req)
	if err != nil {
		return err
	}
	secret := ""
	if hasPassword {
		secret = "$CLASSREC_ROOM_PASSWORD" //nolint:gosec // the name of a variable, for a shell
		if c.RoomPasswordFile != "" {
			secret = "$(cat " + quote(c.RoomPasswordFile) + ")"
		}
	}
	lines := []string{}
	if hasPassword && c.RoomPasswordFile == "" {
		lines = append(lines, "# The room's password is taken from $CLASSREC_ROOM_PASSWORD; in it, \" and \\ need a \\ before them.")
	}
	grpcurl := []string{"grpcurl"}
	curl := []string{"curl", "-sS", "-X", "POST", "-H", quote("Content-Type: application/json")}
	if !a.server.secure() && c.plain(a.server) {
		grpcurl = append(grpcurl, "-plaintext")
	}
	for _, f := range []struct{ value, grpcurl, curl string }{
		{a.server.CAFile, "-cacert", "--cacert"},
		{a.server.CertFile, "-cert", "--cert"},
		{a.server.KeyFile, "-key", "--key"},
		{a.server.ServerName, "-servername", ""},
	} {
		if f.value == "" {
			continue
		}
		grpcurl = append(grpcurl, f.grpcurl, quote(f.value))
		if f.curl != "" && strings.HasPrefix(base, "https:") {
			curl = append(curl, f.curl, quote(f.value))
		}
	}
	if bearer := bearerHeader(a.server); bearer != "" {
		grpcurl = append(grpcurl, "-H", bearer)
		curl = append(curl, "-H", bearer)
	}
	path := "/v1/rooms/" + url.PathEscape(c.Room) + "/recordings"
	grpcurl = append(grpcurl, "-d", withSecret(full, secret), quote(a.server.Server), "classrec.v1.RecordingService/StartRecording")
	curl = append(curl, "-d", withSecret(rest, secret), quote(base+path))
	lines = append(lines, strings.Join(grpcurl, " "), strings.Join(curl, " "))
	return a.out.line(strings.Join(lines, "\n"))
}

// plain says whether the connection would be plain text.
func (startCommand) plain(c connection) bool {
	if c.Plaintext {
		return true
	}
	host, _, err := net.SplitHostPort(c.Server)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// restURL is where REST is.
func (c startCommand) restURL(server connection) (string, error) {
	if c.HTTP != "" {
		return strings.TrimRight(c.HTTP, "/"), nil
	}
	host, _, err := net.SplitHostPort(server.Server)
	if err != nil {
		return "", err
	}
	scheme := "http"
	if server.secure() || !c.plain(server) {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, "8080"), nil
}

// bearerHeader is the header with the token, as the shell makes it; "" where
// there is none.
func bearerHeader(c connection) string {
	switch cfg, err := c.config(); {
	case c.TokenFile != "":
		return `"Authorization: Bearer $(cat ` + quote(c.TokenFile) + `)"`
	case err == nil && cfg.Token != "":
		return `"Authorization: Bearer $CLASSREC_TOKEN"`
	default:
		return ""
	}
}

// plainJSON is a request with the fields that are set, always spelled alike.
func plainJSON(m proto.Message) (string, error) {
	text, err := protojson.Marshal(m)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = json.Compact(&b, text)
	return b.String(), err
}

// withSecret quotes JSON for a shell, with the room's password as its last
// field, which the shell puts in; "": none.
func withSecret(object, secret string) string {
	if secret == "" {
		return quote(object)
	}
	fields := strings.TrimSuffix(object, "}")
	if fields != "{" {
		fields += ","
	}
	return quote(fields+`"roomPassword":"`) + `"` + secret + `"` + quote(`"}`)
}

// quote makes one word for a POSIX shell.
func quote(text string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:@%+=", r)
	}
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !safe(r) }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
