// SPDX-License-Identifier: Apache-2.0

//go:build bench

package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/benchtest"
	"github.com/classrec/classrec/server/internal/mediafile"
	"github.com/classrec/classrec/server/internal/publisher"
)

const (
	janusStreams = 20
	janusWarmUp  = 3 * time.Second
	janusWindow  = 20 * time.Second
)

// TestBenchJanus records twenty streams of 720p H264 and Opus, 1.5 Mbit/s, in a whole classrec and in Janus (videoroom with
// `record`, which writes the packets as they are) at the same time, and compares their CPU and memory.
func TestBenchJanus(t *testing.T) {
	if benchtest.Role() != "" {
		serveClassrec(t)
		return
	}
	media := benchMedia(t)
	ours := benchtest.StartSelf(t, "TestBenchJanus", "classrec")
	var addresses [2]string // of rooms and of gRPC
	ours.Hear(&addresses)
	janus := startJanus(t)
	theirs := benchtest.Observe(t, janus.pid)
	written := recordInClassrec(t, addresses, media)
	janus.record(t, media)

	<-time.After(janusWarmUp)
	ourCPU, theirCPU := ours.CPU(), theirs.CPU()
	<-time.After(janusWindow)
	ourCPU, theirCPU = ours.CPU()-ourCPU, theirs.CPU()-theirCPU
	each := func(d time.Duration) float64 { return 100 * d.Seconds() / janusWindow.Seconds() / janusStreams }
	benchtest.AtMost(t, "recording 20 streams of H264, of the CPU of Janus writing packets", ourCPU.Seconds()/theirCPU.Seconds(), 1, "times")
	benchtest.Info(t, "in %% of one core for each: classrec %.2f, Janus %.2f; resident: classrec %.0f MiB, Janus %.0f MiB",
		each(ourCPU), each(theirCPU), ours.RSS()/1024, theirs.RSS()/1024)
	const least = janusStreams * int64(janusWindow/time.Second) * 170_000 // 1.36 Mbit/s of each
	if n := janus.written(t); n < least {
		t.Errorf("Janus wrote %d bytes only", n)
	}
	if n := written(); n < least {
		t.Errorf("classrec wrote %d bytes only", n)
	}
}

// benchMedia is the media that is sent, made by ffmpeg.
func benchMedia(t *testing.T) mediafile.Media {
	t.Helper()
	file := filepath.Join(t.TempDir(), "media.mkv")
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-nostdin",
		"-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "8",
		"-c:v", "libx264", "-preset", "veryfast", "-profile:v", "baseline", "-pix_fmt", "yuv420p", "-g", "60", "-bf", "0",
		"-b:v", "1500k", "-minrate", "1500k", "-maxrate", "1500k", "-bufsize", "1500k", "-x264-params", "nal-hrd=cbr",
		"-c:a", "libopus", "-b:a", "48k", file).CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	media, err := mediafile.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	return media
}

