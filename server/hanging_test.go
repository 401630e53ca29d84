// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
)

// While the platform takes connections and answers nothing, and many starts and
// lists wait for it, what is in the log is read, listed and watched.
func TestHangingPlatform_Reads(t *testing.T) {
	t.Parallel()
	theirs := anywhere(t.TempDir())
	theirs.PlatformOnly = true
	platform, err := server.New(t.Context(), theirs)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- platform.Run(ctx) }()

	cfg := anywhere(t.TempDir())
	cfg.RoomListen, cfg.RoomHTTPListen = "", ""
	cfg.Platform = "http://" + platform.RoomHTTPAddr().String()
	cfg.EnterpriseKeyFile = filepath.Join(theirs.DataDir, "enterprise.key")
	cfg.ShutdownTimeout = 5 * time.Second
	r := newRunning(t, cfg)
	var started *classrecv1.StartRecordingResponse
	var names []string // newest first
	for n := range 3 {
		if n > 0 {
			if _, err := r.api.StopRecording(t.Context(), &classrecv1.StopRecordingRequest{Room: "42"}); err != nil {
				t.Fatal(err)
			}
		}
		if started, err = r.api.StartRecording(t.Context(), startIn("42")); err != nil {
			t.Fatal(err)
		}
		names = append([]string{started.GetRecording().GetName()}, names...)
	}
	r.stop()
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	cfg.Platform = "http://" + silent.Addr().String()
	r = newRunning(t, cfg)
	c := impatient(t, r)
	waiting, stopWaiting := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() { _, _ = c.StartRecording(waiting, startIn(fmt.Sprint("waits-", n))) })
		wg.Go(func() { _, _ = c.ListRecordings(waiting, &classrecv1.ListRecordingsRequest{Room: "42"}) })
	}
	bounded, done := context.WithTimeout(t.Context(), 5*time.Second) // a platform call takes longer
	defer done()
	for range 20 {
		got, err := c.GetRecording(bounded, &classrecv1.GetRecordingRequest{Name: started.GetRecording().GetName()})
		if err != nil || got.GetRecording().GetRoom() != "42" {
			t.Fatalf("get: %v, %v", got, err)
		}
	}
	stream, err := c.WatchClassBegin(bounded, &classrecv1.WatchClassBeginRequest{Room: "-"})
	if err != nil {
		t.Fatal(err)
	}
	if msg, err := stream.Recv(); err != nil || msg.GetEvent().GetRecording().GetName() != started.GetRecording().GetName() {
		t.Errorf("watch: %v, %v", msg, err)
	}
	if code := r.do(t, "GET", "/healthz", nil); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}

	// Lists have the log's part, and say that the other one is missing: over gRPC in
	// the time that the caller has, over REST in that of the platform.
	lists := map[string]func(token string) (*classrecv1.ListRecordingsResponse, time.Duration, error){
		"gRPC": func(token string) (*classrecv1.ListRecordingsResponse, time.Duration, error) {
			ctx, done := context.WithTimeout(t.Context(), 4*time.Second)
			defer done()
			began := time.Now()
			page, err := c.ListRecordings(ctx, &classrecv1.ListRecordingsRequest{Room: "42", PageSize: 2, PageToken: token})
			return page, time.Since(began), err
		},
		"REST": func(token string) (*classrecv1.ListRecordingsResponse, time.Duration, error) {
			page, began := new(classrecv1.ListRecordingsResponse), time.Now()
			var text json.RawMessage
			if code := r.do(t, "GET", "/v1/rooms/42/recordings?pageSize=2&pageToken="+token, &text); code != http.StatusOK {
				return nil, 0, fmt.Errorf("HTTP status %d", code)
			}
			return page, time.Since(began), protojson.Unmarshal(text, page)
		},
	}
	for way, list := range lists {
		var got []string
		var token string
		for n := range 2 {
			page, took, err := list(token)
			if err != nil {
				t.Fatalf("%s: page %d: %v", way, n+1, err)
			}
			if reason := client.Details(status.ErrorProto(page.GetIncomplete())).Reason; reason != []string{"PLATFORM_TIMEOUT", "PLATFORM_UNAVAILABLE"}[n] {
				t.Errorf("%s: page %d is incomplete for %q", way, n+1, reason)
			}
			if most := []time.Duration{9 * time.Second, 3 * time.Second}[n]; took > most { // the second asks nobody
				t.Errorf("%s: page %d took %v", way, n+1, took)
			}
			for _, recording := range page.GetRecordings() {
				got = append(got, recording.GetName())
			}
			token = page.GetNextPageToken()
		}
		if !slices.Equal(got, names) || token != "" {
			t.Errorf("%s: listed %q and there is more (%q), want %q", way, got, token, names)
		}
	}
	var got []string
	for recording, err := range c.List(t.Context(), &classrecv1.ListRecordingsRequest{Room: "42"}) {
		var incomplete *client.IncompleteError
		if recording == nil && errors.As(err, &incomplete) && errors.Is(err, client.ErrDeadlineExceeded) {
			got = append(got, "incomplete")
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		got = append(got, recording.GetName())
	}
	if !slices.Equal(got, append(names, "incomplete")) {
		t.Errorf("the library lists %q", got)
	}
	stopWaiting()
	wg.Wait()
}
