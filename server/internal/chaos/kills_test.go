// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaos_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/chaostest"
)

// moment is what a kill aims at.
type moment string

const (
	atBoot         moment = "at boot"                     // before the process serves, or just after
	whileResuming  moment = "while classes are taken up"  // it serves; they may not be on again
	whileStarting  moment = "while a class starts"        // Start is asked for, not answered
	whileRecording moment = "while classes are recorded"  // nothing else happens
	whileStopping  moment = "while a class stops"         // Stop is asked for, not answered
	whileMaking    moment = "while files are made"        // Stop is answered, files are not there
	whileClosing   moment = "while the process is closed" // SIGTERM has come
)

// moments is what kills aim at, as often as it stands there.
func moments() []moment {
	return []moment{
		atBoot, atBoot, whileResuming, whileStarting, whileStarting, whileRecording, whileRecording, whileRecording,
		whileStopping, whileStopping, whileMaking, whileMaking, whileClosing,
	}
}

const (
	// maxLoss is how much of a publisher's media a kill may take.
	maxLoss = time.Second
	// maxBack is when, after class and publisher are back, the first frame is in the file.
	maxBack = 3 * time.Second
	// maxHole is how long nothing may come within a track.
	maxHole = time.Second
)

// bound is a bound as it is; in the short form, which shares its processors with all other tests, twice that.
func bound(d time.Duration) time.Duration {
	if long {
		return d
	}
	return 2 * d
}

// killing is one run of the test.
type killing struct {
	t      *testing.T
	node   *chaostest.Node
	api    classrecv1.RecordingServiceClient
	http   *http.Client
	caller chaostest.Caller
	ledger chaostest.Ledger

	mu      sync.Mutex
	closing bool                       // no class is to begin any more
	over    chan struct{}              // closed with closing
	entered map[moment]chan struct{}   // gets a value when a class comes into a phase that is a moment
	classes []*class                   // all that were asked for, in order
	checked map[int]bool               // the lives in which every class was seen to go on
	resumed []time.Duration            // from a process's start until a class goes on
	losses  []loss                     // of each track that a kill cut off
	back    []time.Duration            // from a class's and its publisher's coming back to the first frame in the file
	holes   []time.Duration            // longest within a track
	starts  []time.Duration            // from a gap's beginning to the end of the process before
	listed  []time.Duration            // from Stop's answer to AVAILABLE
	files   int                        // read
	decoded int                        // by ffmpeg
	broken  int                        // downloads
	parts   int                        // of recordings, with media
	lengths int                        // of converted files that were compared with what was published
	hit     map[moment]int             // kills, by what they aimed at
	touched map[moment]map[*class]bool // classes that were in a phase when a kill came
}

// loss is what a kill took of a track, and how long the track had lasted since the process's start.
type loss struct{ lost, of time.Duration }

func TestKills(t *testing.T) {
	kills := setting(t, "CHAOS_KILLS", 15, 500)
	k := &killing{
		t: t, node: chaostest.NewNode(t, program, workDir(t)), over: make(chan struct{}),
		http:    &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: chaostest.Patience},
		entered: map[moment]chan struct{}{}, checked: map[int]bool{},
		hit: map[moment]int{}, touched: map[moment]map[*class]bool{},
	}
	for _, m := range moments() {
		k.entered[m] = make(chan struct{}, 1)
		k.touched[m] = map[*class]bool{}
	}
	k.api = k.node.API(t)
	begun := time.Now()

	rooms := k.rooms()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var people, classes sync.WaitGroup
	for _, r := range rooms {
		for _, p := range r.people {
			people.Go(func() { p.Run(ctx) })
		}
		classes.Go(func() { r.run(ctx) })
	}
	for range kills {
		k.kill(ctx)
		if t.Failed() && len(k.node.Lives()) > 20 {
			break // more of the same tells nothing
		}
	}
	killed := time.Since(begun)

	last := k.node.Begin()
	k.serve(ctx)
	k.checkGoingOn(ctx, last)
	chaostest.Pause(ctx, 5*time.Second) // in which more is published than may be lost
	k.close()
	classes.Wait()
	cancel()
	people.Wait()
	k.verify(t.Context(), rooms)
	k.report(kills, killed, rooms)
	if err := k.node.Terminate(t.Context(), 30*time.Second); err != nil {
		t.Errorf("the last process, told to end: %v", err)
	}
}

// kill is one life and its end.
func (k *killing) kill(ctx context.Context) {
	list := moments()
	aim := list[rand.IntN(len(list))]
	life := k.node.Begin()
	if aim == atBoot {
		soon, cancel := context.WithTimeout(ctx, chaostest.UpTo(500*time.Millisecond))
		defer cancel()
		_ = k.node.AwaitUp(soon) // perhaps
		<-soon.Done()
		k.end(ctx, aim)
		return
	}
	k.serve(ctx)
	if aim == whileResuming {
		chaostest.Pause(ctx, chaostest.UpTo(200*time.Millisecond))
		k.end(ctx, aim)
		return
	}
	k.checkList(ctx)
	k.checkGoingOn(ctx, life)
	switch aim {
	case whileStarting, whileStopping, whileMaking:
		within := 12 * time.Millisecond
		if aim == whileMaking {
			within = 400 * time.Millisecond
		}
		select {
		case <-k.entered[aim]: // of before
		default:
		}
		select {
		case <-k.entered[aim]:
		case <-time.After(4 * time.Second):
			aim = whileRecording
		}
		chaostest.Pause(ctx, chaostest.UpTo(within))
	default:
		chaostest.Pause(ctx, chaostest.UpTo(2500*time.Millisecond))
	}
	k.end(ctx, aim)
}

