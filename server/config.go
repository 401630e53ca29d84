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
	"slices"
	"strings"
	"time"

	"github.com/classrec/classrec/server/internal/rehearsal"
)

// Embedded is the [Config.Platform] that is part of the server.
const Embedded = "embedded"

// Config of a [Server]. Its zero value is ready for use: an embedded platform,
// everything on loopback, data in ./data.
type Config struct {
	// GRPCListen is where gRPC is served. "": 127.0.0.1:9090. Addresses beside
	// loopback need an authentication.
	GRPCListen string
	// HTTPListen is where REST, /openapi.json, health, metrics and the recorded
	// files are served. "": 127.0.0.1:8080.
	HTTPListen string
	// AdminListen is where the admin API is served over gRPC: what became of the
	// webhooks, and what is done in rooms. It takes the scope admin. "": nowhere.
	AdminListen string
	// TLSCertFile and TLSKeyFile are the certificate and key, as PEM, of gRPC,
	// HTTP and the admin API. They are read again when they change. "": plain
	// text.
	TLSCertFile, TLSKeyFile string
	// TLSClientCAFile has PEM certificates: a client certificate that they have
	// signed says who calls, as AuthFile has it; one that they have not is
	// refused, and none is needed. "": no client certificates.
	TLSClientCAFile string
	// TokensFile has the API tokens, as `classrecd token create` makes them. It
	// is read again when it changes. "": tokens.json in DataDir; then tokens are
	// needed from the first that is made.
	TokensFile string
	// AuthFile is a YAML file of issuers of JSON Web Tokens and of the holders of
	// client certificates; docs/security.md has all of it. "": no file.
	AuthFile string
	// InsecureNoAuth listens on any address without asking anybody who he is:
	// for a proxy in front that does.
	InsecureNoAuth bool
	// FilesBaseURL is what the URLs of recorded files begin with, for whoever
	// cannot reach HTTPListen by its own name; without a slash at its end.
	// "": http(s)://HTTPListen/files. Embedded platform only, or one's with
	// PlatformOnly.
	FilesBaseURL string

	// PublicFiles lets whoever knows a file's URL read it. Otherwise URLs are
	// signed where recordings are given out, and expire after FileLinkTTL (0: 6
	// h); without such a link, a credential with the scope list that sees the room
	// is needed. Embedded platform only.
	PublicFiles bool
	FileLinkTTL time.Duration
	// FileLinkKeyFile has the key of the links: 32 bytes in hex. A server whose
	// platform is another one's with PlatformOnly has the same file, and the same
	// FilesBaseURL. "": one is made and kept in DataDir.
	FileLinkKeyFile string

	// Doors bounds who may come, and RoomLimits what the embedded platform takes.
	Doors      Doors
	RoomLimits RoomLimits

	// DataDir keeps everything: the log, recordings, keys. It is made, and used
	// by one server at a time. "": ./data.
	DataDir string

	// EventRetention is for how long events can be resumed from, and
	// EventRetentionBytes how much of them is kept, about, as it is stored; the
	// state of recordings is not counted, and is kept for ever. 0: 720 h and
	// 1 GiB; negative: no bound.
	EventRetention      time.Duration
	EventRetentionBytes int64
	// SyncInterval is how often the database in DataDir is synced to the disk. A
	// power cut may lose what was acknowledged since; a killed process loses
	// nothing. 0: before each write is acknowledged.
	SyncInterval time.Duration

	// Database is a PostgreSQL database, version 13 or newer, that is used instead
	// of the SQLite database in DataDir:
	// postgres://user@host1,host2/name?target_session_attrs=read-write. Servers
	// that share one are replicas of one classrec: any of them serves any call.
	// They need a platform that they share too, and one SealKeyFile. "": the
	// database is in DataDir, and this is the only server.
	Database string
	// LeaseTTL is how long a replica may be silent until the others take its
	// rooms over. 0: 6 s.
	LeaseTTL time.Duration
	// SealKeyFile has the key that seals what the log must not show, such as
	// room passwords: 32 bytes in hex. "": one is made and kept in DataDir.
	SealKeyFile string

	// PlatformOnly serves the embedded platform and nothing else, for replicas
	// to be pointed at.
	PlatformOnly bool
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
	// NoCallbacks takes no callbacks of TalkCloud. Otherwise the path for them,
	// which cannot be guessed, is written to the file callback-path in DataDir. The
	// embedded platform makes none.
	NoCallbacks bool
	// TenantsFile is a YAML file of tenants, which are enterprises that share this
	// server and see nothing of each other; docs/tenants.md has all of it:
	//
	//	tenants:
	//	  school-a: {platform: "https://…", enterprise-key-file: /etc/classrec/a.key}
	//
	// Whoever calls is of the tenant that his credential names. What is said of the
	// platform is said there then, and not here. "": one tenant, default, made of
	// Platform and what belongs to it.
	TenantsFile string
	// EnterpriseKeyFile has the customer's key, which opens the record list.
	// "": for the embedded platform a key of its own, made once and kept in
	// DataDir; for TalkCloud an error.
	EnterpriseKeyFile string

	// RoomListen is where the embedded platform is served over https. "":
	// 127.0.0.1:8443. Unused with TalkCloud, as all that begins with Room.
	RoomListen string
	// RoomHTTPListen is where it is served over plain http. "": nowhere.
	RoomHTTPListen string
	// RoomCertFile and RoomKeyFile are its certificate and key, as PEM. They are read
	// again when they change. "": a self-signed one, made once and kept in DataDir.
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
	// RoomEmptyTimeout is how long a class goes on in a room of the embedded
	// platform that everybody has left; the service does not count. 0: 1 min.
	// Negative: it ends at once.
	RoomEmptyTimeout time.Duration
	// FFmpeg is the program that makes MP4, MP3 and MIX. "": ffmpeg in PATH;
	// where there is none, recordings that need it are refused.
	FFmpeg string
	// Conversions is how many recordings ffmpeg works on at once; the others
	// wait. 0: 1.
	Conversions int
	// FFmpegThreads is how many threads each of its encoders has. 0: 2.
	FFmpegThreads int
	// MP4Audio is the sound of MP4 files: "aac", or "opus", as it was recorded.
	// "": "aac". A mixed MP4 always has AAC.
	MP4Audio string

	// WebhooksFile is a YAML file of endpoints that are told what happens to
	// recordings; docs/webhooks.md has all of it:
	//
	//	endpoints:
	//	  - {name: crm, url: "https://crm.example/hooks", secrets: [whsec_…]}
	//
	// It has secrets: its mode is best 0600. Replicas have the same. "": no file.
	WebhooksFile string

	// MaxRecordings bounds how many recordings are live at once (STARTING, RECORDING
	// or STOPPING), MaxRooms in how many rooms the server works, MaxWatchers how many
	// streams of WatchClassBegin are open, and MaxCallsPerSecond how many calls are
	// taken in a second, each of StartRecording, WatchClassBegin, and GetRecording
	// with ListRecordings. What is over is refused. They are of all tenants together;
	// those of one are said in TenantsFile. StopRecording is never refused, nor is a
	// class that somebody begins in a room, though it counts. docs/tenants.md has all
	// of it. 0: 5,000, 10,000, 20,000 and 5,000; negative: no bound.
	MaxRecordings, MaxRooms, MaxWatchers int
	MaxCallsPerSecond                    float64

	// SkipFileCheck takes every file that the platform lists for one that can be
	// fetched, instead of asking for it: for a platform whose files need what this
	// server does not have.
	SkipFileCheck bool
	// MaxDuration bounds every class, also one begun in the room, and whatever a
	// request asks for. 0: 24 h.
	MaxDuration time.Duration
	// ProcessingTimeout is how long the platform may take from the end of a
	// class to its files. 0: 2 h.
	ProcessingTimeout time.Duration
	// PollMin and PollMax bound the pause between two looks for the files of a
	// class that is over; it doubles from the first to the second. 0: 200 ms and
	// 30 s.
	PollMin, PollMax time.Duration
	// SettleTime is for how long TalkCloud must list the same files, where it is
	// not asked when a recording is finished (RichRecordList). 0: 30 s.
	SettleTime time.Duration
	// ShutdownTimeout is how long stopping may take. Calls in flight get three
	// tenths of it; what has not stopped at its end is left, and told of. 0: 9 s.
	ShutdownTimeout time.Duration

	// Rehearsal is for package servertest and for classrecd --scenario, which alone
	// can make one: time that can be moved on, and an embedded platform with which
	// things go wrong. nil: the real thing.
	Rehearsal *rehearsal.Rehearsal

	// TraceEndpoint is where traces are sent by OTLP over gRPC, as
	// http://127.0.0.1:4317, or https with the system's roots; "": nowhere. The
	// path does not count. TraceRatio is how many of the traces that begin here are,
	// above 0 to 1; 0: all, negative: none. Of those that callers began, what they say.
	TraceEndpoint string
	TraceRatio    float64
	// AuditLog is a file to which a line of JSON is appended for each call: who did
	// what to which recording, from where, and with what result. docs/observability.md
	// has its fields. "": none.
	AuditLog string

	// Logger gets what an operator wants to know, without secrets. nil discards.
	Logger *slog.Logger

	tenants []tenantConfig // by name; made of the rest
}

