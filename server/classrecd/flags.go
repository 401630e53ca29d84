// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/alecthomas/kong"
	mangokong "github.com/alecthomas/mango-kong"

	"github.com/classrec/classrec/server"
)

const description = `The classrec server: records classes in TalkCloud rooms, over gRPC and REST.

Without flags it runs with its own, embedded room server, all on loopback, and keeps its data in ./data.
Each flag is also an environment variable, as shown, and a key of the YAML file given with --config (grpc-listen: …).
A flag goes before the environment, and this before the file.`

// flags are all of classrecd's.
type flags struct {
	serverFlags

	Serve serveCommand `cmd:"" default:"1" help:"Run the server (this is the default)."`
	Demo  demoCommand  `cmd:"" help:"Start the server, record a class with a synthetic teacher and student, and check the files."`
	Token tokenCommand `cmd:"" help:"Make, list and revoke API tokens."`

	Backup backupCommand `cmd:"" help:"Copy the database of --data-dir into a new file, also while the server runs."`
	Check  checkCommand  `cmd:"" help:"Read the whole database and say what is damaged, also while the server runs."`

	Config  configCommand  `cmd:"" name:"config" help:"Print a file for --config with every key, commented out."`
	Version versionCommand `cmd:"" help:"Print what this program was built of."`

	ShowVersion versionFlag       `name:"version" env:"-" help:"Print the version and exit."`
	Man         mangokong.ManFlag `hidden:"" env:"-" help:"Print the manual page and exit."`
}

