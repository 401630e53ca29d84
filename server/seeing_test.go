// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/servertest"
)

// roundTrip is the answer to a request.
func roundTrip(t *testing.T, client *http.Client, req *http.Request) (code int, contentType, body string) {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(text)
}

// roomsOf is the admin API of a server.
func roomsOf(t *testing.T, address string) adminv1.RoomServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return adminv1.NewRoomServiceClient(conn)
}

// awaitRoom waits until the only room that is worked is as it should be.
func awaitRoom(t *testing.T, rooms adminv1.RoomServiceClient, until func(*adminv1.Room) bool) *adminv1.Room {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		resp, err := rooms.ListRooms(t.Context(), &adminv1.ListRoomsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.GetRooms()) == 1 && until(resp.GetRooms()[0]) {
			return resp.GetRooms()[0]
		}
		if time.Now().After(end) {
			t.Fatalf("the rooms stay %v", resp)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

// What a worker does is told in each state of its room, and the recording's story
// afterwards.
func TestRooms_Story(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	rooms := roomsOf(t, s.AdminAddr())
	s.Room("42").Teacher("ms-li")
	r, err := s.Client().Start(t.Context(), &classrecv1.StartRecordingRequest{Room: "42", RequestId: "lesson-7"})
	if err != nil {
		t.Fatal(err)
	}
	on := awaitRoom(t, rooms, func(r *adminv1.Room) bool { return r.GetClassOn() })
	if on.GetDoing() != "stays in the room" || !strings.Contains(on.GetWhy(), r.GetName()) || on.GetWaitsFor() == "" ||
		on.GetSince() == nil || on.GetNextTime() == nil || !on.GetLeaseHeld() || on.GetSession() != adminv1.SessionState_SESSION_STATE_ONLINE ||
		len(on.GetRecordings()) != 1 || on.GetRecordings()[0].GetRequestId() != "lesson-7" || on.GetRecordings()[0].GetDeadline() == nil {
		t.Errorf("while the class is on: %v", on)
	}

	s.Platform().Absent()
	away := awaitRoom(t, rooms, func(r *adminv1.Room) bool { return r.GetSession() == adminv1.SessionState_SESSION_STATE_AWAY })
	if away.GetDoing() != "makes the connection to the room again" || away.GetAwaySince() == nil || away.GetLastError() == "" {
		t.Errorf("while the platform is away: %v", away)
	}
	explained, err := rooms.ExplainRecording(t.Context(), &adminv1.ExplainRecordingRequest{Name: r.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	if sum := explained.GetSummary(); !strings.HasPrefix(sum, "The class is on; ") || !strings.Contains(sum, "makes the connection to the room again") || !strings.Contains(sum, "it last failed with: ") {
		t.Errorf("the summary is %q", sum)
	}
	s.Platform().Normal()
	awaitRoom(t, rooms, func(r *adminv1.Room) bool { return r.GetSession() == adminv1.SessionState_SESSION_STATE_ONLINE })

	if _, err := s.Client().Stop(t.Context(), &classrecv1.StopRecordingRequest{Name: r.GetName()}); err != nil {
		t.Fatal(err)
	}
	s.Await(r.GetName(), classrecv1.RecordingState_RECORDING_STATE_AVAILABLE)
	explained, err = rooms.ExplainRecording(t.Context(), &adminv1.ExplainRecordingRequest{Name: r.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	wants := []struct {
		state classrecv1.RecordingState
		text  string
	}{
		{classrecv1.RecordingState_RECORDING_STATE_STARTING, `StartRecording asked for it (request_id "lesson-7")`},
		{classrecv1.RecordingState_RECORDING_STATE_RECORDING, "the platform confirmed ClassBegin"},
		{classrecv1.RecordingState_RECORDING_STATE_STOPPING, "its end was asked for: StopRecording was called"},
		{classrecv1.RecordingState_RECORDING_STATE_PROCESSING, "the class ended: StopRecording was called"},
		{classrecv1.RecordingState_RECORDING_STATE_AVAILABLE, "the platform has no files of it"},
	}
	changes := explained.GetChanges()
	if len(changes) != len(wants) || explained.GetHistoryIncomplete() || explained.GetRoom() != nil {
		t.Fatalf("the story is %v", explained)
	}
	for i, want := range wants {
		c := changes[i]
		if c.GetState() != want.state || !strings.HasPrefix(c.GetText(), want.text) || c.GetTime() == nil || c.GetSequence() == 0 ||
			i > 0 && (c.GetSequence() <= changes[i-1].GetSequence() || c.GetTime().AsTime().Before(changes[i-1].GetTime().AsTime())) {
			t.Errorf("change %d is %v", i, c)
		}
	}
	if sum := explained.GetSummary(); sum != "The class is over (StopRecording was called), and the platform has no files of it: nobody published media." {
		t.Errorf("the summary is %q", sum)
	}
	_, err = rooms.ExplainRecording(t.Context(), &adminv1.ExplainRecordingRequest{Name: "rooms/42/recordings/1"})
	if status.Code(err) != codes.NotFound {
		t.Errorf("of no recording: %v", err)
	}
	_, err = rooms.ExplainRecording(t.Context(), &adminv1.ExplainRecordingRequest{Name: "42"})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("of no name: %v", err)
	}
}

// The URLs of files are secrets, and are not told.
func TestExplain_NoURLs(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	stream := s.Room("42").Teacher("ms-li").Publish(servertest.Pattern())
	r, err := s.Client().Start(t.Context(), &classrecv1.StartRecordingRequest{Room: "42"})
	if err != nil {
		t.Fatal(err)
	}
	awaitSeries(t, s.URL(), `classrec_recorder_written_bytes_total`, func(v float64) bool { return v > 1000 })
	stream.Stop()
	if _, err := s.Client().Stop(t.Context(), &classrecv1.StopRecordingRequest{Name: r.GetName()}); err != nil {
		t.Fatal(err)
	}
	done := s.Await(r.GetName(), classrecv1.RecordingState_RECORDING_STATE_AVAILABLE)
	explained, err := roomsOf(t, s.AdminAddr()).ExplainRecording(t.Context(), &adminv1.ExplainRecordingRequest{Name: r.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	if len(done.GetUrls()) == 0 || len(explained.GetRecording().GetFiles()) != len(done.GetFiles()) || strings.Contains(explained.String(), "://") {
		t.Errorf("%v", explained)
	}
}

// /debug/rooms says the same as JSON, as text and as a page, whatever a room is
// called; and to operators only.
func TestDebugRooms(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	r := newRunning(t, cfg)
	room := `<script>alert(1)`
	if _, err := r.api.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: room}); err != nil {
		t.Fatal(err)
	}
	ask := func(path, accept string) (int, string, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", accept)
		return roundTrip(t, r.http, req)
	}
	code, kind, body := ask("/debug/rooms", "application/json")
	var rooms struct {
		Replica string
		Rooms   []struct{ Room, Doing, Why, WaitsFor, Session string }
	}
	if err := json.Unmarshal([]byte(body), &rooms); err != nil || code != http.StatusOK || kind != "application/json" ||
		len(rooms.Rooms) != 1 || rooms.Rooms[0].Room != room || rooms.Rooms[0].Doing == "" || rooms.Rooms[0].Session != "SESSION_STATE_ONLINE" || rooms.Replica == "" {
		t.Errorf("%d %s: %v: %s", code, kind, err, body)
	}
	if code, kind, body := ask("/debug/rooms", "*/*"); code != http.StatusOK || !strings.HasPrefix(kind, "text/plain") || !strings.Contains(body, "waits for") || !strings.Contains(body, "RECORDING since ") {
		t.Errorf("%d %s: %s", code, kind, body)
	}
	if code, kind, body := ask("/debug/rooms", "text/html,*/*"); code != http.StatusOK || !strings.HasPrefix(kind, "text/html") || !strings.Contains(body, "&lt;script&gt;") || strings.Contains(body, "<script>") {
		t.Errorf("%d %s: %s", code, kind, body)
	}
	if code, _, body := ask("/debug/rooms?room=other&format=text", ""); code != http.StatusOK || !strings.Contains(body, ": 0 rooms") {
		t.Errorf("of another room: %d %s", code, body)
	}
}

// With tokens, the scope admin is needed.
func TestDebugRooms_Scope(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	_, operator := newToken(t, cfg.DataDir, auth.Token{Name: "operator", Scopes: []auth.Scope{auth.ScopeAdmin}})
	_, teacher := newToken(t, cfg.DataDir, auth.Token{Name: "teacher", Scopes: []auth.Scope{auth.ScopeStart, auth.ScopeList}})
	r := newRunning(t, cfg)
	for token, want := range map[string]int{"": http.StatusUnauthorized, "nonsense": http.StatusUnauthorized, teacher: http.StatusForbidden, operator: http.StatusOK} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.base+"/debug/rooms", nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		if code, _, body := roundTrip(t, r.http, req); code != want || strings.Contains(body, "replica") != (want == http.StatusOK) {
			t.Errorf("%d, not %d: %s", code, want, body)
		}
	}
}
