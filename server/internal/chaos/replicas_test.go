// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaos_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/chaostest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// takeoverBound is within what another replica has to go on when one is killed.
const takeoverBound = 10 * time.Second

// replica is one classrecd of several, whose ways to the others can be cut.
type replica struct {
	node     *chaostest.Node
	database chaostest.Link
	platform *chaostest.Proxy
	api      classrecv1.RecordingServiceClient
	number   int

	mu   sync.Mutex
	sick []span // when its being refused is no wonder
}

// span is a time in which something was away; to is zero while it is.
type span struct{ from, to time.Time }

func (s span) overlaps(from, to time.Time) bool {
	return s.from.Before(to) && (s.to.IsZero() || from.Before(s.to))
}

func overlaps(spans []span, from, to time.Time) bool {
	for _, s := range spans {
		if s.overlaps(from, to) {
			return true
		}
	}
	return false
}

// clustering is one run of the test.
type clustering struct {
	t        *testing.T
	dir      string
	database *chaostest.Database
	own      chaostest.Link // the test's way to it
	node     *chaostest.Node
	client   *talkcloud.Client // of people in the rooms
	replicas []*replica
	rooms    []*clusterRoom
	all      []*chaostest.Watcher // of all rooms
	watchers []*chaostest.Watcher // and those of single ones

	caller chaostest.Caller
	ledger chaostest.Ledger
	pace   time.Duration // classes and pauses are up to so long

	mu       sync.Mutex
	done     map[string]int // damage
	silent   []silence
	away     []span          // the database is
	hasty    map[string]bool // "room ts" of classes that were over before anybody had to see them
	missable int             // of these, those that no replica needs to have seen
	missed   int             // of these, those that nobody has seen
	signed   int             // messages of the log of which it is known who has written them

	calls   atomic.Int64
	refused atomic.Int64 // answers UNAVAILABLE of a replica that nothing was wrong with, with the database there
	mute    atomic.Int64 // attempts that such a replica did not answer
	slowest atomic.Int64 // call that was answered OK, in ns
	strays  atomic.Int64 // starts that found a class on
}

// silence is when the other replicas cannot hear one, and were not told why.
type silence struct {
	at      time.Time
	replica string    // its name in the log
	back    time.Time // under that name; zero when its process was killed
}

// clusterRoom is one of the rooms, with somebody in it who sees what happens.
type clusterRoom struct {
	c        *clustering
	name     string
	attendee *chaostest.Attendee
	kind     int
}

// The kinds of rooms.
const (
	byCallers   = iota // classes are started and stopped by the API
	endedInRoom        // started by the API, ended by the teacher
	byTeacher          // both by the teacher, while somebody watches the room
)

// TestReplicas has callers and teachers begin and end classes in many rooms, at three replicas on one
// PostgreSQL, while replicas are killed, frozen and cut off, the database crashes, and a standby is promoted. In the end, what was acknowledged and what
// people have seen in the rooms is held against the lists, the log, and the watchers.
func TestReplicas(t *testing.T) {
	rooms := setting(t, "CHAOS_ROOMS", 20, 200)
	lasts := time.Duration(setting(t, "CHAOS_MINUTES", 1, 10)) * time.Minute
	c := &clustering{t: t, dir: workDir(t), done: map[string]int{}, hasty: map[string]bool{}, pace: 1500 * time.Millisecond}
	if long {
		c.pace = 15 * time.Second
	}
	c.start()
	c.enter(rooms)
	begun := time.Now()

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var classes, watches sync.WaitGroup
	for _, r := range c.rooms {
		classes.Go(func() { r.hold(ctx) })
	}
	watching, leave := context.WithCancel(t.Context())
	defer leave()
	c.makeWatchers()
	for _, w := range append(append([]*chaostest.Watcher(nil), c.all...), c.watchers...) {
		watches.Go(func() { w.Run(watching) })
	}
	if long {
		seed := uint64(setting(t, "CHAOS_SEED", 1, 1+rand.IntN(1<<30)))
		chaostest.Print(t, "replicas: CHAOS_SEED=%d", seed)
		c.damageAtRandom(ctx, begun.Add(lasts), seed)
	} else {
		c.damageOnce(ctx)
	}
	stop()
	classes.Wait()
	leave()
	watches.Wait()
	took := time.Since(begun)
	if t.Failed() {
		return
	}
	c.verify(took)
	c.end()
}

