// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/alecthomas/kong"

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
}

// serverFlags become the server's configuration; their order is that of the
// help.
type serverFlags struct {
	GRPCListen   string `name:"grpc-listen" default:"127.0.0.1:9090" placeholder:"HOST:PORT" help:"Where gRPC is served, in plain text (${default})." group:"api"`
	HTTPListen   string `name:"http-listen" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where REST, /openapi.json, /healthz, /readyz, /metrics and recorded files are served (${default})." group:"api"`
	FilesBaseURL string `name:"files-base-url" placeholder:"URL" help:"What URLs of recorded files begin with, where it is not http://HTTP-LISTEN/files." group:"api"`

	DataDir string `name:"data-dir" default:"./data" placeholder:"DIR" help:"Keeps everything: the log, recordings, keys (${default})." group:"store"`

	Platform          string            `default:"embedded" placeholder:"URL" help:"The platform: 'embedded', or https://host:port of TalkCloud (${default})." group:"platform"`
	PlatformCAFile    string            `name:"platform-ca-file" placeholder:"FILE" help:"PEM certificates to trust for a private platform, beside the system's." group:"platform"`
	CheckroomParam    map[string]string `name:"checkroom-param" placeholder:"KEY=VALUE" help:"Added to the form of every checkroom (domain, type, path or what the platform wants). Repeatable, or separated by ;." group:"platform"`
	RecordListURL     string            `name:"record-list-url" placeholder:"URL" help:"Where the record list lives, when not at --platform. Plain http only when written so." group:"platform"`
	RichRecordList    bool              `name:"rich-record-list" help:"Ask WebAPI/getrecordlist too, which says more of each recording." group:"platform"`
	EnterpriseKeyFile string            `name:"enterprise-key-file" placeholder:"FILE" help:"The customer's key, which opens the record list. Embedded: one is made and kept in --data-dir." group:"platform"`

	RoomListen     string   `name:"room-listen" default:"127.0.0.1:8443" placeholder:"HOST:PORT" help:"Where the embedded room server is served over https (${default})." group:"room"`
	RoomHTTPListen string   `name:"room-http-listen" placeholder:"HOST:PORT" help:"Where it is served over plain http too." group:"room"`
	RoomCertFile   string   `name:"room-cert-file" placeholder:"FILE" help:"Its certificate, as PEM. Without: a self-signed one is made at first start and kept in --data-dir." group:"room"`
	RoomKeyFile    string   `name:"room-key-file" placeholder:"FILE" help:"The key of --room-cert-file." group:"room"`
	RoomUDPListen  string   `name:"room-udp-listen" default:"127.0.0.1:0" placeholder:"HOST:PORT" help:"Where it takes media over UDP (${default})." group:"room"`
	RoomPublicIP   []string `name:"room-public-ip" placeholder:"IP" help:"Announced to publishers instead of the local address, behind 1:1 NAT. Repeatable." group:"room"`
	RoomsFile      string   `name:"rooms-file" placeholder:"FILE" help:"YAML file of rooms with passwords, mode 0600: rooms: {'42': {name: Maths, passwords: {teacher: …, student: …}}}. Roles: teacher, assistant, student, auditor, patrol. A room without passwords is open." group:"room"`
	StrictRooms    bool     `name:"strict-rooms" help:"There are no rooms but those of --rooms-file." group:"room"`
	FFmpeg         string   `name:"ffmpeg" placeholder:"FILE" help:"The ffmpeg that makes MP4, MP3 and MIX; without: the one in PATH." group:"room"`

	Config            kong.ConfigFlag `placeholder:"FILE" help:"YAML file with flags as keys." group:"general"`
	ProcessingTimeout time.Duration   `name:"processing-timeout" default:"2h" placeholder:"DURATION" help:"How long the platform may take from the end of a class to its files (${default})." group:"general"`
	ShutdownTimeout   time.Duration   `name:"shutdown-timeout" default:"10s" placeholder:"DURATION" help:"How long stopping may take (${default})." group:"general"`
	LogFormat         string          `name:"log-format" enum:"text,json" default:"text" placeholder:"FORMAT" help:"Log to stderr as ${enum} (${default})." group:"general"`
	LogLevel          slog.Level      `name:"log-level" default:"info" placeholder:"LEVEL" help:"Least level that is logged: debug, info, warn or error (${default})." group:"general"`
}

func groups() []kong.Group {
	return []kong.Group{
		{Key: "api", Title: "API:"},
		{Key: "store", Title: "Store:"},
		{Key: "platform", Title: "Platform:"},
		{Key: "room", Title: "Embedded room server (unused with another --platform):"},
		{Key: "general", Title: "General:"},
	}
}

// config is the flags as the server takes them.
func (f *serverFlags) config() server.Config {
	return server.Config{
		GRPCListen:        f.GRPCListen,
		HTTPListen:        f.HTTPListen,
		FilesBaseURL:      f.FilesBaseURL,
		DataDir:           f.DataDir,
		Platform:          f.Platform,
		PlatformCAFile:    f.PlatformCAFile,
		CheckroomParams:   f.CheckroomParam,
		RecordListURL:     f.RecordListURL,
		RichRecordList:    f.RichRecordList,
		EnterpriseKeyFile: f.EnterpriseKeyFile,
		RoomListen:        f.RoomListen,
		RoomHTTPListen:    f.RoomHTTPListen,
		RoomCertFile:      f.RoomCertFile,
		RoomKeyFile:       f.RoomKeyFile,
		RoomUDPListen:     f.RoomUDPListen,
		RoomPublicIPs:     f.RoomPublicIP,
		RoomsFile:         f.RoomsFile,
		StrictRooms:       f.StrictRooms,
		FFmpeg:            f.FFmpeg,
		ProcessingTimeout: f.ProcessingTimeout,
		ShutdownTimeout:   f.ShutdownTimeout,
	}
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
