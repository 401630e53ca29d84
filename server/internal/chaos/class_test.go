// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaos_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/chaostest"
)

// classroom is a room with people in it, in which one class follows the other.
type classroom struct {
	k       *killing
	name    string
	people  []*chaostest.Person
	request func() *classrecv1.StartRecordingRequest
	// A class ends when it has survived so many kills, and has lasted so long.
	survive func() int
	last    func() time.Duration
}

// class is one class, as its callers know it.
type class struct {
	room    *classroom
	request *classrecv1.StartRecordingRequest

	mu      sync.Mutex
	at      moment    // the phase it is in
	name    string    // "" until acknowledged
	asked   time.Time // when Start was first asked for
	begun   time.Time // when Start was answered
	stopped time.Time // when Stop was first asked for
	goesOn  map[int]time.Time
	gaps    int // in the end
}

// rooms are those of the test: long classes, which survive many kills, and short ones, which begin and end all the time.
func (k *killing) rooms() []*classroom {
	clip := chaostest.LoadClips(k.t)
	person := func(room, user string, way chaostest.Way) *chaostest.Person {
		video, audio := clip.StudentVP8, clip.StudentOpus
		switch user {
		case "teacher":
			video, audio = clip.TeacherVP8, clip.TeacherOpus
		case "teacher-h264":
			video, audio = clip.TeacherH264, clip.TeacherOpus
		}
		return chaostest.NewPerson(k.node, room, user, way, video, audio)
	}
	between := func(least, most int) func() int { return func() int { return least + rand.IntN(most-least+1) } }
	endure, few := between(10, 20), between(0, 0)
	if !long {
		endure = between(5, 8)
	}
	short := func() time.Duration { return chaostest.UpTo(1500 * time.Millisecond) }
	// Long enough that not all of it may be lost.
	longer := func() time.Duration { return 3*time.Second + chaostest.UpTo(2*time.Second) }
	asked := func(format classrecv1.RecordingFormat, kind classrecv1.RecordType) func() *classrecv1.StartRecordingRequest {
		return func() *classrecv1.StartRecordingRequest {
			return &classrecv1.StartRecordingRequest{Format: format, RecordType: kind}
		}
	}
	const (
		mkv, webm, mp4 = classrecv1.RecordingFormat_RECORDING_FORMAT_MKV, classrecv1.RecordingFormat_RECORDING_FORMAT_WEBM, classrecv1.RecordingFormat_RECORDING_FORMAT_MP4
		list, file     = classrecv1.RecordType_RECORD_TYPE_LIST, classrecv1.RecordType_RECORD_TYPE_FILE
	)
	return []*classroom{
		{
			k: k, name: "long-list", request: asked(mkv, list), survive: endure, last: short,
			people: []*chaostest.Person{person("long-list", "teacher", chaostest.Vendor), person("long-list", "student", chaostest.WHIP)},
		},
		{
			k: k, name: "long-file", request: asked(webm, file), survive: endure, last: short,
			people: []*chaostest.Person{person("long-file", "student", chaostest.Vendor), person("long-file", "student-2", chaostest.WHIP)},
		},
		{
			k: k, name: "long-h264", request: asked(mkv, list), survive: endure, last: short,
			people: []*chaostest.Person{person("long-h264", "teacher-h264", chaostest.WHIP)},
		},
		{
			k: k, name: "short", request: asked(webm, list), survive: few, last: short,
			people: []*chaostest.Person{person("short", "student", chaostest.WHIP)},
		},
		{
			k: k, name: "short-mp4", request: asked(mp4, list), survive: few, last: longer,
			people: []*chaostest.Person{person("short-mp4", "student", chaostest.WHIP)},
		},
		{k: k, name: "nobody", request: asked(mkv, list), survive: few, last: short},
	}
}

// maxUnfinished is how many classes of a room may wait for their files while the next one is on.
const maxUnfinished = 3

// run holds classes until the test is over, and waits for their files.
func (r *classroom) run(ctx context.Context) {
	unfinished := make(chan struct{}, maxUnfinished)
	var finishing sync.WaitGroup
	defer finishing.Wait()
	for n := 1; r.k.open(); n++ {
		c := &class{room: r, request: r.request(), asked: time.Now(), goesOn: map[int]time.Time{}}
		c.request.Room, c.request.RequestId = r.name, fmt.Sprintf("%s-%d", r.name, n)
		r.k.note(func() { r.k.classes = append(r.k.classes, c) })
		ended, err := c.hold(ctx)
		if err != nil {
			r.k.t.Errorf("class %s: %v", c.request.GetRequestId(), err)
			return
		}
		unfinished <- struct{}{}
		finishing.Go(func() {
			defer func() { <-unfinished }()
			if err := c.finish(ctx, ended); err != nil {
				r.k.t.Errorf("class %s, %s: %v", c.request.GetRequestId(), c.acknowledged(), err)
			}
			c.is("")
		})
		if !chaostest.Pause(ctx, chaostest.UpTo(300*time.Millisecond)) {
			return
		}
	}
}