// serverFlags become the server's configuration; their order is that of the
// help.
type serverFlags struct {
	doorFlags
	roomLimitFlags

	GRPCListen      string `name:"grpc-listen" default:"127.0.0.1:9090" placeholder:"HOST:PORT" help:"Where gRPC is served (${default})." group:"api"`
	HTTPListen      string `name:"http-listen" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where REST, /openapi.json, /healthz, /readyz, /metrics and recorded files are served (${default})." group:"api"`
	AdminListen     string `name:"admin-listen" default:"127.0.0.1:9091" placeholder:"HOST:PORT" help:"Where the admin API is served over gRPC: what became of webhooks (${default}). Empty: nowhere." group:"api"`
	TLSCertFile     string `name:"tls-cert-file" placeholder:"FILE" help:"The certificate of gRPC, HTTP and the admin API, as PEM; without: plain text. Read again when it changes." group:"auth"`
	TLSKeyFile      string `name:"tls-key-file" placeholder:"FILE" help:"The key of --tls-cert-file." group:"auth"`
	TLSClientCAFile string `name:"tls-client-ca-file" placeholder:"FILE" help:"PEM certificates that sign those of clients; who a client is then says --auth-file." group:"auth"`
	TokensFile      string `name:"tokens-file" placeholder:"FILE" help:"The API tokens of 'classrecd token'; without: tokens.json in --data-dir, once it is there. Read again when it changes." group:"auth"`
	AuthFile        string `name:"auth-file" placeholder:"FILE" help:"YAML file of the issuers of JSON Web Tokens and the holders of client certificates." group:"auth"`
	InsecureNoAuth  bool   `name:"insecure-no-auth" help:"Ask nobody who he is, whatever address is listened on. For a proxy in front that does; never for a network." group:"auth"`

	FilesBaseURL string `name:"files-base-url" placeholder:"URL" help:"What URLs of recorded files begin with, where it is not http://HTTP-LISTEN/files." group:"api"`

	PublicFiles     bool          `name:"public-files" help:"Let whoever knows a file's URL read it, for ever. Otherwise URLs are signed and expire." group:"auth"`
	FileLinkTTL     time.Duration `name:"file-link-ttl" default:"6h" placeholder:"DURATION" help:"How long the signed URL of a file is good (${default})." group:"auth"`
	FileLinkKeyFile string        `name:"file-link-key-file" placeholder:"FILE" help:"The key that signs URLs of files, 32 bytes in hex; the same for a --platform-only process and its replicas, which need its --files-base-url too. Without: one is made and kept in --data-dir." group:"auth"`

	DataDir string `name:"data-dir" default:"./data" placeholder:"DIR" help:"Keeps everything: the database, recordings, keys (${default})." group:"store"`

	EventRetention      time.Duration `name:"event-retention" default:"720h" placeholder:"DURATION" help:"For how long watchers can resume from an event; 0 is for ever (${default})." group:"store"`
	EventRetentionBytes byteSize      `name:"event-retention-bytes" default:"1GiB" placeholder:"SIZE" help:"How much of past events is kept, about; 0 is no bound (${default})." group:"store"`
	Sync                syncInterval  `default:"always" placeholder:"WHEN" help:"When the database in --data-dir is synced to the disk: 'always', before a write is acknowledged, or every DURATION, which a power cut may lose (${default})." group:"store"`

	Database    string        `placeholder:"URL" help:"Use this PostgreSQL database (postgres://user@host1,host2/name?target_session_attrs=read-write), as one of several replicas, instead of SQLite in --data-dir. The password is best left to PGPASSFILE." group:"store"`
	LeaseTTL    time.Duration `name:"lease-ttl" default:"6s" placeholder:"DURATION" help:"How long a replica may be silent until the others take its rooms over (${default})." group:"store"`
	SealKeyFile string        `name:"seal-key-file" placeholder:"FILE" help:"The key that seals room passwords in the database, 32 bytes in hex; the same for all replicas. Without --database one is made and kept in --data-dir." group:"store"`

	Platform          string            `default:"embedded" placeholder:"URL" help:"The platform: 'embedded', or https://host:port of TalkCloud (${default})." group:"platform"`
	PlatformCAFile    string            `name:"platform-ca-file" placeholder:"FILE" help:"PEM certificates to trust for a private platform, beside the system's." group:"platform"`
	CheckroomParam    map[string]string `name:"checkroom-param" placeholder:"KEY=VALUE" help:"Added to the form of every checkroom (domain, type, path or what the platform wants). Repeatable, or separated by ;." group:"platform"`
	RecordListURL     string            `name:"record-list-url" placeholder:"URL" help:"Where the record list lives, when not at --platform. Plain http only when written so." group:"platform"`
	RichRecordList    bool              `name:"rich-record-list" help:"Ask WebAPI/getrecordlist too, which says more of each recording." group:"platform"`
	SkipFileCheck     bool              `name:"skip-file-check" help:"Take listed files for fetchable without asking for each, where they need what classrecd does not have." group:"platform"`
	NoCallbacks       bool              `name:"no-callbacks" help:"Do not take the platform's callbacks. Otherwise, give the vendor the path in the file callback-path of --data-dir." group:"platform"`
	EnterpriseKeyFile string            `name:"enterprise-key-file" placeholder:"FILE" help:"The customer's key, which opens the record list. Embedded: one is made and kept in --data-dir." group:"platform"`
	TenantsFile       string            `name:"tenants-file" placeholder:"FILE" help:"YAML file of tenants, each with its own platform and key, instead of --platform and what belongs to it: tenants: {school-a: {platform: 'https://…', enterprise-key-file: FILE}}." group:"platform"`

	PlatformOnly   bool          `name:"platform-only" help:"Serve the embedded room server and its files, and nothing else: a platform for replicas." group:"room"`
	RoomListen     string        `name:"room-listen" default:"127.0.0.1:8443" placeholder:"HOST:PORT" help:"Where the embedded room server is served over https (${default})." group:"room"`
	RoomHTTPListen string        `name:"room-http-listen" placeholder:"HOST:PORT" help:"Where it is served over plain http too." group:"room"`
	RoomCertFile   string        `name:"room-cert-file" placeholder:"FILE" help:"Its certificate, as PEM; read again when it changes. Without: a self-signed one is made at first start and kept in --data-dir." group:"room"`
	RoomKeyFile    string        `name:"room-key-file" placeholder:"FILE" help:"The key of --room-cert-file." group:"room"`
	RoomUDPListen  string        `name:"room-udp-listen" default:"127.0.0.1:0" placeholder:"HOST:PORT" help:"Where it takes media over UDP (${default})." group:"room"`
	RoomPublicIP   []string      `name:"room-public-ip" placeholder:"IP" help:"Announced to publishers instead of the local address, behind 1:1 NAT. Repeatable." group:"room"`
	RoomsFile      string        `name:"rooms-file" placeholder:"FILE" help:"YAML file of rooms with passwords, mode 0600: rooms: {'42': {name: Maths, passwords: {teacher: …, student: …}}}. Roles: teacher, assistant, student, auditor, patrol. A room without passwords is open." group:"room"`
	StrictRooms    bool          `name:"strict-rooms" help:"There are no rooms but those of --rooms-file and those made by WebAPI/roomcreate." group:"room"`
	RoomEmpty      time.Duration `name:"room-empty-timeout" default:"60s" placeholder:"DURATION" help:"How long a class goes on in a room that everybody has left (${default}); the service does not count; 0 ends it at once." group:"room"`
	FFmpeg         string        `name:"ffmpeg" placeholder:"FILE" help:"The ffmpeg that makes MP4, MP3 and MIX; without: the one in PATH." group:"room"`
	Conversions    int           `name:"conversions" default:"1" placeholder:"N" help:"Number of recordings converted at a time; others wait (${default})." group:"room"`
	FFmpegThreads  int           `name:"ffmpeg-threads" default:"2" placeholder:"N" help:"Number of threads of each ffmpeg encoder (${default})." group:"room"`
	MP4Audio       string        `name:"mp4-audio" env:"CLASSREC_MP4_AUDIO" default:"aac" enum:"aac,opus" placeholder:"CODEC" help:"The sound of MP4 files: aac, which everything plays, or opus, as it was recorded, which Safari before 17 and QuickTime do not play in MP4 (${default})." group:"room"`
	Scenario       string        `placeholder:"FILE" help:"For tests: play from this YAML file what people do in rooms, what goes wrong with the platform, and how time moves on; docs/scenario.md has the format." group:"room"`

	WebhooksFile string `name:"webhooks-file" placeholder:"FILE" help:"YAML file of endpoints that are told of recordings, mode 0600: endpoints: [{name: crm, url: 'https://…', secrets: [whsec_…]}]." group:"webhooks"`

	MaxRecordings     int     `name:"max-recordings" default:"5000" placeholder:"N" help:"How many recordings may be live at once, of all tenants; 0 is no bound (${default})." group:"admission"`
	MaxRooms          int     `name:"max-rooms" default:"10000" placeholder:"N" help:"In how many rooms the server works at once; 0 is no bound (${default})." group:"admission"`
	MaxWatchers       int     `name:"max-watchers" default:"20000" placeholder:"N" help:"How many streams of WatchClassBegin may be open; 0 is no bound (${default})." group:"admission"`
	MaxCallsPerSecond float64 `name:"max-calls-per-second" default:"5000" placeholder:"N" help:"How many calls are taken in a second: of StartRecording, of WatchClassBegin, and of those that read; 0 is no bound (${default})." group:"admission"`

	Config            kong.ConfigFlag `placeholder:"FILE" help:"YAML file with flags as keys." group:"general"`
	MaxDuration       time.Duration   `name:"max-duration" default:"24h" placeholder:"DURATION" help:"How long any class may last, whoever began it; then it is ended (${default})." group:"general"`
	ProcessingTimeout time.Duration   `name:"processing-timeout" default:"2h" placeholder:"DURATION" help:"How long the platform may take from the end of a class to its files (${default})." group:"general"`
	ShutdownTimeout   time.Duration   `name:"shutdown-timeout" default:"9s" placeholder:"DURATION" help:"How long stopping may take (${default})." group:"general"`
	TraceEndpoint     string          `name:"otlp-endpoint" placeholder:"URL" env:"CLASSREC_OTLP_ENDPOINT,OTEL_EXPORTER_OTLP_ENDPOINT" help:"Send traces there by OTLP over gRPC, as http://127.0.0.1:4317. Nothing is sent without it." group:"general"`
	TraceRatio        ratio           `name:"otlp-ratio" placeholder:"0..1" default:"1" help:"How many of the traces that begin here are sent; callers decide about theirs." group:"general"`
	AuditLog          string          `name:"audit-log" placeholder:"FILE" help:"Append a line of JSON to this file for each call: who did what to which recording, from where, with what result. Made with mode 0600; made anew when it is renamed away." group:"general"`
	LogFormat         string          `name:"log-format" enum:"text,json" default:"text" placeholder:"FORMAT" help:"Log to stderr as ${enum} (${default})." group:"general"`
	LogLevel          slog.Level      `name:"log-level" default:"info" placeholder:"LEVEL" help:"Least level that is logged: debug, info, warn or error (${default})." group:"general"`
}

