// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// slowPlatform is a platform that lets nobody in before goOn is closed.
type slowPlatform struct {
	*talkcloudtest.Platform
	asked chan struct{} // gets one for each who asks
	goOn  chan struct{}
}

func newSlowPlatform(t *testing.T) *slowPlatform {
	t.Helper()
	p := &slowPlatform{Platform: talkcloudtest.NewPlain(t), asked: make(chan struct{}, 16), goOn: make(chan struct{})}
	p.Answer(talkcloud.PathCheckRoom, func(w http.ResponseWriter, r *http.Request) {
		p.asked <- struct{}{}
		select {
		case <-p.goOn:
			_, _ = w.Write([]byte(`{"result":0,"roomrole":2,"room":{"serial":` + strconv.Quote(r.PostForm.Get("serial")) + `}}`))
		case <-r.Context().Done():
		}
	})
	return p
}

// config is anywhere, on the platform.
func (p *slowPlatform) config(t *testing.T) server.Config {
	t.Helper()
	cfg := anywhere(t.TempDir())
	cfg.Platform, cfg.EnterpriseKeyFile = p.Config().BaseURL, filepath.Join(t.TempDir(), "key")
	cfg.RoomListen, cfg.RoomHTTPListen = "", ""
	if err := os.WriteFile(cfg.EnterpriseKeyFile, []byte("a-key-of-the-test"), 0o600); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// stopping is a server that stops while a start is under way.
type stopping struct {
	*running
	conn    *grpc.ClientConn
	started chan error    // gets how the start ended
	down    chan struct{} // closed when the server is
}

// newStopping begins to stop a server while a start waits for its platform, and
// returns when the stop has begun.
func newStopping(t *testing.T, p *slowPlatform, cfg server.Config) *stopping {
	t.Helper()
	s := &stopping{running: newRunning(t, cfg), started: make(chan error, 1), down: make(chan struct{})}
	var err error
	if s.conn, err = grpc.NewClient(s.GRPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	go func() {
		_, err := classrecv1.NewRecordingServiceClient(s.conn).StartRecording(ctx, &classrecv1.StartRecordingRequest{Room: "42", RequestId: "r"})
		s.started <- err
	}()
	<-p.asked
	go func() {
		defer close(s.down)
		s.stop()
	}()
	for limit := time.Now().Add(20 * time.Second); s.do(t, http.MethodGet, "/readyz", nil) != http.StatusServiceUnavailable; {
		if time.Now().After(limit) {
			t.Fatal("the server stays ready")
		}
	}
	return s
}

func wantNotServing(t *testing.T, what string, err error) {
	t.Helper()
	if d := client.Details(err); d.Code != codes.Unavailable || d.Reason != "NOT_SERVING" || d.RetryAfter <= 0 {
		t.Errorf("%s: %+v", what, d)
	}
}

// While calls in flight are finished, the server says that it is not ready, and
// takes no new ones.
func TestStop_FinishesCalls(t *testing.T) {
	t.Parallel()
	platform := newSlowPlatform(t)
	cfg := platform.config(t)
	cfg.ShutdownTimeout = 100 * time.Second // calls in flight have 30
	s := newStopping(t, platform, cfg)

	health, err := healthv1.NewHealthClient(s.conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || health.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health is %v, %v", health, err)
	}
	if code := s.do(t, http.MethodGet, "/readyz", nil); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d", code)
	}
	api := classrecv1.NewRecordingServiceClient(s.conn)
	_, err = api.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: "43"})
	wantNotServing(t, "start", err)
	_, err = api.ListRecordings(t.Context(), &classrecv1.ListRecordingsRequest{Room: "43"})
	wantNotServing(t, "list", err)
	stream, err := api.WatchClassBegin(t.Context(), &classrecv1.WatchClassBeginRequest{Room: "-"})
	if err == nil {
		_, err = stream.Recv()
	}
	wantNotServing(t, "watch", err)
	var status struct {
		Code    codes.Code
		Details []struct{ Reason, RetryDelay string }
	}
	if code := s.do(t, http.MethodPost, "/v1/rooms/43/recordings", &status); code != http.StatusServiceUnavailable || status.Code != codes.Unavailable || len(status.Details) != 2 {
		t.Errorf("start over REST: %d %+v", code, status)
	}
	if code := s.do(t, http.MethodGet, "/healthz", nil); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}

	select {
	case err := <-s.started:
		t.Fatalf("the start ended before its platform let it in: %v", err)
	case <-s.down:
		t.Fatal("the server did not wait for the start")
	default:
	}
	close(platform.goOn)
	if err := <-s.started; err != nil {
		t.Errorf("the start ended in %v", err)
	}
	<-s.down
}

// A call that does not end in time is told to come back, and happens all the
// same: with the same request_id, the next server goes on with it.
func TestStop_CutsCallsShort(t *testing.T) {
	t.Parallel()
	platform := newSlowPlatform(t)
	cfg := platform.config(t)
	cfg.ShutdownTimeout = 5 * time.Second
	began := time.Now()
	s := newStopping(t, platform, cfg)
	wantNotServing(t, "the start", <-s.started)
	<-s.down
	if took := time.Since(began); took > 4*cfg.ShutdownTimeout {
		t.Errorf("took %v", took)
	}
	close(platform.goOn)
	again := newRunning(t, cfg)
	got, err := again.api.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: "42", RequestId: "r"})
	if err != nil || got.GetRecording().GetState() != classrecv1.RecordingState_RECORDING_STATE_RECORDING {
		t.Errorf("asked again: %v, %v", got, err)
	}
	if saved := platform.Saved("42"); len(saved) != 1 {
		t.Errorf("the room has %d messages", len(saved))
	}
}

// Who watches the health of the server is told before his stream ends.
func TestStop_HealthWatch(t *testing.T) {
	t.Parallel()
	platform := newSlowPlatform(t)
	r := newRunning(t, platform.config(t))
	conn, err := grpc.NewClient(r.GRPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	watch, err := healthv1.NewHealthClient(conn).Watch(t.Context(), &healthv1.HealthCheckRequest{}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	for {
		state, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if state.GetStatus() == healthv1.HealthCheckResponse_SERVING {
			break
		}
	}
	go func() {
		_, _ = classrecv1.NewRecordingServiceClient(conn).StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: "42"})
	}()
	<-platform.asked // so that the stop has something to wait for
	go func() {
		state, err := watch.Recv()
		if err != nil || state.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
			t.Errorf("then: %v, %v", state, err)
		}
		close(platform.goOn)
	}()
	r.stop()
	<-platform.goOn
}
