// SPDX-License-Identifier: Apache-2.0

package roomserver_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// TestPublish follows the exchange of the vendor's SDK, and what the room is told of it.
func TestPublish(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	teacher := s.Join(t, "42", "teacher")
	watcher := s.Join(t, "42", "watcher")
	pub := teacher.Publish(t, clip(t)) // offer, answer, candidates, ready, onAddStream
	added := line(watcher.Wait(t, talkcloud.EventAddStream))
	for _, part := range []string{`"extensionId":"teacher"`, `"audio":true`, `"video":true`, `"attributes":{"type":"video"}`} {
		if !strings.Contains(added, part) {
			t.Errorf("%s has no %s", added, part)
		}
	}
	var stream struct{ ID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(added, "onAddStream ")), &stream); err != nil {
		t.Fatal(err)
	}
	if late := s.Join(t, "42", "late"); !strings.Contains(string(late.Reply.RoomInfo.Streams), stream.ID) {
		t.Errorf("late joiner knows the streams %s", late.Reply.RoomInfo.Streams)
	}
	mute := map[string]any{"streamId": stream.ID, "msg": json.RawMessage(`{"type":"updatestream","config":{"muteStream":{"video":true,"audio":false}}}`)}
	if ack := teacher.Call(t, talkcloud.EventSignalingMessage, mute, nil); refusal(ack) != "" {
		t.Errorf("mute: %s", ack)
	}
	if ack := watcher.Call(t, talkcloud.EventSignalingMessage, mute, nil); refusal(ack) != "UNKNOWN_STREAM" {
		t.Errorf("mute of another one's stream: %s", ack)
	}
	watcher.Call(t, talkcloud.EventUnpublish, stream.ID) // not its own
	teacher.Call(t, talkcloud.EventUnpublish, stream.ID)
	if got, want := line(watcher.Wait(t, talkcloud.EventRemoveStream)), `onRemoveStream {"id":"`+stream.ID+`"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	<-pub.Failed() // our end is closed too
	teacher.Call(t, talkcloud.EventUnpublish, stream.ID)
	watcher.Sync(t)
	for _, name := range names(watcher.Events()) {
		if name == talkcloud.EventRemoveStream {
			t.Error("the end of the stream was told twice")
		}
	}
}

// TestPublish_BadOffer is told to the publisher alone; it may try again.
func TestPublish_BadOffer(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.MaxStreams = 2 }))
	teacher := s.Join(t, "42", "teacher")
	publish := func(source string) (id, reason string) {
		t.Helper()
		ack := teacher.Call(t, talkcloud.EventPublish, map[string]any{"state": "ms", "attributes": map[string]string{"type": source}}, nil)
		if len(ack) == 2 && string(ack[0]) == "0" {
			if err := json.Unmarshal(ack[1], &id); err != nil {
				t.Fatal(err)
			}
		}
		return id, refusal(ack)
	}
	for _, sdp := range []string{"", "v=0", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", strings.Repeat("x", 200<<10)} {
		id, _ := publish("video")
		ack := teacher.Call(t, talkcloud.EventSignalingMessage, map[string]any{"streamId": id, "msg": map[string]string{"type": "offer", "sdp": sdp}}, nil)
		if refusal(ack) != "BAD_PAYLOAD" {
			t.Errorf("offer %.20q: ack %s", sdp, ack)
		}
		if got := line(teacher.Wait(t, talkcloud.EventPublishFailed)); !strings.Contains(got, id) {
			t.Errorf("got %s", got)
		}
	}
	first, _ := publish("video")
	second, _ := publish("video") // tried again: the first is given up
	if first == "" || second == "" || first == second {
		t.Errorf("streams %q and %q", first, second)
	}
	if _, reason := publish("screen"); reason != "" {
		t.Errorf("screen: %s", reason)
	}
	if _, reason := publish("media"); reason != "LIMIT_EXCEEDED" {
		t.Errorf("a third stream: %q", reason)
	}
	teacher.Sync(t)
	if got := names(teacher.Events()); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// TestWHIP has publishers who come by WHIP, with and without a socket.
func TestWHIP(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	teacher := s.Join(t, "42", "teacher")

	pub := s.PublishWHIP(t, "42", "camera", clip(t))
	teacher.Wait(t, talkcloud.EventParticipantJoined)
	teacher.Wait(t, talkcloud.EventAddStream)
	camera := s.Join(t, "42", "camera") // its owner comes: the stream goes on
	teacher.Wait(t, talkcloud.EventParticipantJoined)
	if !strings.Contains(string(camera.Reply.RoomInfo.Streams), `"extensionId":"camera"`) {
		t.Errorf("streams: %s", camera.Reply.RoomInfo.Streams)
	}
	camera.Close()
	<-camera.Done()
	roomservertest.Poll(t, "the server to notice", func() bool { // it stays as a publisher
		teacher.Sync(t)
		for _, name := range names(teacher.Events()) {
			t.Errorf("teacher was told %s", name)
		}
		return s.Room().Connections() == 1
	})
	if err := pub.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	teacher.Wait(t, talkcloud.EventRemoveStream)
	if got := line(teacher.Wait(t, talkcloud.EventParticipantLeft)); got != `participantLeft "camera"` {
		t.Errorf("got %s", got)
	}

	with := s.PublishWHIP(t, "42", "teacher", clip(t)) // beside its socket
	teacher.Wait(t, talkcloud.EventAddStream)
	if err := with.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	teacher.Wait(t, talkcloud.EventRemoveStream)
	teacher.Sync(t)
	if got := names(teacher.Events()); len(got) != 0 {
		t.Errorf("got %v", got)
	}

	alone := s.PublishWHIP(t, "43", "camera", clip(t)) // a room with nobody else in it
	evicted := s.PublishWHIP(t, "42", "camera", clip(t))
	teacher.Wait(t, talkcloud.EventAddStream)
	teacher.Emit(t, talkcloud.EventEvictParticipant, map[string]any{"id": "camera"})
	teacher.Wait(t, talkcloud.EventRemoveStream)
	teacher.Wait(t, talkcloud.EventParticipantLeft)
	select {
	case <-evicted.Failed():
	case <-roomservertest.Context(t).Done():
		t.Error("the connection of an evicted publisher goes on")
	}
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
	teacher.Publish(t, clip(t))
	untilBlocks(t, s, mustJSON(t, ts)+"/*.mkv", 30)
	teacher.EndClass(t)
	if item := recorded(t, s, "42", ts); len(item.Files) != 1 || item.Files[0].UserID != "teacher" {
		t.Errorf("recorded with somebody who was put out: %+v", item.Files)
	}
	_ = evicted.Close() // its session is gone already
	if err := alone.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// TestWHIP_Twice has one user publish two streams. The user leaves with the second.
func TestWHIP_Twice(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	watcher := s.Join(t, "42", "watcher")
	camera := s.PublishWHIP(t, "42", "user", clip(t))
	screen := s.PublishWHIP(t, "42", "user", clip(t))
	for range 2 { // a stream whose media are not connected ends unheard of
		watcher.Wait(t, talkcloud.EventAddStream)
	}
	for i, pub := range []*publisher.Publisher{camera, screen} {
		if err := pub.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		watcher.Wait(t, talkcloud.EventRemoveStream)
		watcher.Sync(t)
		left := slices.Contains(names(watcher.Events()), talkcloud.EventParticipantLeft)
		if last := i == 1; left != last {
			t.Errorf("after stream %d: left is %t", i+1, left)
		}
	}
}

// TestWHIP_Refused asks for what WHIP publishers do not get.
func TestWHIP_Refused(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) {
		c.StrictRooms = true
		c.Rooms = map[talkcloud.RoomID]roomserver.RoomConfig{"42": {}, "7": {Passwords: map[int]talkcloud.Secret{0: "geheim"}}}
	}))
	watcher := s.Join(t, "42", "watcher")
	for _, test := range []struct {
		path, token string
		status      int
	}{
		{"/whip/42", "", 404},
		{"/whip/42/", "", 404},
		{"/whip/42/a/b", "", 404},
		{"/whip/42/__x", "", 404},
		{"/whip//u", "", 404},
		{"/whip/43/u", "", 404},
		{"/whip/7/u", "", 401},
		{"/whip/7/u", "falsch", 401},
		{"/whip/7/u", "geheim", 400},
		{"/whip/42/u", "", 400},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+test.path, strings.NewReader("v=0"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/sdp")
		if test.token != "" {
			req.Header.Set("Authorization", "Bearer "+test.token)
		}
		resp, err := s.HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != test.status {
			t.Errorf("%s with %q: status %d, want %d", test.path, test.token, resp.StatusCode, test.status)
		}
	}
	watcher.Sync(t)
	if got := strings.Join(names(watcher.Events()), " "); got != "participantJoined participantLeft" {
		t.Errorf("the room was told %s", got)
	}
	_, err := publisher.PublishWHIP(roomservertest.Context(t), clip(t), publisher.WHIP{URL: s.URL + "/whip/7/u", Client: s.HTTPClient()})
	if err == nil {
		t.Error("published without a password")
	}
}