func groups() []kong.Group {
	return []kong.Group{
		{Key: "api", Title: "API:"},
		{Key: "auth", Title: "Who may do what:"},
		{Key: "store", Title: "Store:"},
		{Key: "platform", Title: "Platform:"},
		{Key: "room", Title: "Embedded room server (unused with another --platform):"},
		{Key: "limits", Title: "Limits:"},
		{Key: "webhooks", Title: "Webhooks:"},
		{Key: "admission", Title: "Limits of what may be begun (what is over is refused; stopping never is):"},
		{Key: "general", Title: "General:"},
	}
}

// config is the flags as the server takes them.
func (f *serverFlags) config() server.Config {
	return server.Config{
		GRPCListen:          f.GRPCListen,
		HTTPListen:          f.HTTPListen,
		AdminListen:         f.AdminListen,
		TLSCertFile:         f.TLSCertFile,
		TLSKeyFile:          f.TLSKeyFile,
		TLSClientCAFile:     f.TLSClientCAFile,
		TokensFile:          f.TokensFile,
		AuthFile:            f.AuthFile,
		InsecureNoAuth:      f.InsecureNoAuth,
		FilesBaseURL:        f.FilesBaseURL,
		PublicFiles:         f.PublicFiles,
		FileLinkTTL:         f.FileLinkTTL,
		FileLinkKeyFile:     f.FileLinkKeyFile,
		Doors:               f.doors(),
		RoomLimits:          f.limits(),
		DataDir:             f.DataDir,
		EventRetention:      orForever(f.EventRetention),
		EventRetentionBytes: int64(orForever(f.EventRetentionBytes)),
		SyncInterval:        time.Duration(f.Sync),
		Database:            f.Database,
		LeaseTTL:            f.LeaseTTL,
		SealKeyFile:         f.SealKeyFile,
		PlatformOnly:        f.PlatformOnly,
		Platform:            f.Platform,
		PlatformCAFile:      f.PlatformCAFile,
		CheckroomParams:     f.CheckroomParam,
		RecordListURL:       f.RecordListURL,
		RichRecordList:      f.RichRecordList,
		SkipFileCheck:       f.SkipFileCheck,
		TenantsFile:         f.TenantsFile,
		NoCallbacks:         f.NoCallbacks,
		EnterpriseKeyFile:   f.EnterpriseKeyFile,
		RoomListen:          f.RoomListen,
		RoomHTTPListen:      f.RoomHTTPListen,
		RoomCertFile:        f.RoomCertFile,
		RoomKeyFile:         f.RoomKeyFile,
		RoomUDPListen:       f.RoomUDPListen,
		RoomPublicIPs:       f.RoomPublicIP,
		RoomsFile:           f.RoomsFile,
		StrictRooms:         f.StrictRooms,
		RoomEmptyTimeout:    orForever(f.RoomEmpty),
		FFmpeg:              f.FFmpeg,
		Conversions:         f.Conversions,
		FFmpegThreads:       f.FFmpegThreads,
		MP4Audio:            f.MP4Audio,
		WebhooksFile:        f.WebhooksFile,
		MaxRecordings:       orForever(f.MaxRecordings),
		MaxRooms:            orForever(f.MaxRooms),
		MaxWatchers:         orForever(f.MaxWatchers),
		MaxCallsPerSecond:   orForever(f.MaxCallsPerSecond),
		MaxDuration:         f.MaxDuration,
		ProcessingTimeout:   f.ProcessingTimeout,
		ShutdownTimeout:     f.ShutdownTimeout,
		TraceEndpoint:       f.TraceEndpoint,
		TraceRatio:          float64(f.TraceRatio),
		AuditLog:            f.AuditLog,
	}
}

