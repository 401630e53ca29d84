// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/cast"
	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/mediafile"
	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Ten times as many starts as there is place for, for as long as the rest takes:
// each class that runs is recorded whole, what is watched comes in time, and what is
// over is refused.
func TestOverload(t *testing.T) {
	t.Parallel()
	idle, loaded, _ := overload(t, 6, 20, 30)
	// What both cores do elsewhere in a test is not ours: make bench is strict, about
	// this and about holes.
	if most := max(4*idle, 2*time.Second); loaded > most {
		t.Errorf("p99 of a watch is %v in the flood, %v without", loaded, idle)
	}
}

// overload runs as many recordings as capacity, offers ten times the rate of
// starts, and returns the p99 of a watch without and with that, and the longest time
// from one frame of a recording to the next.
func overload(t *testing.T, capacity, rate, turns int) (idle, loaded, hole time.Duration) {
	t.Helper()
	cfg := anywhere(t.TempDir())
	cfg.MaxRecordings, cfg.MaxCallsPerSecond = capacity+1, float64(rate)
	r := newRunning(t, cfg)
	c := impatient(t, r)
	people := cast.New(cast.Config{BaseURL: (&url.URL{Scheme: "http", Host: r.RoomHTTPAddr().String()}).String()})
	defer people.Close()
	pattern, err := cast.Pattern(talkcloud.RoleStudent)
	if err != nil {
		t.Fatal(err)
	}
	var running []*classrecv1.Recording
	var streams []*cast.Stream
	for n := range capacity {
		room := fmt.Sprintf("class-%d", n)
		res, err := c.StartRecording(t.Context(), startIn(room))
		if err != nil {
			t.Fatal(err)
		}
		student, err := people.Join(t.Context(), cast.Entrance{Room: room, Name: "student", Role: talkcloud.RoleStudent})
		if err != nil {
			t.Fatal(err)
		}
		stream, err := student.Publish(t.Context(), pattern)
		if err != nil {
			t.Fatal(err)
		}
		running, streams = append(running, res.GetRecording()), append(streams, stream)
	}
	idle = watchLatency(t, r, turns)

	flood, stopFlood := context.WithCancel(t.Context())
	defer stopFlood()
	var wg sync.WaitGroup
	var offered, refused, begun atomic.Int64
	for n := range 10 {
		wg.Go(func() {
			tick := time.NewTicker(time.Second / time.Duration(rate))
			defer tick.Stop()
			for i := 0; flood.Err() == nil; i++ {
				offered.Add(1)
				_, err := c.StartRecording(flood, startIn(fmt.Sprintf("flood-%d-%d", n, i)))
				switch {
				case flood.Err() != nil:
				case err == nil:
					begun.Add(1)
				case status.Code(err) == codes.ResourceExhausted:
					refused.Add(1)
				default:
					t.Error(err)
				}
				select {
				case <-tick.C:
				case <-flood.Done():
				}
			}
		})
	}
	eventually(t, "the flood to be refused", func() bool { return refused.Load() > 20 })
	loaded = watchLatency(t, r, turns)
	t.Logf("p99 of a watch: %v idle, %v with %d starts offered, of which %d were refused", idle, loaded, offered.Load(), refused.Load())
	if begun.Load() > 1 {
		t.Errorf("%d of the flood have begun, and there was one place", begun.Load())
	}
	for n, rec := range running {
		streams[n].Stop()
		if _, err := c.StopRecording(t.Context(), &classrecv1.StopRecordingRequest{Name: rec.GetName()}); err != nil {
			t.Errorf("stop in the flood: %v", err)
		}
		var done *classrecv1.Recording
		eventually(t, "the files of "+rec.GetName(), func() bool {
			res, err := c.GetRecording(t.Context(), &classrecv1.GetRecordingRequest{Name: rec.GetName()})
			if status.Code(err) == codes.ResourceExhausted {
				return false // looking, too, has a rate
			} else if err != nil {
				t.Fatal(err)
			}
			done = res.GetRecording()
			return done.GetState() == classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
		})
		if len(done.GetGaps()) > 0 || done.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED {
			t.Errorf("class %d is not whole: %v", n, done)
		}
		hole = max(hole, isWhole(t, r, done, streams[n].Sent()))
	}
	stopFlood()
	wg.Wait()
	return idle, loaded, hole
}

// watchLatency is how long it takes at most, of 99 in 100, from when somebody
// begins a class in a room until a watcher is told.
func watchLatency(t *testing.T, r *running, turns int) time.Duration {
	t.Helper()
	c := impatient(t, r)
	stream, err := c.WatchClassBegin(t.Context(), &classrecv1.WatchClassBeginRequest{Room: "watched"})
	if err != nil {
		t.Fatal(err)
	}
	next := func(action classrecv1.ClassBeginAction) {
		for {
			msg, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if action == 0 && msg.GetSynced() != nil || msg.GetEvent() != nil && msg.GetEvent().GetAction() == action {
				return
			}
		}
	}
	next(0)
	teacher := joinAs(t, r.Server, "watched")
	go func() {
		for range teacher.Incoming() { // until the test ends: it reads what comes
		}
	}()
	var took []time.Duration
	for range turns {
		asked := time.Now()
		if err := teacher.Emit(t.Context(), talkcloud.EventPubMsg, talkcloud.ClassBegin{HasRecordType: true, RecordType: 1, RecordChat: true}.Message()); err != nil {
			t.Fatal(err)
		}
		next(classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD)
		took = append(took, time.Since(asked))
		if _, err := c.StopRecording(t.Context(), &classrecv1.StopRecordingRequest{Room: "watched"}); err != nil {
			t.Fatal(err)
		}
		next(classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE)
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// isWhole reads the file of a recording, and finds in it what one person has sent,
// from the first to the last. It returns the longest time between two frames.
func isWhole(t *testing.T, r *running, rec *classrecv1.Recording, sent publisher.Stats) (hole time.Duration) {
	t.Helper()
	var media []clips.Clip
	for _, address := range rec.GetUrls() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := r.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		if err = joinClose(err, resp.Body); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(data, []byte{0x1a, 0x45, 0xdf, 0xa3}) {
			continue // the chat
		}
		m, err := mediafile.Parse(data)
		if err != nil || m.Video == nil || m.Audio == nil {
			t.Fatalf("%s: has no picture or no sound: %v", rec.GetName(), err)
		}
		media = append(media, *m.Video, *m.Audio)
	}
	if len(media) != 2 {
		t.Fatalf("%s: %d tracks in %v", rec.GetName(), len(media), rec.GetFiles())
	}
	for _, track := range media {
		for n := range track.Frames[1:] {
			hole = max(hole, track.Frames[n+1].Time-track.Frames[n].Time)
		}
	}
	sound := media[1].Frames
	// At 15 pictures a second, and as long as the sound.
	if got, want := len(media[0].Frames), int(sound[len(sound)-1].Time.Seconds()*15); got < want-8 {
		t.Errorf("%s: %d pictures are recorded, and %d were sent", rec.GetName(), got, want)
	}
	// A packet of sound is a frame. What comes before the room knows of the stream is
	// not of the class.
	if got := uint64(len(sound)); got > sent.AudioPackets || got+50 < sent.AudioPackets {
		t.Errorf("%s: %d frames of sound were sent, and %d are recorded", rec.GetName(), sent.AudioPackets, got)
	}
	return hole
}