// start starts the database, the platform and the replicas.
func (c *clustering) start() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), chaostest.Patience)
	defer cancel()
	c.database = chaostest.NewDatabase(c.t)
	c.own = c.database.Link(c.t)
	sub := func(name string) string {
		dir := filepath.Join(c.dir, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			c.t.Fatal(err)
		}
		return dir
	}
	platform := sub("platform")
	c.node = chaostest.NewNode(c.t, program, platform, "--platform-only")
	c.node.Begin()
	if err := c.node.AwaitUp(ctx); err != nil {
		c.t.Fatalf("the platform does not serve: %v", err)
	}
	roots, err := c.node.Roots()
	if err != nil {
		c.t.Fatal(err)
	}
	c.client = c.platformClient(roots)
	sealKey := filepath.Join(c.dir, "seal.key")
	if err := os.WriteFile(sealKey, []byte(strings.Repeat("5e", 32)), 0o600); err != nil {
		c.t.Fatal(err)
	}
	for i := range 3 {
		r := &replica{number: i, database: c.database.Link(c.t), platform: chaostest.NewProxy(c.t)}
		r.platform.Target(c.node.RoomAddr())
		args := []string{
			"--database", r.database.URL(), "--seal-key-file", sealKey,
			"--platform", "https://" + r.platform.Addr(), "--platform-ca-file", filepath.Join(platform, "data", "room.crt"),
			"--rich-record-list", "--enterprise-key-file", filepath.Join(platform, "data", "enterprise.key"),
			"--file-link-key-file", filepath.Join(platform, "data", "file-link.key"),
			"--files-base-url", "http://" + c.node.HTTPAddr() + "/files",
		}
		r.node = chaostest.NewNode(c.t, program, sub(fmt.Sprintf("replica-%d", i)), args...)
		r.api = r.node.API(c.t)
		c.replicas = append(c.replicas, r)
	}
	for _, r := range c.replicas {
		r.node.Begin()
	}
	for _, r := range c.replicas {
		if err := r.node.AwaitUp(ctx); err != nil {
			c.t.Fatalf("replica %d does not serve: %v", r.number, err)
		}
	}
}

func (c *clustering) platformClient(roots *x509.CertPool) *talkcloud.Client {
	c.t.Helper()
	platform, err := talkcloud.New(talkcloud.Config{BaseURL: "https://" + c.node.RoomAddr(), RootCAs: roots})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = platform.Close() })
	return platform
}

// enter puts somebody into every room.
func (c *clustering) enter(rooms int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), chaostest.Patience)
	defer cancel()
	for n := range rooms {
		r := &clusterRoom{c: c, name: fmt.Sprintf("room-%d", n), kind: byCallers}
		switch n % 4 {
		case 2:
			r.kind = endedInRoom
		case 3:
			r.kind = byTeacher
		}
		var err error
		if r.attendee, err = chaostest.Attend(ctx, c.client, r.name, "teacher"); err != nil {
			c.t.Fatalf("enter %s: %v", r.name, err)
		}
		c.t.Cleanup(r.attendee.Leave)
		c.rooms = append(c.rooms, r)
	}
}

// makeWatchers has some watch all rooms, and one each room of teachers: that keeps a replica there.
func (c *clustering) makeWatchers() {
	var nodes []*chaostest.Node
	for _, r := range c.replicas {
		nodes = append(nodes, r.node)
	}
	protocols := []chaostest.Protocol{chaostest.GRPC, chaostest.NDJSON, chaostest.SSE}
	for n := range 6 {
		w := chaostest.NewWatcher(c.t, protocols[n%3], "-", nodes...)
		w.Stay = time.Duration(1+n) * time.Second
		c.all = append(c.all, w)
	}
	for n, r := range c.rooms {
		if r.kind == byTeacher {
			w := chaostest.NewWatcher(c.t, protocols[n/4%3], r.name, nodes...)
			w.Stay = 2 * c.pace
			c.watchers = append(c.watchers, w)
		}
	}
}

