// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/cast"
	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/mediafile"
	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Ten times as many calls of each kind as there is place for, for as long as the
// rest takes: each class that runs is recorded whole, what is watched comes in time,
// and what is over is refused.
func TestOverload(t *testing.T) {
	t.Parallel()
	const rate = 7
	o := overload(t, 6, rate, 20*rate, 30, starts, watches, reads) // twice the ten, for machines that are busy
	// What both cores do elsewhere in a test is not ours: make bench is strict.
	if most := max(4*o.idle, 2*time.Second); o.loaded > most {
		t.Errorf("p99 of a watch is %v in the flood, %v without", o.loaded, o.idle)
	}
	if o.hole > 2*time.Second {
		t.Errorf("%v are missing in a recording", o.hole)
	}
	for kind, f := range o.floods {
		if offered := float64(f.offered.Load()) / o.took.Seconds(); offered < 10*rate {
			t.Errorf("flood %d: %.0f calls a second were offered, and %d are taken: that is no test", kind, offered, rate)
		}
		if taken, most := f.taken.Load(), int64(rate*(o.took.Seconds()+2)); taken > most {
			t.Errorf("flood %d: %d calls were taken, of %d in that time", kind, taken, most)
		}
		if f.refused.Load() == 0 {
			t.Errorf("flood %d: nothing was refused", kind)
		}
	}
}

// call makes one call of a flood: the i-th of its n-th caller.
type call func(ctx context.Context, c *client.Client, n, i int) error

func starts(ctx context.Context, c *client.Client, n, i int) error {
	_, err := c.StartRecording(ctx, startIn(fmt.Sprintf("flood-%d-%d", n, i)))
	return err
}

// watches leaves again when the watch has begun.
func watches(ctx context.Context, c *client.Client, _, _ int) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	stream, err := c.WatchClassBegin(ctx, &classrecv1.WatchClassBeginRequest{Room: "class-0"})
	if err == nil {
		_, err = stream.Recv()
	}
	return err
}

func reads(ctx context.Context, c *client.Client, n, i int) error {
	var err error
	if (n+i)%2 == 0 {
		_, err = c.ListRecordings(ctx, &classrecv1.ListRecordingsRequest{Room: "class-0"})
	} else if _, err = c.GetRecording(ctx, &classrecv1.GetRecordingRequest{Name: "rooms/class-0/recordings/1"}); status.Code(err) == codes.NotFound {
		err = nil
	}
	return err
}

// flood is what became of the calls of a kind.
type flood struct{ offered, refused, taken atomic.Int64 }

// run makes calls until ctx ends, fewer where the machine has other things to do.
func (f *flood) run(ctx context.Context, t *testing.T, c *client.Client, perSecond int, one call) {
	var wg sync.WaitGroup
	const callers = 10
	for n := range callers {
		wg.Go(func() {
			mean := callers * time.Second / time.Duration(perSecond)
			pause := time.NewTimer(0)
			defer pause.Stop()
			for i := 0; ctx.Err() == nil; i++ {
				// At random: in step with the meter they would take every place.
				pause.Reset(rand.N(2 * mean))
				f.offered.Add(1)
				err := one(ctx, c, n, i)
				switch {
				case ctx.Err() != nil:
				case err == nil:
					f.taken.Add(1)
				case status.Code(err) == codes.ResourceExhausted:
					f.refused.Add(1)
				default:
					t.Error(err)
				}
				select {
				case <-pause.C:
				case <-ctx.Done():
				}
			}
		})
	}
	wg.Wait()
}

// overloaded is what a flood did: the p99 of a watch without and with it, the
// longest time from one frame of a recording to the next, and for how long it was.
type overloaded struct {
	idle, loaded, hole, took time.Duration
	floods                   []*flood // of each kind of calls
}