// serve waits until the process serves; one that does not ends the test.
func (k *killing) serve(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, chaostest.Patience)
	defer cancel()
	if err := k.node.AwaitUp(ctx); err != nil {
		k.t.Fatalf("process %d does not serve: %v", len(k.node.Lives())-1, err)
	}
}

// end kills the process.
func (k *killing) end(ctx context.Context, aim moment) {
	select {
	case <-k.node.Exited():
		k.t.Errorf("process %d ended of itself", len(k.node.Lives())-1)
	default:
	}
	k.mu.Lock()
	k.hit[aim]++
	for _, c := range k.classes {
		if at := c.phase(); at != "" {
			k.touched[at][c] = true
		}
	}
	k.mu.Unlock()
	if aim == whileClosing {
		_ = k.node.Terminate(ctx, chaostest.UpTo(300*time.Millisecond)) // killed, if it takes longer
		return
	}
	k.node.Kill()
}

// close lets no class begin any more, and those that are on end.
func (k *killing) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closing = true
	close(k.over)
}

// open says whether classes may begin.
func (k *killing) open() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.closing
}

// enter tells who waits for it that a class is in a phase.
func (k *killing) enter(m moment) {
	select {
	case k.entered[m] <- struct{}{}:
	default:
	}
}

func (k *killing) note(what func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	what()
}

// checkList wants every acknowledged recording in the list of its room, once.
func (k *killing) checkList(ctx context.Context) {
	for room, names := range k.ledger.Names() { // before the list is asked for
		list, err := k.caller.ListRoom(ctx, k.api, room)
		if err != nil {
			k.t.Errorf("list room %s: %v", room, err)
			continue
		}
		for _, lost := range chaostest.Lost(names, list) {
			k.t.Error(lost)
		}
	}
}

// checkGoingOn wants every class that was on when the process before was killed to be on again.
func (k *killing) checkGoingOn(ctx context.Context, life *chaostest.Life) {
	k.mu.Lock()
	classes := slices.Clone(k.classes)
	k.mu.Unlock()
	var all sync.WaitGroup
	for _, c := range classes {
		if c.isOn() && c.begunBefore(life.Began) {
			all.Go(func() { c.awaitGoingOn(ctx, life) })
		}
	}
	all.Wait()
	k.note(func() { k.checked[life.Number] = true })
}

// report prints the figures.
func (k *killing) report(kills int, took time.Duration, rooms []*classroom) {
	k.mu.Lock()
	defer k.mu.Unlock()
	say := func(format string, args ...any) { chaostest.Print(k.t, format, args...) }
	say("kills %d in %v, with %d rooms and %d publishers", kills, took.Round(time.Second), len(rooms), people(rooms))
	said := map[moment]bool{}
	for _, m := range moments() {
		if !said[m] {
			said[m] = true
			say("kills %d %s", k.hit[m], m)
		}
	}
	say("classes hit while they started %d, were recorded %d, stopped %d, waited for files %d",
		len(k.touched[whileStarting]), len(k.touched[whileRecording]), len(k.touched[whileStopping]), len(k.touched[whileMaking]))
	most, cut := 0, 0
	for _, c := range k.classes {
		most = max(most, c.gaps)
		if c.gaps > 0 {
			cut++
		}
	}
	say("classes acknowledged %d, interrupted %d, the most gaps of one %d; parts with media %d", k.ledger.Len(), cut, most, k.parts)
	var lost, whole []time.Duration
	for _, l := range k.losses {
		lost = append(lost, l.lost)
		if l.of > maxLoss {
			whole = append(whole, l.lost)
		}
	}
	say("media lost with a kill, of %d tracks: %s", len(lost), chaostest.Spread(lost))
	say("the same, of the %d tracks that had lasted more than %v: %s", len(whole), maxLoss, chaostest.Spread(whole))
	say("longest hole within a part, of %d tracks: %s", len(k.holes), chaostest.Spread(k.holes))
	say("from the process's start until a class goes on, %d times: %s", len(k.resumed), chaostest.Spread(k.resumed))
	say("from class and publisher being back to the first frame in the file, of %d tracks: %s", len(k.back), chaostest.Spread(k.back))
	say("from the beginning of a gap to the kill, %d times: %s", len(k.starts), chaostest.Spread(k.starts))
	say("from Stop's answer to AVAILABLE, through all kills: %s", chaostest.Spread(k.listed))
	say("files fetched and read whole %d, decoded by ffmpeg %d; lengths of tracks that were converted, compared %d", k.files, k.decoded, k.lengths)
	say("calls made again %v, downloads %d", k.caller.Retries(), k.broken)
}

func people(rooms []*classroom) (n int) {
	for _, r := range rooms {
		n += len(r.people)
	}
	return n
}
