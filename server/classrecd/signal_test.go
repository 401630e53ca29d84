// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// roleEnv makes this test program classrecd, or the ffmpeg that this is given.
const roleEnv = "TEST_OF_CLASSRECD"

// TestMain runs the tests, or what one of them has started.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(roleEnv) == "":
		os.Exit(m.Run())
	case len(os.Args) > 1 && os.Args[1] == "-hide_banner": // what ffmpeg is always told
		hang()
	default:
		main()
	}
}

// hang is an ffmpeg that converts for ever. It ends with classrecd.
func hang() {
	if err := os.WriteFile(os.Getenv(roleEnv), nil, 0o600); err != nil {
		os.Exit(1)
	}
	for parent := os.Getppid(); os.Getppid() == parent; {
		time.Sleep(100 * time.Millisecond)
	}
}

// patience bounds what has to come; only a test that fails uses it up.
const patience = 60 * time.Second

// limit is how long classrecd may take to stop.
const limit = 10 * time.Second

// daemon is classrecd in a process of its own.
type daemon struct {
	cmd    *exec.Cmd
	dir    string
	marker string // is there when ffmpeg runs
	http   string // http://host:port
	room   string // https://host:port, of the embedded platform
	grpc   string
	conn   *grpc.ClientConn
	ended  chan error // gets what Wait returned
	log    logLines
}

// startDaemon starts classrecd on a data directory, and returns when it listens.
func startDaemon(t *testing.T, dir string, args ...string) *daemon {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{dir: dir, marker: filepath.Join(t.TempDir(), "ffmpeg-runs"), ended: make(chan error, 1)}
	d.cmd = exec.Command(self, append([]string{
		"--data-dir", dir, "--grpc-listen=127.0.0.1:0", "--admin-listen=", "--http-listen=127.0.0.1:0", "--room-listen=127.0.0.1:0", "--log-format=json",
	}, args...)...)
	d.cmd.Env = append(os.Environ(), roleEnv+"="+d.marker)
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.cmd.Process.Kill() }) // ended already, but for tests that fail
	up := make(chan map[string]any, 1)
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			d.log.add(lines.Text())
			var line map[string]any
			if json.Unmarshal(lines.Bytes(), &line) == nil && line["msg"] == "classrec is up" {
				up <- line
			}
		}
		err := d.cmd.Wait()
		if err != nil {
			t.Logf("classrecd ended in %v:\n%s", err, d.log.text())
		}
		d.ended <- err
		close(up)
	}()
	select {
	case line, ok := <-up:
		if !ok {
			t.Fatal("classrecd did not come up")
		}
		text := func(key string) string { s, _ := line[key].(string); return s }
		d.http, d.room, d.grpc = "http://"+text("http"), "https://"+text("room"), text("grpc")
	case <-time.After(patience):
		t.Fatal("classrecd does not come up")
	}
	if d.conn, err = grpc.NewClient(d.grpc, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.conn.Close() })
	return d
}

func (d *daemon) api() classrecv1.RecordingServiceClient {
	return classrecv1.NewRecordingServiceClient(d.conn)
}

// terminate sends SIGTERM, and fails unless the process ends in time, with 0.
func (d *daemon) terminate(t *testing.T) {
	t.Helper()
	began := time.Now()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-d.ended:
		if err != nil {
			t.Errorf("exit: %v", err)
		}
		took := time.Since(began)
		t.Logf("stopping took %v", took.Round(time.Millisecond))
		if took > limit {
			t.Errorf("stopping took %v", took)
		}
	case <-time.After(patience):
		t.Fatal("it does not stop")
	}
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func (d *daemon) mustStart(t *testing.T, req *classrecv1.StartRecordingRequest) *classrecv1.Recording {
	t.Helper()
	res, err := d.api().StartRecording(testContext(t), req)
	if err != nil {
		t.Fatal(err)
	}
	return res.GetRecording()
}

