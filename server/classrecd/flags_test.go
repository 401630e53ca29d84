// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/classrec/classrec/server"
)

var update = flag.Bool("update", false, "write the golden files anew")

// mustParse parses a command line that is right.
func mustParse(t *testing.T, args ...string) *flags {
	t.Helper()
	var stdout, stderr bytes.Buffer
	f, ctx, code := parse(args, &stdout, &stderr)
	if ctx == nil {
		t.Fatalf("exit %d: %s%s", code, &stdout, &stderr)
	}
	return f
}

// yamlFileOf writes a configuration file.
func yamlFileOf(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "classrec.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// noEnvironment takes away what the machine's environment says.
func noEnvironment(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, value, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "CLASSREC_") {
			t.Setenv(name, value) // puts it back
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	noEnvironment(t)
	f := mustParse(t)
	want := server.Config{
		GRPCListen: "127.0.0.1:9090", HTTPListen: "127.0.0.1:8080", AdminListen: "127.0.0.1:9091", DataDir: "./data", Platform: server.Embedded,
		RoomListen: "127.0.0.1:8443", RoomUDPListen: "127.0.0.1:0", RoomEmptyTimeout: time.Minute, Conversions: 1, FFmpegThreads: 2, MP4Audio: "aac",
		Doors: server.Doors{MaxConnections: 10_000, RoomMaxConnections: 60_000}, RoomLimits: roomLimits(), TraceRatio: 1,
		FileLinkTTL:    6 * time.Hour,
		EventRetention: 720 * time.Hour, EventRetentionBytes: 1 << 30,
		LeaseTTL:      6 * time.Second,
		MaxRecordings: 5000, MaxRooms: 10_000, MaxWatchers: 20_000, MaxCallsPerSecond: 5000,
		MaxDuration: 24 * time.Hour, ProcessingTimeout: 2 * time.Hour, ShutdownTimeout: 9 * time.Second,
	}
	if diff := cmp.Diff(want, f.config(), cmpopts.IgnoreUnexported(server.Config{}, server.RoomLimits{})); diff != "" {
		t.Error(diff)
	}
	if f.LogLevel != slog.LevelInfo || f.LogFormat != "text" {
		t.Errorf("log %s %s", f.LogFormat, f.LogLevel)
	}
}

// roomLimits are the defaults.
func roomLimits() server.RoomLimits {
	return server.RoomLimits{
		MaxRooms: 20_000, MaxParticipants: 50_000, MaxPerRoom: 5_000, MaxMessageBytes: 1 << 20, MessagesPerSecond: 300, ClassesPerMinute: 10,
		MaxSavedMessages: 1_000, MaxSavedBytes: 4 << 20, MaxPublishers: 2_000, MaxStreams: 4, MinFree: 256 << 20,
	}
}

// A flag goes before the environment, this before the file, and this before
// the default.
func TestPrecedence(t *testing.T) {
	noEnvironment(t)
	file := yamlFileOf(t, "grpc-listen: file:1\nhttp-listen: file:2\ndata-dir: file\n")
	t.Setenv("CLASSREC_GRPC_LISTEN", "env:1")
	t.Setenv("CLASSREC_HTTP_LISTEN", "env:2")
	for _, tc := range []struct {
		name string
		args []string
		env  map[string]string
	}{
		{"file by flag", []string{"--config", file, "--grpc-listen=flag:1"}, nil},
		{"file by environment", []string{"--grpc-listen=flag:1"}, map[string]string{"CLASSREC_CONFIG": file}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for name, value := range tc.env {
				t.Setenv(name, value)
			}
			got := mustParse(t, tc.args...).config()
			if got.GRPCListen != "flag:1" || got.HTTPListen != "env:2" || got.DataDir != "file" || got.RoomListen != "127.0.0.1:8443" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// Every way of giving every kind of flag means the same.
func TestSources(t *testing.T) {
	noEnvironment(t)
	want := server.Config{
		GRPCListen: "127.0.0.1:1", HTTPListen: "127.0.0.1:8080", AdminListen: "127.0.0.1:9091", DataDir: "./data", Platform: "https://platform.example:443",
		CheckroomParams: map[string]string{"domain": "x", "type": "3"}, RichRecordList: true,
		RoomListen: "127.0.0.1:8443", RoomUDPListen: "127.0.0.1:0", RoomPublicIPs: []string{"192.0.2.1", "192.0.2.2"},
		RoomsFile: "rooms.yaml", StrictRooms: true, RoomEmptyTimeout: time.Minute, WebhooksFile: "webhooks.yaml",
		Doors: server.Doors{MaxConnections: 10_000, RoomMaxConnections: 60_000}, RoomLimits: roomLimits(), TraceRatio: 1,
		FileLinkTTL:    6 * time.Hour,
		EventRetention: 720 * time.Hour, EventRetentionBytes: 1 << 30,
		LeaseTTL:      6 * time.Second,
		MaxRecordings: 5000, MaxRooms: 10_000, MaxWatchers: 20_000, MaxCallsPerSecond: 5000, Conversions: 1, FFmpegThreads: 2, MP4Audio: "aac",
		MaxDuration: 24 * time.Hour, ProcessingTimeout: 90 * time.Minute, ShutdownTimeout: 9 * time.Second,
	}
	check := func(t *testing.T, f *flags) {
		t.Helper()
		if diff := cmp.Diff(want, f.config(), cmpopts.IgnoreUnexported(server.Config{}, server.RoomLimits{})); diff != "" {
			t.Error(diff)
		}
		if f.LogLevel != slog.LevelDebug {
			t.Errorf("log level %v", f.LogLevel)
		}
	}
	t.Run("flags", func(t *testing.T) {
		check(t, mustParse(t, "--grpc-listen", "127.0.0.1:1", "--platform=https://platform.example:443",
			"--checkroom-param", "domain=x", "--checkroom-param=type=3", "--rich-record-list",
			"--room-public-ip=192.0.2.1", "--room-public-ip=192.0.2.2", "--rooms-file=rooms.yaml", "--strict-rooms", "--webhooks-file=webhooks.yaml", "--processing-timeout=90m", "--log-level=debug"))
	})
	t.Run("file", func(t *testing.T) {
		check(t, mustParse(t, "--config", yamlFileOf(t, `
grpc_listen: 127.0.0.1:1
platform: https://platform.example:443
checkroom-param: {domain: x, type: 3}
rich-record-list: true
room-public-ip: [192.0.2.1, 192.0.2.2]
rooms-file: rooms.yaml
strict-rooms: true
webhooks-file: webhooks.yaml
processing-timeout: 1h30m
log-level: debug
room-http-listen:
`)))
	})
	t.Run("environment", func(t *testing.T) {
		for name, value := range map[string]string{
			"CLASSREC_GRPC_LISTEN": "127.0.0.1:1", "CLASSREC_PLATFORM": "https://platform.example:443",
			"CLASSREC_CHECKROOM_PARAM": "domain=x;type=3", "CLASSREC_RICH_RECORD_LIST": "true",
			"CLASSREC_ROOM_PUBLIC_IP": "192.0.2.1,192.0.2.2", "CLASSREC_ROOMS_FILE": "rooms.yaml", "CLASSREC_STRICT_ROOMS": "true", "CLASSREC_WEBHOOKS_FILE": "webhooks.yaml",
			"CLASSREC_PROCESSING_TIMEOUT": "90m", "CLASSREC_LOG_LEVEL": "debug",
		} {
			t.Setenv(name, value)
		}
		check(t, mustParse(t))
	})
}

func TestWrongUsage(t *testing.T) {
	noEnvironment(t)
	for _, tc := range []struct {
		name, want string
		args       []string
	}{
		{"unknown flag", "unknown flag --grpc", []string{"--grpc=x"}},
		{"bad duration", "--shutdown-timeout", []string{"--shutdown-timeout=soon"}},
		{"bad level", "--log-level", []string{"--log-level=loud"}},
		{"bad format", "--log-format", []string{"--log-format=xml"}},
		{"bad parameter", "--checkroom-param", []string{"--checkroom-param=domain"}},
		{"no such file", "no such file", []string{"--config", filepath.Join(t.TempDir(), "none")}},
		{"unknown setting", "unknown setting grpc-lisen, log", []string{"--config", yamlFileOf(t, "grpc_lisen: x\nlog: y\n")}},
		{"setting twice", "twice", []string{"--config", yamlFileOf(t, "data-dir: x\ndata_dir: y\n")}},
		{"file of a file", "unknown setting config", []string{"--config", yamlFileOf(t, "config: x\n")}},
		{"nested", "nested", []string{"--config", yamlFileOf(t, "checkroom-param: {a: [b]}\n")}},
		{"list for one", "--data-dir", []string{"--config", yamlFileOf(t, "data-dir: [a, b]\n")}},
		{"not YAML", "YAML", []string{"--config", yamlFileOf(t, "a: b: c\n\t-")}},
		{"bad value in file", "--shutdown-timeout", []string{"--config", yamlFileOf(t, "shutdown-timeout: soon\n")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			_, ctx, code := parse(tc.args, &stdout, &stderr)
			if ctx != nil || code != 2 || !strings.Contains(stderr.String(), tc.want) || !strings.Contains(stderr.String(), "See classrecd --help.") {
				t.Errorf("exit %d: %s", code, &stderr)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	noEnvironment(t)
	t.Setenv("COLUMNS", "100")
	var stdout, stderr bytes.Buffer
	_, ctx, code := parse([]string{"--help"}, &stdout, &stderr)
	if ctx != nil || code != 0 || stderr.Len() > 0 {
		t.Errorf("exit %d: %s", code, &stderr)
	}
	golden := filepath.Join("testdata", "help.txt")
	if *update {
		if err := os.WriteFile(golden, stdout.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), stdout.String()); diff != "" {
		t.Errorf("the help has changed (-update writes it anew):\n%s", diff)
	}
}

// The help of a command has the flags that concern it.
func TestHelp_Token(t *testing.T) {
	noEnvironment(t)
	for _, args := range [][]string{{"token", "--help"}, {"token", "create", "--help"}} {
		var stdout, stderr bytes.Buffer
		if _, ctx, code := parse(args, &stdout, &stderr); ctx != nil || code != 0 || stderr.Len() > 0 {
			t.Errorf("%v: exit %d: %s", args, code, &stderr)
		}
		for flag, there := range map[string]bool{"--tokens-file": true, "--data-dir": true, "--config": true, "--grpc-listen": false, "--database": false} {
			if strings.Contains(stdout.String(), "  "+flag) != there {
				t.Errorf("%v: %s is in the help: %v", args, flag, !there)
			}
		}
	}
}

// Where the server listens is said at every level.
func TestServe_StartAtEveryLevel(t *testing.T) {
	noEnvironment(t)
	for _, level := range []string{"debug", "warn", "error"} {
		f := mustParse(t, "--log-level", level, "--grpc-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--room-listen=127.0.0.1:0", "--data-dir", t.TempDir())
		read, stderr, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- errors.Join(serve(ctx, &f.serverFlags, stderr), stderr.Close())
		}()
		up := false
		time.AfterFunc(20*time.Second, cancel) // should the line not come
		for lines := bufio.NewScanner(read); lines.Scan(); {
			if strings.Contains(lines.Text(), "classrec is up") {
				up = true
				cancel()
			}
		}
		if err := errors.Join(<-ended, read.Close()); err != nil {
			t.Error(err)
		}
		if !up {
			t.Errorf("nothing of the start with --log-level %s", level)
		}
	}
}

// The program says what it was built of, for people and for programs.
func TestVersion(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{"version": "classrecd ", "version --json": `"version": `} {
		var stdout, stderr bytes.Buffer
		_, ctx, _ := parse(strings.Fields(args), &stdout, &stderr)
		if ctx == nil {
			t.Fatalf("%s: %s", args, stderr.String())
		}
		if err := ctx.Run(); err != nil || !strings.Contains(stdout.String(), want) || !strings.Contains(stdout.String(), runtime.Version()) {
			t.Errorf("%s: %v %q", args, err, stdout.String())
		}
	}
}

// The file that `classrecd config` prints is empty for the server, and with every default uncommented it says the same.
func TestConfig_Sample(t *testing.T) {
	t.Parallel()
	var out, stderr bytes.Buffer
	f, ctx, _ := parse([]string{"config"}, &out, &stderr)
	if f == nil {
		t.Fatal(stderr.String())
	}
	if err := ctx.Run(&f.serverFlags); err != nil {
		t.Fatal(err)
	}
	var set strings.Builder
	keys := 0
	for line := range strings.Lines(out.String()) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.HasPrefix(key, "#") && !strings.HasPrefix(key, "# ") {
			keys++
			if strings.TrimSpace(value) != "" {
				set.WriteString(line[1:])
			}
		}
	}
	want := mustParse(t).config()
	for _, file := range []string{out.String(), set.String()} {
		got := mustParse(t, "--config", yamlFileOf(t, file)).config()
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(server.Config{}, server.RoomLimits{})); diff != "" {
			t.Errorf("(-without +with the file)\n%s", diff)
		}
	}
	for _, flag := range ctx.Model.Flags {
		if flag.Group != nil && flag.Name != "config" && !strings.Contains(out.String(), "\n#"+flag.Name+":") {
			t.Errorf("no %s", flag.Name)
		}
	}
	if keys < 50 {
		t.Errorf("%d keys", keys)
	}
}