// hold is a class from its start to its end, which is returned.
func (c *class) hold(ctx context.Context) (ended time.Time, err error) {
	k := c.room.k
	c.is(whileStarting)
	var rec *classrecv1.Recording
	err = k.caller.Try(ctx, func(ctx context.Context) error {
		resp, err := k.api.StartRecording(ctx, c.request)
		rec = resp.GetRecording()
		return err
	})
	if err != nil {
		return ended, fmt.Errorf("start: %w", err)
	}
	c.mu.Lock()
	c.name, c.begun = rec.GetName(), time.Now()
	c.mu.Unlock()
	if err := k.ledger.Started(c.room.name, c.request.GetRequestId(), rec.GetName()); err != nil {
		return ended, err
	}
	c.is(whileRecording)

	first := len(k.node.Lives())
	survive, until := c.room.survive(), time.After(c.room.last())
wait:
	for {
		select {
		case <-until:
			if len(k.node.Lives())-first >= survive {
				break wait
			}
			until = time.After(chaostest.UpTo(300 * time.Millisecond))
		case <-k.over:
			break wait
		case <-ctx.Done():
			return ended, ctx.Err()
		}
	}

	c.mu.Lock()
	c.stopped = time.Now()
	c.mu.Unlock()
	c.is(whileStopping)
	err = k.caller.Try(ctx, func(ctx context.Context) error {
		resp, err := k.api.StopRecording(ctx, &classrecv1.StopRecordingRequest{Name: rec.GetName()})
		if err == nil && resp.GetRecording().GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED {
			return fmt.Errorf("stopped with %v", resp.GetRecording().GetEndReason())
		}
		return err
	})
	if err != nil {
		return ended, fmt.Errorf("stop: %w", err)
	}
	k.ledger.Stopped(rec.GetName())
	c.is(whileMaking)
	return time.Now(), nil
}

// is puts the class into a phase.
func (c *class) is(m moment) {
	c.mu.Lock()
	c.at = m
	c.mu.Unlock()
	if m != "" {
		c.room.k.enter(m)
	}
}

func (c *class) phase() moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *class) acknowledged() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.name
}

func (c *class) isOn() bool { return c.phase() == whileRecording }

func (c *class) begunBefore(at time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.begun.Before(at)
}

// awaitGoingOn waits until the class is recorded again in a new life.
func (c *class) awaitGoingOn(ctx context.Context, life *chaostest.Life) {
	k := c.room.k
	ctx, cancel := context.WithTimeout(ctx, chaostest.Patience)
	defer cancel()
	for {
		rec, err := c.get(ctx)
		if err != nil {
			k.t.Errorf("%s does not go on: %v", c.acknowledged(), err)
			return
		}
		if !c.isOn() {
			return // its end has been asked for meanwhile
		}
		if s := rec.GetState(); s != classrecv1.RecordingState_RECORDING_STATE_RECORDING {
			k.t.Errorf("%s was on and is %v, %v", rec.GetName(), s, rec.GetEndReason())
			return
		}
		gaps := rec.GetGaps()
		at := rec.GetUpdateTime().AsTime()
		if n := len(gaps); n > 0 && gaps[n-1].GetEndTime() != nil && at.After(life.Began) {
			c.mu.Lock()
			c.goesOn[life.Number] = at
			c.mu.Unlock()
			k.note(func() { k.resumed = append(k.resumed, at.Sub(life.Began)) })
			return
		}
		chaostest.Pause(ctx, 10*time.Millisecond)
	}
}

func (c *class) get(ctx context.Context) (rec *classrecv1.Recording, err error) {
	k := c.room.k
	err = k.caller.Try(ctx, func(ctx context.Context) error {
		resp, err := k.api.GetRecording(ctx, &classrecv1.GetRecordingRequest{Name: c.acknowledged()})
		rec = resp.GetRecording()
		return err
	})
	return rec, err
}

// verify holds what is there at the end against what was acknowledged.
func (k *killing) verify(ctx context.Context, rooms []*classroom) {
	for _, c := range k.classes {
		err := k.caller.Try(ctx, func(ctx context.Context) error {
			resp, err := k.api.StartRecording(ctx, proto.CloneOf(c.request))
			if err == nil {
				err = k.ledger.Started(c.room.name, c.request.GetRequestId(), resp.GetRecording().GetName())
			}
			return err
		})
		if err != nil {
			k.t.Errorf("request id %s, which gave %s, asked again: %v", c.request.GetRequestId(), c.acknowledged(), err)
		}
	}
	remains := 0
	for _, r := range rooms {
		list, err := k.caller.ListRoom(ctx, k.api, r.name)
		if err != nil {
			k.t.Errorf("list room %s: %v", r.name, err)
		}
		names := k.ledger.Names()[r.name]
		for _, lost := range chaostest.Lost(names, list) {
			k.t.Error(lost + ", in the end")
		}
		for _, rec := range list {
			switch {
			case rec.GetOrigin() == classrecv1.RecordingOrigin_RECORDING_ORIGIN_PLATFORM:
				remains++
			case !slices.Contains(names, rec.GetName()):
				k.t.Errorf("%s, %v, is listed, and nobody was told of it: %v", rec.GetName(), rec.GetOrigin(), rec.GetState())
			case rec.GetState() != classrecv1.RecordingState_RECORDING_STATE_AVAILABLE:
				k.t.Errorf("%s is %v in the end", rec.GetName(), rec.GetState())
			}
		}
	}
	log, err := k.caller.ReadLog(ctx, k.api)
	if err != nil {
		k.t.Errorf("read the log: %v", err)
	}
	for _, wrong := range k.ledger.AgainstLog(log, nil) {
		k.t.Error("the log: " + wrong)
	}
	chaostest.Print(k.t, "classes that only the platform knows (killed between ClassBegin and its being stored): %d", remains)
}