// hold has one class after the other. What has begun ends also when the test does.
func (r *clusterRoom) hold(ctx context.Context) {
	patient := context.WithoutCancel(ctx)
	hold := map[int]func(context.Context, int) error{byCallers: r.byAPI, endedInRoom: r.byAPI, byTeacher: r.byTeacher}[r.kind]
	for n := 1; chaostest.Pause(ctx, r.c.pace/10+chaostest.UpTo(r.c.pace)); n++ {
		if err := hold(patient, n); err != nil {
			r.c.t.Errorf("class %d in %s: %v", n, r.name, err)
			return
		}
	}
}

// byAPI is a class that callers start, at any replica.
func (r *clusterRoom) byAPI(ctx context.Context, n int) error {
	c := r.c
	request := fmt.Sprintf("%s-%d", r.name, n)
	name, err := r.begin(ctx, request)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := c.ledger.Started(r.name, request, name); err != nil {
		return err
	}
	if n%4 == 0 { // what one replica has answered, any other knows
		if err := c.lists(ctx, r.name, name); err != nil {
			return err
		}
	}
	chaostest.Pause(ctx, c.pace/10+chaostest.UpTo(c.pace))
	if r.kind == endedInRoom {
		ctx, cancel := context.WithTimeout(ctx, chaostest.Patience)
		defer cancel()
		if err := r.attendee.End(ctx); err != nil {
			return err
		}
		return c.awaitState(ctx, name, classrecv1.RecordingState_RECORDING_STATE_PROCESSING)
	}
	err = c.call(ctx, func(ctx context.Context, api classrecv1.RecordingServiceClient) error {
		_, err := api.StopRecording(ctx, &classrecv1.StopRecordingRequest{Name: name})
		return err
	})
	if err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	c.ledger.Stopped(name)
	return nil
}

// begin starts a recording. A class may be on whose start nobody was told of: it is over first.
func (r *clusterRoom) begin(ctx context.Context, request string) (name string, err error) {
	for {
		err := r.c.call(ctx, func(ctx context.Context, api classrecv1.RecordingServiceClient) error {
			resp, err := api.StartRecording(ctx, &classrecv1.StartRecordingRequest{Room: r.name, RequestId: request})
			name = resp.GetRecording().GetName()
			return err
		})
		d := client.Details(err)
		if d.Code != codes.AlreadyExists || d.Metadata["recording"] == "" {
			return name, err
		}
		r.c.strays.Add(1)
		err = r.c.call(ctx, func(ctx context.Context, api classrecv1.RecordingServiceClient) error {
			_, err := api.StopRecording(ctx, &classrecv1.StopRecordingRequest{Name: d.Metadata["recording"]})
			return err
		})
		if err != nil {
			return "", fmt.Errorf("stop what is on: %w", err)
		}
	}
}

// byTeacher is a class of the teacher, who waits until it is seen; now and then does not.
func (r *clusterRoom) byTeacher(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*chaostest.Patience)
	defer cancel()
	ts, err := r.attendee.Begin(ctx)
	if err != nil {
		return err
	}
	if n%5 == 0 {
		r.c.mu.Lock()
		r.c.hasty[fmt.Sprintf("%s %d", r.name, ts)] = true
		r.c.mu.Unlock()
		chaostest.Pause(ctx, chaostest.UpTo(300*time.Millisecond))
		return r.attendee.End(ctx)
	}
	name := fmt.Sprintf("rooms/%s/recordings/%d", r.name, ts)
	if err := r.c.awaitState(ctx, name, classrecv1.RecordingState_RECORDING_STATE_RECORDING); err != nil {
		return fmt.Errorf("nobody sees the class: %w", err)
	}
	chaostest.Pause(ctx, r.c.pace/10+chaostest.UpTo(r.c.pace))
	if err := r.attendee.End(ctx); err != nil {
		return err
	}
	return r.c.awaitState(ctx, name, classrecv1.RecordingState_RECORDING_STATE_PROCESSING)
}

