// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// Embedded is the [Config.Platform] that is part of the server.
const Embedded = "embedded"

// Config of a [Server]. Its zero value is ready for use: an embedded platform,
// everything on loopback, data in ./data.
type Config struct {
	// GRPCListen is where gRPC is served, in plain text. "": 127.0.0.1:9090.
	GRPCListen string
	// HTTPListen is where REST, /openapi.json, health, metrics and the recorded
	// files are served. "": 127.0.0.1:8080.
	HTTPListen string
	// FilesBaseURL is what the URLs of recorded files begin with, for whoever
	// cannot reach HTTPListen by its own name; without a slash at its end.
	// "": http://HTTPListen/files. Embedded platform only.
	FilesBaseURL string

	// DataDir keeps everything: the log, recordings, keys. It is made, and used
	// by one server at a time. "": ./data.
	DataDir string

	// Platform is [Embedded], or the https://host:port of TalkCloud; http only
	// when written so. "": [Embedded].
	Platform string
	// PlatformCAFile has PEM certificates that are trusted for the platform and
	// the record list beside the system's. "": none.
	PlatformCAFile string
	// CheckroomParams are added to the form of every checkroom.
	CheckroomParams map[string]string
	// RecordListURL is where the record list lives, when not at Platform; plain
	// http only when written so. "": Platform.
	RecordListURL string
	// RichRecordList asks WebAPI/getrecordlist too, which says more of each
	// recording. The embedded platform is asked always.
	RichRecordList bool
	// EnterpriseKeyFile has the customer's key, which opens the record list.
	// "": for the embedded platform a key of its own, made once and kept in
	// DataDir; for TalkCloud an error.
	EnterpriseKeyFile string

	// RoomListen is where the embedded platform is served over https. "":
	// 127.0.0.1:8443. Unused with TalkCloud, as all that begins with Room.
	RoomListen string
	// RoomHTTPListen is where it is served over plain http. "": nowhere.
	RoomHTTPListen string
	// RoomCertFile and RoomKeyFile are its certificate and key, as PEM. "": a
	// self-signed one, made once and kept in DataDir.
	RoomCertFile, RoomKeyFile string
	// RoomUDPListen is where it takes media. "": a port of loopback.
	RoomUDPListen string
	// RoomPublicIPs are announced to publishers instead of the local addresses.
	RoomPublicIPs []string
	// RoomsFile is a YAML file of rooms with their names and passwords:
	//
	//	rooms:
	//	  "42": {name: Maths, passwords: {teacher: …, student: …}}
	//
	// The roles are teacher, assistant, student, auditor and patrol; who enters
	// with a role's password has that role, and who has none of them is refused.
	// A room without passwords, or not in the file, is open. "": no file.
	RoomsFile string
	// StrictRooms says that there are no rooms but those of RoomsFile.
	StrictRooms bool
	// FFmpeg is the program that makes MP4, MP3 and MIX. "": ffmpeg in PATH;
	// where there is none, recordings that need it are refused.
	FFmpeg string

	// ProcessingTimeout is how long the platform may take from the end of a
	// class to its files. 0: 2 h.
	ProcessingTimeout time.Duration
	// SettleTime is for how long TalkCloud must list the same files, where it is
	// not asked when a recording is finished (RichRecordList). 0: 30 s.
	SettleTime time.Duration
	// ShutdownTimeout is how long stopping may take. Calls in flight get half of
	// it. 0: 10 s.
	ShutdownTimeout time.Duration

	// Logger gets what an operator wants to know, without secrets. nil discards.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.GRPCListen = cmp.Or(c.GRPCListen, "127.0.0.1:9090")
	c.HTTPListen = cmp.Or(c.HTTPListen, "127.0.0.1:8080")
	c.DataDir = cmp.Or(c.DataDir, "data")
	c.Platform = cmp.Or(c.Platform, Embedded)
	c.RoomListen = cmp.Or(c.RoomListen, "127.0.0.1:8443")
	c.ProcessingTimeout = cmp.Or(c.ProcessingTimeout, 2*time.Hour)
	c.ShutdownTimeout = cmp.Or(c.ShutdownTimeout, 10*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) embedded() bool { return c.Platform == Embedded }

// validate finds what makes no sense, and names the flag that says it.
func (c Config) validate() error {
	var errs []error
	if !c.embedded() {
		if err := checkURL(c.Platform); err != nil {
			errs = append(errs, fmt.Errorf("--platform: %w, nor %q", err, Embedded))
		}
		if c.EnterpriseKeyFile == "" {
			errs = append(errs, errors.New("--enterprise-key-file: needed to read the record list of --platform"))
		}
	}
	if c.RecordListURL != "" {
		if c.embedded() {
			errs = append(errs, errors.New("--record-list-url: the embedded platform has its own"))
		} else if err := checkURL(c.RecordListURL); err != nil {
			errs = append(errs, fmt.Errorf("--record-list-url: %w", err))
		}
	}
	if c.FilesBaseURL != "" {
		if err := checkURL(c.FilesBaseURL); err != nil {
			errs = append(errs, fmt.Errorf("--files-base-url: %w", err))
		}
	}
	if (c.RoomCertFile == "") != (c.RoomKeyFile == "") {
		errs = append(errs, errors.New("--room-cert-file and --room-key-file: give both or neither"))
	}
	if c.StrictRooms && c.RoomsFile == "" {
		errs = append(errs, errors.New("--strict-rooms: needs --rooms-file"))
	}
	for _, ip := range c.RoomPublicIPs {
		if _, err := netip.ParseAddr(ip); err != nil {
			errs = append(errs, fmt.Errorf("--room-public-ip: %w", err))
		}
	}
	if c.ProcessingTimeout < 0 {
		errs = append(errs, errors.New("--processing-timeout: is negative"))
	}
	if c.ShutdownTimeout < 0 {
		errs = append(errs, errors.New("--shutdown-timeout: is negative"))
	}
	return errors.Join(errs...)
}

// checkURL does not repeat the text: it may hold a password.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return errors.New("is not https://host:port")
	}
	if u.User != nil {
		return errors.New("has a user name in it")
	}
	if strings.HasSuffix(u.Path, "/") && u.Path != "/" {
		return errors.New("ends in a slash")
	}
	return nil
}

// path is a path in the data directory.
func (c Config) path(elem ...string) string {
	return filepath.Join(append([]string{c.DataDir}, elem...)...)
}