// serveClassrec is the life of a process that is a classrec.
func serveClassrec(t *testing.T) {
	s, err := server.New(t.Context(), server.Config{
		GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0", RoomListen: "127.0.0.1:0", RoomHTTPListen: "127.0.0.1:0", DataDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	if err := json.NewEncoder(os.Stdout).Encode([2]string{s.RoomHTTPAddr().String(), s.GRPCAddr().String()}); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// recordInClassrec begins a class with all streams. What it returns ends the class, and says how long its files are.
func recordInClassrec(t *testing.T, addresses [2]string, media mediafile.Media) (written func() int64) {
	t.Helper()
	c, err := client.Dial(addresses[1], client.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	started, err := c.Start(t.Context(), &classrecv1.StartRecordingRequest{Room: "bench", RecordChat: proto.Bool(false)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range janusStreams {
		p, err := publisher.PublishWHIP(t.Context(), publisher.Config{Video: media.Video, Audio: media.Audio},
			publisher.WHIP{URL: fmt.Sprintf("http://%s/whip/bench/u%d", addresses[0], i)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
	}
	return func() (n int64) {
		t.Helper()
		if _, err := c.Stop(t.Context(), &classrecv1.StopRecordingRequest{Name: started.GetName()}); err != nil {
			t.Fatal(err)
		}
		r, err := c.Wait(t.Context(), started.GetName(), client.WaitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.GetFiles() {
			n += f.GetSize()
		}
		return n
	}
}

// janusServer is a running Janus.
type janusServer struct {
	url, dir string
	pid      int
}

// startJanus runs Debian's Janus with its HTTP transport and the videoroom plugin, until the test ends.
func startJanus(t *testing.T) *janusServer {
	t.Helper()
	if _, err := exec.LookPath("janus"); err != nil {
		t.Fatalf("make setup-bench installs Janus: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close() // Janus takes a port by number alone
	j := &janusServer{url: fmt.Sprintf("http://127.0.0.1:%d/janus", port), dir: t.TempDir()}
	libraries := "/usr/lib/x86_64-linux-gnu/janus"
	if found, _ := filepath.Glob("/usr/lib/*/janus"); len(found) > 0 {
		libraries = found[0]
	}
	for name, text := range map[string]string{
		"janus.jcfg": fmt.Sprintf(`general: { configs_folder = %[1]q
 plugins_folder = "%[2]s/plugins"
 transports_folder = "%[2]s/transports"
 events_folder = "%[2]s/events"
 loggers_folder = "%[2]s/loggers"
 debug_level = 2
 session_timeout = 0 }
nat: { ice_enforce_list = "127.0.0.1" }
plugins: { disable = "libjanus_audiobridge.so,libjanus_duktape.so,libjanus_echotest.so,libjanus_lua.so,libjanus_nosip.so,libjanus_recordplay.so,libjanus_sip.so,libjanus_streaming.so,libjanus_textroom.so,libjanus_videocall.so,libjanus_voicemail.so" }
transports: { disable = "libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,libjanus_rabbitmq.so,libjanus_websockets.so" }
events: { broadcast = false }
`, j.dir, libraries),
		"janus.transport.http.jcfg":   fmt.Sprintf("general: { json = \"compact\"\n base_path = \"/janus\"\n http = true\n ip = \"127.0.0.1\"\n port = %d\n https = false }\n", port),
		"janus.plugin.videoroom.jcfg": "general: { }\n",
	} {
		if err := os.WriteFile(filepath.Join(j.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(j.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "janus", "--configs-folder="+j.dir, "--disable-colors")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	j.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("janus: %.4000s", text)
		}
		_ = log.Close()
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		if resp, err := http.Get(j.url + "/info"); err == nil {
			_ = resp.Body.Close()
			return j
		}
		if time.Now().After(deadline) {
			t.Fatal("Janus does not answer")
		}
		<-time.After(100 * time.Millisecond)
	}
}

// janusMessage is what is read of its answers and events.
type janusMessage struct {
	Janus string
	Data  struct{ ID uint64 }
	Error struct{ Reason string }
	Jsep  struct{ SDP string }
	// Of the plugin.
	Plugindata struct {
		Data struct{ Error string }
	}
}

// call makes a request of a path below its URL; without a body it waits for an event.
func (j *janusServer) call(ctx context.Context, t *testing.T, path string, body map[string]any) (m janusMessage) {
	t.Helper()
	method, reader := http.MethodGet, io.Reader(http.NoBody)
	if body != nil {
		body["transaction"] = "t"
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		method, reader = http.MethodPost, bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, j.url+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil {
		t.Fatal(err)
	}
	if problem := m.Error.Reason + m.Plugindata.Data.Error; problem != "" {
		t.Fatalf("Janus: %s", problem)
	}
	return m
}

// record has it record all streams, each of a session of its own in one room.
func (j *janusServer) record(t *testing.T, media mediafile.Media) {
	t.Helper()
	for i := range janusStreams {
		session := fmt.Sprintf("/%d", j.call(t.Context(), t, "", map[string]any{"janus": "create"}).Data.ID)
		handle := fmt.Sprintf("%s/%d", session, j.call(t.Context(), t, session, map[string]any{"janus": "attach", "plugin": "janus.plugin.videoroom"}).Data.ID)
		if i == 0 {
			j.call(t.Context(), t, handle, map[string]any{"janus": "message", "body": map[string]any{
				"request": "create", "room": 1, "publishers": 100, "bitrate": 0, "videocodec": "h264", "audiocodec": "opus",
			}})
		}
		p, err := publisher.Publish(t.Context(), publisher.Config{Video: media.Video, Audio: media.Audio}, func(ctx context.Context, offer string) (string, error) {
			j.call(ctx, t, handle, map[string]any{"janus": "message", "jsep": map[string]any{"type": "offer", "sdp": offer}, "body": map[string]any{
				"request": "joinandconfigure", "room": 1, "ptype": "publisher", "record": true, "filename": fmt.Sprintf("%s/%d", j.dir, i),
			}})
			for range 10 {
				if m := j.call(ctx, t, session, nil); m.Jsep.SDP != "" {
					return m.Jsep.SDP, nil
				}
			}
			return "", errors.New("no answer from Janus")
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
	}
}

// written is the size of what it has written.
func (j *janusServer) written(t *testing.T) (n int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(j.dir, "*.mjr"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			n += info.Size()
		}
	}
	return n
}
