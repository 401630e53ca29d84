// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/servertest"
)

// scrape reads /metrics: each series and its value. Labels are in the order of
// the text format: by name.
func scrape(t *testing.T, url string) map[string]float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("/metrics: %d %v", resp.StatusCode, err)
	}
	series := map[string]float64{}
	for line := range strings.Lines(string(body)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if ok {
			name += "}"
		} else {
			name, value, ok = strings.Cut(name, " ")
		}
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		if series[name], err = strconv.ParseFloat(value, 64); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	return series
}

// A whole flow moves each metric that it concerns: a class with media, watchers,
// a lost connection, a start that fails, a webhook.
func TestMetrics_WholeFlow(t *testing.T) {
	t.Parallel()
	hooks := filepath.Join(t.TempDir(), "webhooks.yaml")
	mustWrite(t, hooks, `endpoints: [{name: crm, url: "http://127.0.0.1:1/", secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw], allow_addresses: [127.0.0.1]}]`)
	s := servertest.New(t, servertest.Configure(func(cfg *server.Config) { cfg.WebhooksFile = hooks }))
	before := scrape(t, s.URL())
	for name, want := range map[string]float64{
		`classrec_recordings_ended_total{reason="stopped",tenant="default"}`: 0,
		`classrec_recording_start_seconds_count{tenant="default"}`:           0,
		`classrec_recordings{state="recording",tenant="default"}`:            0,
		`classrec_store_up`:       1,
		`classrec_store_writable`: 1,
		`classrec_watcher_drops_total{reason="too_slow",tenant="default"}`:    0,
		`classrec_webhook_attempts_total{endpoint="crm",outcome="delivered"}`: 0,
	} {
		if got, ok := before[name]; !ok || got != want {
			t.Errorf("before: %s is %v (%v), not %v", name, got, ok, want)
		}
	}
	teacher := s.Room("42").Teacher("ms-li")
	stream := teacher.Publish(servertest.Pattern())
	watch, err := s.Client().WatchClassBegin(t.Context(), &classrecv1.WatchClassBeginRequest{Room: "42"})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := watch.Recv(); err != nil || first.GetSynced() == nil {
		t.Fatalf("watch: %v %v", first, err)
	}
	r, err := s.Client().Start(t.Context(), &classrecv1.StartRecordingRequest{Room: "42"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client().Start(t.Context(), &classrecv1.StartRecordingRequest{Room: "42"}); err == nil {
		t.Error("a second class begins")
	}
	awaitSeries(t, s.URL(), `classrec_recorder_written_bytes_total`, func(v float64) bool { return v > 1000 })
	during := scrape(t, s.URL())
	for _, name := range []string{
		`classrec_rooms{tenant="default"}`, `classrec_sessions{state="online"}`, `classrec_session_joins_total{outcome="joined"}`,
		`classrec_recordings{state="recording",tenant="default"}`, `classrec_watchers{tenant="default"}`,
		`classrec_event_lag_seconds_count{tenant="default"}`, `classrec_recording_start_seconds_count{tenant="default"}`,
		`classrec_roomserver_rooms`, `classrec_roomserver_connections`, `classrec_ingest_publishers`,
		`classrec_recorder_recordings{state="recording"}`, `classrec_recorder_packets_total`,
		`classrec_recorder_tracks_total{kind="audio"}`, `classrec_recorder_tracks_total{kind="video"}`,
		`classrec_store_first_sequence`, `classrec_store_last_sequence`, `classrec_store_bytes`,
		`classrec_data_free_bytes`, `classrec_data_size_bytes`, `classrec_ready`,
		`grpc_server_handled_total{grpc_code="OK",grpc_method="StartRecording",grpc_service="classrec.v1.RecordingService",grpc_type="unary"}`,
		`grpc_server_handled_total{grpc_code="AlreadyExists",grpc_method="StartRecording",grpc_service="classrec.v1.RecordingService",grpc_type="unary"}`,
	} {
		if during[name] <= 0 {
			t.Errorf("during the class: %s is %v", name, during[name])
		}
	}
	s.Platform().Drop()
	awaitSeries(t, s.URL(), `classrec_session_reconnects_total{outcome="joined"}`, func(v float64) bool { return v > 0 })
	stream.Stop()
	if _, err := s.Client().Stop(t.Context(), &classrecv1.StopRecordingRequest{Name: r.GetName()}); err != nil {
		t.Fatal(err)
	}
	s.Await(r.GetName(), classrecv1.RecordingState_RECORDING_STATE_AVAILABLE)
	awaitSeries(t, s.URL(), `classrec_webhook_attempts_total{endpoint="crm",outcome="failed"}`, func(v float64) bool { return v > 0 })
	awaitSeries(t, s.URL(), `classrec_recording_processing_seconds_count{tenant="default"}`, func(v float64) bool { return v == 1 })
	after := scrape(t, s.URL())
	for name, want := range map[string]float64{
		`classrec_recordings_ended_total{reason="stopped",tenant="default"}`: 1,
		`classrec_recordings_failed_total{tenant="default"}`:                 0,
		`classrec_recordings{state="available",tenant="default"}`:            1,
		`classrec_recordings{state="recording",tenant="default"}`:            0,
		`classrec_recorder_recordings{state="recording"}`:                    0,
	} {
		if after[name] != want {
			t.Errorf("after the class: %s is %v, not %v", name, after[name], want)
		}
	}
	if after[`classrec_session_losses_total`] < 1 || after[`classrec_webhook_pending{endpoint="crm"}`] < 1 {
		t.Errorf("losses %v, pending %v", after[`classrec_session_losses_total`], after[`classrec_webhook_pending{endpoint="crm"}`])
	}
	for name := range after {
		if strings.Contains(name, `"42"`) || strings.Contains(name, "ms-li") || strings.Contains(name, "rooms/") {
			t.Errorf("a label names a room or a person: %s", name)
		}
	}
}

// awaitSeries waits until a series has the value.
func awaitSeries(t *testing.T, url, name string, until func(float64) bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		v := scrape(t, url)[name]
		if until(v) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s stays %v", name, v)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

func mustWrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Each metric shows the count that its name says, also those that no test makes go
// up.
func TestMetrics_Wired(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"classrec_sessions online":                 "Online",
		"classrec_sessions offline":                "", // Open without Online
		"classrec_session_joins_total joined":      "Joined",
		"classrec_session_joins_total failed":      "JoinFailed",
		"classrec_session_losses_total":            "Lost",
		"classrec_session_reconnects_total joined": "Rejoined",
		"classrec_session_reconnects_total failed": "RejoinFailed",
		"classrec_session_evictions_total":         "Ended",
		"classrec_session_overruns_total":          "Slow",
		"classrec_roomserver_rooms":                "Rooms",
		"classrec_roomserver_connections":          "Connections",
		"classrec_roomserver_refused_total limit":  "Refused[limit]",
		"classrec_ingest_publishers":               "Publishers",
		"classrec_ingest_packets_total":            "Media.Stats.Packets",
		"classrec_ingest_packets_requested_total":  "Media.Stats.Requested",
		"classrec_ingest_packets_repaired_total":   "Media.Stats.Repaired",
		"classrec_ingest_packets_lost_total":       "Media.Stats.Lost",
		"classrec_ingest_silent_sections_total":    "Media.Silences",
		"classrec_recorder_recordings recording":   "", // Recordings without Refused
		"classrec_recorder_recordings interrupted": "Recorder.Refused",
		"classrec_recorder_interruptions_total":    "Recorder.Interruptions",
		"classrec_recorder_tracks_total audio":     "Recorder.AudioTracks",
		"classrec_recorder_tracks_total video":     "Recorder.VideoTracks",
		"classrec_recorder_packets_total":          "Recorder.Packets",
		"classrec_recorder_lost_packets_total":     "Recorder.Lost",
		"classrec_recorder_dropped_frames_total":   "Recorder.Dropped",
		"classrec_recorder_keyless_total":          "Recorder.Keyless",
		"classrec_recorder_written_bytes_total":    "Recorder.Bytes",
		"classrec_ffmpeg_running":                  "Recorder.Converting",
		"classrec_ffmpeg_runs_total converted":     "Recorder.Converted",
		"classrec_ffmpeg_runs_total failed":        "Recorder.ConvertFailed",
		"classrec_ffmpeg_run_seconds_total":        "Recorder.ConvertTime",
	}
	if diff := cmp.Diff(want, server.Wired()); diff != "" {
		t.Errorf("metric: field (-want +got)\n%s", diff)
	}
}

// The metrics are named and described as is usual.
func TestMetrics_Lint(t *testing.T) {
	t.Parallel()
	r := newRunning(t, anywhere(t.TempDir()))
	families, err := server.Registry(r.Server).Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "classrec_") || strings.HasPrefix(p.Metric, "grpc_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}