// help prints what concerns the command: of the server's flags, `classrecd token`
// knows where things are, and no more.
func help(options kong.HelpOptions, ctx *kong.Context) error {
	command := ctx.Selected()
	for command != nil && command.Name != "token" {
		command = command.Parent
	}
	if command != nil {
		for _, flag := range ctx.Model.Flags {
			ofServer := flag.Group != nil
			flag.Hidden = ofServer && !slices.Contains([]string{"data-dir", "tokens-file", "config"}, flag.Name)
		}
	}
	return kong.DefaultHelpPrinter(options, ctx)
}

// parse reads the command line, the environment and the file. A nil context:
// there is nothing to run, and the program is to exit with the code.
func parse(args []string, stdout, stderr io.Writer) (*flags, *kong.Context, int) {
	f := new(flags)
	exited := -1
	parser, err := kong.New(f,
		kong.Name("classrecd"),
		kong.Description(description),
		kong.ExplicitGroups(groups()),
		kong.DefaultEnvars("CLASSREC"),
		kong.Configuration(loadYAML),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Help(help),
	)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "classrecd:", err)
		return nil, nil, 1
	}
	ctx, err := parser.Parse(args)
	if exited >= 0 { // --help has been printed
		return nil, nil, exited
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "classrecd: %v\nSee classrecd --help.\n", err)
		return nil, nil, 2
	}
	return f, ctx, 0
}