// overload runs as many recordings as capacity, and has callers make calls of some
// kinds meanwhile: of each so many a second are taken, and so many offered.
func overload(t *testing.T, capacity, rate, offered, turns int, kinds ...call) (o overloaded) {
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
	o.idle = watchLatency(t, r, turns)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	begun := time.Now()
	for _, kind := range kinds {
		f := new(flood)
		o.floods = append(o.floods, f)
		wg.Go(func() { f.run(ctx, t, c, offered, kind) })
	}
	for _, f := range o.floods {
		eventually(t, "the flood to be refused", func() bool { return f.refused.Load() > 20 })
	}
	o.loaded = watchLatency(t, r, turns)
	if n := o.floods[0].taken.Load(); n > 1 {
		t.Errorf("%d of the flood have begun, and there was one place", n)
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
		o.hole = max(o.hole, isWhole(t, r, done, streams[n].Sent()))
	}
	o.took = time.Since(begun)
	stop()
	wg.Wait()
	for kind, f := range o.floods {
		t.Logf("flood %d: %.1f times the rate offered, %d calls refused, %d taken",
			kind, float64(f.offered.Load())/o.took.Seconds()/float64(rate), f.refused.Load(), f.taken.Load())
	}
	t.Logf("p99 of a watch: %v idle, %v in the flood of %v; the longest pause is %v", o.idle, o.loaded, o.took, o.hole)
	return o
}

// turnsInRoom is how many classes begin one right after the other in a room: its
// clock has a second for each, and is not ahead by more than two.
const turnsInRoom = 3

// watchLatency is how long it takes at most, of 99 in 100, from when somebody
// begins a class in a room until a watcher is told.
func watchLatency(t *testing.T, r *running, turns int) time.Duration {
	t.Helper()
	var took []time.Duration
	for len(took) < turns {
		took = append(took, watchRoom(t, r, "watched "+string(talkcloud.NewUserID()))...)
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// watchRoom is how long each of some classes of a room of its own takes to be told.
func watchRoom(t *testing.T, r *running, room string) (took []time.Duration) {
	t.Helper()
	c := impatient(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stream grpc.ServerStreamingClient[classrecv1.WatchClassBeginResponse]
	var first *classrecv1.WatchClassBeginResponse
	eventually(t, "a place to watch", func() (taken bool) {
		var err error
		if stream, err = c.WatchClassBegin(ctx, &classrecv1.WatchClassBeginRequest{Room: room}); err == nil {
			first, err = stream.Recv()
		}
		if err != nil && status.Code(err) != codes.ResourceExhausted {
			t.Fatal(err)
		}
		return err == nil
	})
	next := func(action classrecv1.ClassBeginAction) {
		for {
			msg, err := first, error(nil)
			if first = nil; msg == nil {
				msg, err = stream.Recv()
			}
			if err != nil {
				t.Fatal(err)
			}
			if action == 0 && msg.GetSynced() != nil || msg.GetEvent() != nil && msg.GetEvent().GetAction() == action {
				return
			}
		}
	}
	next(0)
	teacher := joinAs(t, r.Server, talkcloud.RoomID(room))
	go func() {
		for range teacher.Incoming() { // until the test ends: it reads what comes
		}
	}()
	for range turnsInRoom {
		asked := time.Now()
		if err := teacher.Emit(t.Context(), talkcloud.EventPubMsg, talkcloud.ClassBegin{HasRecordType: true, RecordType: 1, RecordChat: true}.Message()); err != nil {
			t.Fatal(err)
		}
		next(classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD)
		took = append(took, time.Since(asked))
		if _, err := c.StopRecording(t.Context(), &classrecv1.StopRecordingRequest{Room: room}); err != nil {
			t.Fatal(err)
		}
		next(classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE)
	}
	return took
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
	// not of the class; what comes too late leaves a hole, which is filled with silence.
	if got := uint64(len(sound)); got > sent.AudioPackets+50 || got+50 < sent.AudioPackets {
		t.Errorf("%s: %d frames of sound were sent, and %d are recorded", rec.GetName(), sent.AudioPackets, got)
	}
	return hole
}