func (c Config) withDefaults() Config {
	c.GRPCListen = cmp.Or(c.GRPCListen, "127.0.0.1:9090")
	c.HTTPListen = cmp.Or(c.HTTPListen, "127.0.0.1:8080")
	c.Doors = c.Doors.withDefaults()
	c.RoomLimits = c.RoomLimits.withDefaults()
	c.DataDir = cmp.Or(c.DataDir, "data")
	c.Platform = cmp.Or(c.Platform, Embedded)
	c.RoomListen = cmp.Or(c.RoomListen, "127.0.0.1:8443")
	c.MaxDuration = cmp.Or(c.MaxDuration, 24*time.Hour)
	c.RoomEmptyTimeout = cmp.Or(c.RoomEmptyTimeout, time.Minute)
	c.ProcessingTimeout = cmp.Or(c.ProcessingTimeout, 2*time.Hour)
	c.ShutdownTimeout = cmp.Or(c.ShutdownTimeout, 9*time.Second)
	c.EventRetention = cmp.Or(c.EventRetention, 720*time.Hour)
	c.EventRetentionBytes = cmp.Or(c.EventRetentionBytes, 1<<30)
	c.FileLinkTTL = cmp.Or(c.FileLinkTTL, 6*time.Hour)
	c.LeaseTTL = cmp.Or(c.LeaseTTL, 6*time.Second)
	c.MaxRecordings = cmp.Or(c.MaxRecordings, 5000)
	c.MaxRooms = cmp.Or(c.MaxRooms, 10_000)
	c.MaxWatchers = cmp.Or(c.MaxWatchers, 20_000)
	c.MaxCallsPerSecond = cmp.Or(c.MaxCallsPerSecond, 5000)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// embedded tells whether the embedded platform is served. The tenants are known
// by then.
func (c Config) embedded() bool { return slices.ContainsFunc(c.tenants, tenantConfig.embedded) }

// validate finds what makes no sense, and names the flag that says it.
func (c Config) validate() error {
	errs := c.validateReplica()
	errs = append(errs, c.Doors.validate()...)
	errs = append(errs, c.RoomLimits.validate()...)
	if c.Conversions < 0 || c.FFmpegThreads < 0 {
		errs = append(errs, errors.New("--conversions and --ffmpeg-threads: must not be negative"))
	}
	if !slices.Contains([]string{"", "aac", "opus"}, c.MP4Audio) {
		errs = append(errs, fmt.Errorf("--mp4-audio: %q is not aac or opus", c.MP4Audio))
	}
	if c.FilesBaseURL != "" {
		if err := checkURL(c.FilesBaseURL); err != nil {
			errs = append(errs, fmt.Errorf("--files-base-url: %w", err))
		}
	}
	if (c.RoomCertFile == "") != (c.RoomKeyFile == "") {
		errs = append(errs, errors.New("--room-cert-file and --room-key-file: give both or neither"))
	}
	if c.Rehearsal != nil && (!c.embedded() || c.PlatformOnly) {
		errs = append(errs, errors.New("--scenario: needs the service together with its embedded platform"))
	}
	if c.PlatformOnly && c.WebhooksFile != "" {
		errs = append(errs, errors.New("--webhooks-file: --platform-only has no recordings"))
	}
	if c.StrictRooms && c.RoomsFile == "" {
		errs = append(errs, errors.New("--strict-rooms: needs --rooms-file"))
	}
	errs = append(errs, c.validateAuth()...)
	for _, ip := range c.RoomPublicIPs {
		if _, err := netip.ParseAddr(ip); err != nil {
			errs = append(errs, fmt.Errorf("--room-public-ip: %w", err))
		}
	}
	if c.SyncInterval < 0 {
		errs = append(errs, errors.New("--sync: is negative"))
	}
	if c.TenantsFile != "" && c.MaxDuration < 0 { // else the one tenant's is looked at
		errs = append(errs, errors.New("--max-duration: is negative"))
	}
	if c.ProcessingTimeout < 0 {
		errs = append(errs, errors.New("--processing-timeout: is negative"))
	}
	if c.ShutdownTimeout < 0 {
		errs = append(errs, errors.New("--shutdown-timeout: is negative"))
	}
	return errors.Join(errs...)
}

// validateReplica finds what makes no sense of several processes.
func (c Config) validateReplica() (errs []error) {
	if c.PlatformOnly && !c.embedded() {
		errs = append(errs, errors.New("--platform-only: serves the embedded platform; it goes without --platform"))
	}
	if c.PlatformOnly && c.Database != "" {
		errs = append(errs, errors.New("--platform-only: keeps no recordings; it goes without --database"))
	}
	if c.Database == "" {
		return errs
	}
	if c.embedded() && !c.PlatformOnly {
		errs = append(errs, errors.New("--database: replicas need a --platform that they share: TalkCloud, or one process with --platform-only"))
	}
	if u, err := url.Parse(c.Database); err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Host == "" {
		errs = append(errs, errors.New("--database: is not postgres://user@host/name")) // there may be a password in it
	}
	if c.SealKeyFile == "" {
		errs = append(errs, errors.New("--seal-key-file: needed with --database; all replicas have the same (openssl rand -hex 32)"))
	}
	if c.LeaseTTL < time.Second || c.LeaseTTL > time.Minute {
		errs = append(errs, errors.New("--lease-ttl: is not between 1s and 1m"))
	}
	if c.SyncInterval > 0 {
		errs = append(errs, errors.New("--sync: is for the database in --data-dir; that of --database has its own setting (synchronous_commit)"))
	}
	return errs
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