// await asks for a recording until it is as wanted.
func (d *daemon) await(t *testing.T, name, what string, holds func(*classrecv1.Recording) bool) *classrecv1.Recording {
	t.Helper()
	ctx := testContext(t)
	for {
		res, err := d.api().GetRecording(ctx, &classrecv1.GetRecordingRequest{Name: name})
		if err != nil {
			t.Fatalf("wait for %s: %v", what, err)
		}
		if holds(res.GetRecording()) {
			return res.GetRecording()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// With callers that hang in every way, SIGTERM ends the process in time; its
// watchers are told to come back, and the class goes on with the next one.
func TestSIGTERM_WhileRecording(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, t.TempDir())
	rec := d.mustStart(t, &classrecv1.StartRecordingRequest{Room: "42"})

	watch, err := d.api().WatchClassBegin(testContext(t), &classrecv1.WatchClassBeginRequest{Room: "42"})
	if err != nil {
		t.Fatal(err)
	}
	var last uint64
	for last == 0 {
		msg, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		last = msg.GetSynced().GetSequence()
	}
	// Somebody who has sent half a request, to each port; and one who watches and
	// reads nothing.
	for address, half := range map[string]string{
		d.http[len("http://"):]:  "POST /v1/rooms/43/recordings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
		d.room[len("https://"):]: "\x16\x03\x01",
		d.grpc:                   "PRI * HTTP/2.0\r\n",
	} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := io.WriteString(conn, half); err != nil {
			t.Fatal(err)
		}
	}
	idle, err := new(net.Dialer).DialContext(t.Context(), "tcp", d.http[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = idle.Close() })
	if _, err := io.WriteString(idle, "GET /v1/rooms/-/classBegin:watch HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}

	d.terminate(t)
	for err == nil {
		_, err = watch.Recv()
	}
	if details := client.Details(err); details.Code != codes.Unavailable || details.Reason != "NOT_SERVING" || details.RetryAfter <= 0 {
		t.Errorf("the watch ended in %+v", details)
	}

	next := startDaemon(t, d.dir)
	got := next.await(t, rec.GetName(), "the class to go on", func(r *classrecv1.Recording) bool { return len(r.GetGaps()) > 0 })
	if got.GetState() != classrecv1.RecordingState_RECORDING_STATE_RECORDING || len(got.GetGaps()) != 1 {
		t.Errorf("goes on as %v", got)
	}
	watch, err = next.api().WatchClassBegin(testContext(t), &classrecv1.WatchClassBeginRequest{Room: "42", AfterSequence: last})
	if err != nil {
		t.Fatal(err)
	}
	msg, err := watch.Recv()
	if err != nil || msg.GetEvent().GetRecording().GetName() != rec.GetName() || msg.GetEvent().GetSequence() <= last {
		t.Errorf("resumed with %v, %v", msg, err)
	}
	if _, err := next.api().StopRecording(testContext(t), &classrecv1.StopRecordingRequest{Name: rec.GetName()}); err != nil {
		t.Error(err)
	}
	next.terminate(t)
}

// publish plays a teacher into a room of the embedded platform.
func (d *daemon) publish(t *testing.T, room string) *publisher.Publisher {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(d.dir, "room.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	video, err := clips.TeacherVideo()
	if err != nil {
		t.Fatal(err)
	}
	audio, err := clips.TeacherAudio()
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	p, err := publisher.PublishWHIP(testContext(t), publisher.Config{Video: video, Audio: audio}, publisher.WHIP{
		URL: d.room + "/whip/" + room + "/teacher", Client: &http.Client{Transport: transport},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // its server may be gone
	return p
}

// While ffmpeg converts, SIGTERM ends the process in time all the same; the next
// one finishes the recording.
func TestSIGTERM_WhileConverting(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := startDaemon(t, t.TempDir(), "--ffmpeg", self)
	rec := d.mustStart(t, &classrecv1.StartRecordingRequest{Room: "42", Format: classrecv1.RecordingFormat_RECORDING_FORMAT_MP4})
	d.publish(t, "42")
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) { // until there is something to convert
		if media, err := filepath.Glob(filepath.Join(d.dir, "room", "recordings", "*", "*", "*.mkv")); err == nil && len(media) > 0 {
			if info, err := os.Stat(media[0]); err == nil && info.Size() > 20_000 {
				break
			}
		}
		if time.Since(begin) > patience {
			t.Fatal("nothing is recorded")
		}
	}
	if _, err := d.api().StopRecording(testContext(t), &classrecv1.StopRecordingRequest{Name: rec.GetName()}); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(d.marker); err == nil {
			break
		}
		if time.Since(begin) > patience {
			t.Fatal("ffmpeg does not run")
		}
	}
	d.terminate(t)

	next := startDaemon(t, d.dir, "--ffmpeg", filepath.Join(d.dir, "no-ffmpeg"))
	got := next.await(t, rec.GetName(), "the files", func(r *classrecv1.Recording) bool {
		return r.GetState() == classrecv1.RecordingState_RECORDING_STATE_AVAILABLE || r.GetState() == classrecv1.RecordingState_RECORDING_STATE_FAILED
	})
	if len(got.GetUrls()) == 0 {
		t.Errorf("finished as %v", got)
	}
	next.terminate(t)
}

// hungPlatform is TalkCloud that answers no question, from when it is told to.
func hungPlatform(t *testing.T) (args []string, p *talkcloudtest.Platform, hangs func(), asked <-chan struct{}) {
	t.Helper()
	p = talkcloudtest.NewPlain(t)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("a-key-of-the-test"), 0o600); err != nil {
		t.Fatal(err)
	}
	questions := make(chan struct{}, 100)
	hangs = func() {
		never := func(_ http.ResponseWriter, r *http.Request) {
			select {
			case questions <- struct{}{}:
			default:
			}
			<-r.Context().Done()
		}
		for _, path := range []string{talkcloud.PathCheckRoom, talkcloud.PathGetConfig, talkcloud.PathGetUserRecordList} {
			p.Answer(path, never)
		}
		p.Script(talkcloudtest.Script{
			Silent: func(string) bool { return true },
			Ack:    func(string, json.RawMessage) ([]any, bool) { return nil, false },
		})
	}
	return []string{"--platform", p.Config().BaseURL, "--enterprise-key-file", key}, p, hangs, questions
}

// A platform that hangs holds up nothing: neither a start and a stop that wait
// for it, nor what looks for files.
func TestSIGTERM_WhilePlatformHangs(t *testing.T) {
	t.Parallel()
	args, platform, hangs, asked := hungPlatform(t)
	d := startDaemon(t, t.TempDir(), args...)
	over := d.mustStart(t, &classrecv1.StartRecordingRequest{Room: "over"})
	rec := d.mustStart(t, &classrecv1.StartRecordingRequest{Room: "on"})
	hangs()
	ends := make(chan error, 2)
	go func() {
		_, err := d.api().StopRecording(testContext(t), &classrecv1.StopRecordingRequest{Name: over.GetName()})
		ends <- err
	}()
	go func() {
		_, err := d.api().StartRecording(testContext(t), &classrecv1.StartRecordingRequest{Room: "new"})
		ends <- err
	}()
	<-asked
	d.await(t, over.GetName(), "the stop to be asked for", func(r *classrecv1.Recording) bool {
		return r.GetState() == classrecv1.RecordingState_RECORDING_STATE_STOPPING
	})
	d.terminate(t)
	for range 2 {
		if details := client.Details(<-ends); details.Code != codes.Unavailable || details.Reason != "NOT_SERVING" || details.RetryAfter <= 0 {
			t.Errorf("a call ended in %+v", details)
		}
	}

	platform.Script(talkcloudtest.Script{})
	for _, path := range []string{talkcloud.PathCheckRoom, talkcloud.PathGetConfig, talkcloud.PathGetUserRecordList} {
		platform.Answer(path, nil)
	}
	next := startDaemon(t, d.dir, args...)
	next.await(t, over.GetName(), "the stop", func(r *classrecv1.Recording) bool {
		return r.GetState() == classrecv1.RecordingState_RECORDING_STATE_PROCESSING
	})
	got := next.await(t, rec.GetName(), "the class", func(*classrecv1.Recording) bool { return true })
	if got.GetState() != classrecv1.RecordingState_RECORDING_STATE_RECORDING {
		t.Errorf("goes on as %v", got)
	}
	next.terminate(t)
}

// SIGHUP ends nothing: the class goes on, and so does the process.
func TestSIGHUP(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, t.TempDir())
	r := d.mustStart(t, &classrecv1.StartRecordingRequest{Room: "42"})
	for range 3 {
		if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	for begin := time.Now(); !strings.Contains(d.log.text(), "files are read again"); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatalf("nothing is said of it:\n%s", d.log.text())
		}
	}
	d.await(t, r.GetName(), "the class to go on", func(r *classrecv1.Recording) bool {
		return r.GetState() == classrecv1.RecordingState_RECORDING_STATE_RECORDING
	})
	d.terminate(t)
}

// Who has no patience sends a second signal.
func TestSIGTERM_Twice(t *testing.T) {
	t.Parallel()
	args, _, hangs, asked := hungPlatform(t)
	d := startDaemon(t, t.TempDir(), append(args, "--shutdown-timeout=10m")...)
	hangs()
	go func() {
		_, _ = d.api().StartRecording(testContext(t), &classrecv1.StartRecordingRequest{Room: "new"})
	}()
	<-asked
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.http+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable {
			break
		}
		if time.Since(begin) > patience {
			t.Fatal("it stays ready")
		}
	}
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-d.ended:
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() == 0 {
			t.Errorf("exit: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("it does not stop")
	}
}