// awaitState waits until a recording is known to be so far.
func (c *clustering) awaitState(ctx context.Context, name string, state classrecv1.RecordingState) error {
	last := errors.New("it was not asked for")
	for deadline := time.Now().Add(chaostest.Patience); time.Now().Before(deadline); {
		var rec *classrecv1.Recording
		last = c.call(ctx, func(ctx context.Context, api classrecv1.RecordingServiceClient) error {
			resp, err := api.GetRecording(ctx, &classrecv1.GetRecordingRequest{Name: name})
			rec = resp.GetRecording()
			return err
		})
		switch {
		case last == nil && rec.GetState() >= state:
			return nil
		case last == nil:
			last = fmt.Errorf("%s is %v", name, rec.GetState())
		case client.Details(last).Code != codes.NotFound:
			return last
		}
		if !chaostest.Pause(ctx, c.pace/10) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("after %v still: %w", chaostest.Patience, last)
}

// lists wants some replica to list a recording.
func (c *clustering) lists(ctx context.Context, room, name string) error {
	return c.call(ctx, func(ctx context.Context, api classrecv1.RecordingServiceClient) error {
		for token := ""; ; {
			resp, err := api.ListRecordings(ctx, &classrecv1.ListRecordingsRequest{Room: room, PageSize: 1000, PageToken: token})
			if err != nil {
				return err
			}
			for _, rec := range resp.GetRecordings() {
				if rec.GetName() == name {
					return nil
				}
			}
			if token = resp.GetNextPageToken(); token == "" {
				return fmt.Errorf("%s was answered, and another replica does not list it", name)
			}
		}
	})
}

// attemptWithin is how long one replica may take to answer: longer than it may take to say that it cannot.
const attemptWithin = 15 * time.Second

// maxRefused is how often a replica may not do what it is asked for, though nothing is away: never; in the short form,
// which shares its processors with all other tests, now and then.
func maxRefused() int64 {
	if long {
		return 0
	}
	return 3
}

// call makes a call, each time at any replica, until one answers it.
func (c *clustering) call(ctx context.Context, call func(context.Context, classrecv1.RecordingServiceClient) error) error {
	c.calls.Add(1)
	return c.caller.Try(ctx, func(caller context.Context) error {
		ctx, cancel := context.WithTimeout(caller, attemptWithin)
		defer cancel()
		r := c.replicas[rand.IntN(len(c.replicas))]
		begun := time.Now()
		err := call(ctx, r.api)
		now := time.Now()
		d := client.Details(err)
		if d.Code == codes.Unavailable && d.Reason != "" { // its own answer, not the connection's
			if d.RetryAfter <= 0 {
				c.t.Errorf("UNAVAILABLE without a word on when to try again: %s %s", d.Reason, d.Message)
			}
			if c.isWell(r, begun, now) {
				c.refused.Add(1)
				c.t.Logf("at %v, replica %d, well, answered after %v: %s %s", now.UTC().Format(time.StampMilli), r.number, now.Sub(begun), d.Reason, d.Message)
			}
		}
		if now.Sub(begun) >= attemptWithin && err != nil && caller.Err() == nil && c.isWell(r, begun, now) {
			c.mute.Add(1)
			c.t.Logf("at %v, replica %d, well, did not answer for %v: %v", now.UTC().Format(time.StampMilli), r.number, now.Sub(begun), err)
		}
		if err == nil {
			for took := int64(now.Sub(begun)); ; {
				most := c.slowest.Load()
				if took <= most || c.slowest.CompareAndSwap(most, took) {
					break
				}
			}
		}
		return err
	})
}

// isWell tells whether nothing was wrong with a replica and with the database then, and for a while before.
func (c *clustering) isWell(r *replica, from, to time.Time) bool {
	from = from.Add(-10 * time.Second)
	c.mu.Lock()
	defer c.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range c.silent { // it asks the one that has a room, until it is missed
		if (span{other.at, other.at.Add(takeoverBound)}).overlaps(from, to) {
			return false
		}
	}
	return !overlaps(r.sick, from, to) && !overlaps(c.away, from, to)
}

// end ends the replicas in order.
func (c *clustering) end() {
	for _, r := range c.replicas {
		if err := r.node.Terminate(c.t.Context(), 30*time.Second); err != nil {
			c.t.Errorf("replica %d, told to end: %v", r.number, err)
		}
	}
	if err := c.node.Terminate(c.t.Context(), 30*time.Second); err != nil {
		c.t.Errorf("the platform, told to end: %v", err)
	}
}
