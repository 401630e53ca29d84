// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaos_test

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/chaostest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// soaking is one run of the test.
type soaking struct {
	t    *testing.T
	node *chaostest.Node
	dir  string // of the node's data
	api  classrecv1.RecordingServiceClient
	http *http.Client
	wire *watching // whose teachers come into rooms, and go

	classes   atomic.Int64 // that were begun
	rooms     atomic.Int64 // that have come and gone
	published atomic.Int64 // people who have come with media, and gone
	watches   atomic.Int64 // watchers who have come and gone
	bytes     atomic.Int64 // recorded
}

// sample is what the process had at a time.
type sample struct {
	at                                     time.Duration // since the first one
	rss, heap, goroutines, fds, log, files float64       // bytes, but for goroutines and fds
	classes                                float64       // begun until then
}

// TestSoak has rooms, watchers and people with media come and go, and classes begin and end, at one classrecd for an
// hour, and wants it to be no larger at its end than it was after warming up.
func TestSoak(t *testing.T) {
	lasts := time.Duration(setting(t, "SOAK_MINUTES", 1, 60)) * time.Minute
	dir := workDir(t)
	s := &soaking{
		t: t, dir: filepath.Join(dir, "data"), http: &http.Client{Timeout: chaostest.Patience},
		node: chaostest.NewNode(t, program, dir, "--event-retention", (lasts / 20).String()),
	}
	s.api = s.node.API(t)
	s.wire = &watching{t: t, node: s.node, api: s.api}
	s.node.Begin()
	s.wire.await(t.Context())
	s.fill()

	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	clips := chaostest.LoadClips(t)
	var churn sync.WaitGroup
	for n, way := range []chaostest.Way{chaostest.WHIP, chaostest.Vendor} {
		churn.Go(func() { s.holdClasses(ctx, n, way, clips) })
	}
	churn.Go(func() { s.teach(ctx) })
	for n, protocol := range []chaostest.Protocol{chaostest.GRPC, chaostest.NDJSON, chaostest.SSE} {
		churn.Go(func() { s.watch(ctx, n, protocol) })
	}
	samples := s.measure(ctx)
	churn.Wait()

	s.report(samples)
	if err := s.node.Terminate(t.Context(), 30*time.Second); err != nil {
		t.Errorf("told to end: %v", err)
	}
}

// fill holds as many classes at once, without anybody in them, as make the events that the process keeps in memory for
// watchers so many that new ones drive out old ones. What grows after that grows without end.
func (s *soaking) fill() {
	classes := 1500 // of at least four events each; 4,096 are kept, and an eighth more
	if !long {
		classes = 100
	}
	var filling sync.WaitGroup
	next := make(chan int)
	for range 16 {
		filling.Go(func() {
			for k := range next {
				room := fmt.Sprintf("fill-%d", k)
				if _, err := s.api.StartRecording(s.t.Context(), &classrecv1.StartRecordingRequest{Room: room}); err != nil {
					s.t.Errorf("start in %s: %v", room, err)
				}
				if _, err := s.api.StopRecording(s.t.Context(), &classrecv1.StopRecordingRequest{Room: room}); err != nil {
					s.t.Errorf("stop in %s: %v", room, err)
				}
			}
		})
	}
	for k := range classes {
		next <- k
	}
	close(next)
	filling.Wait()
}

// holdClasses has one room after the other, each with a person who publishes and a class by the API.
func (s *soaking) holdClasses(ctx context.Context, n int, way chaostest.Way, clips *chaostest.Clips) {
	for k := 1; ctx.Err() == nil; k++ {
		room := fmt.Sprintf("soak-%d-%d", n, k)
		video := clips.StudentVP8
		format := classrecv1.RecordingFormat_RECORDING_FORMAT_WEBM
		if k%3 == 0 {
			video, format = clips.TeacherH264, classrecv1.RecordingFormat_RECORDING_FORMAT_MKV
		}
		if err := s.holdClass(ctx, room, format, chaostest.NewPerson(s.node, room, "student", way, video, clips.StudentOpus)); err != nil {
			s.t.Errorf("class in %s: %v", room, err)
			return
		}
		s.rooms.Add(1)
		chaostest.Pause(ctx, chaostest.UpTo(4*time.Second))
	}
}

// holdClass is one class, from an empty room to its files. What has begun ends also when the test does.
func (s *soaking) holdClass(ctx context.Context, room string, format classrecv1.RecordingFormat, person *chaostest.Person) error {
	patient, leave := context.WithCancel(context.WithoutCancel(ctx))
	var there sync.WaitGroup
	defer there.Wait()
	defer leave()
	there.Go(func() { person.Run(patient) })

	resp, err := s.api.StartRecording(patient, &classrecv1.StartRecordingRequest{Room: room, Format: format})
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	s.classes.Add(1)
	chaostest.Pause(ctx, 5*time.Second+chaostest.UpTo(5*time.Second))
	name := resp.GetRecording().GetName()
	if _, err := s.api.StopRecording(patient, &classrecv1.StopRecordingRequest{Name: name}); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	s.published.Add(int64(len(person.Sessions())))
	for deadline := time.Now().Add(chaostest.Patience); ; {
		resp, err := s.api.GetRecording(patient, &classrecv1.GetRecordingRequest{Name: name})
		if err != nil {
			return fmt.Errorf("get: %w", err)
		}
		switch rec := resp.GetRecording(); {
		case rec.GetState() == classrecv1.RecordingState_RECORDING_STATE_AVAILABLE:
			if len(rec.GetFiles()) == 0 {
				return errors.New("it has no files")
			}
			for _, file := range rec.GetFiles() {
				s.bytes.Add(file.GetSize())
			}
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("it is still %v", rec.GetState())
		}
		chaostest.Pause(patient, 200*time.Millisecond)
	}
}

// teach has a teacher come into one room after the other, and hold a class in each.
func (s *soaking) teach(ctx context.Context) {
	for k := 1; ctx.Err() == nil; k++ {
		if err := s.visit(context.WithoutCancel(ctx), fmt.Sprintf("soak-wire-%d", k)); err != nil {
			s.t.Errorf("a teacher's class: %v", err)
			return
		}
		s.rooms.Add(1)
		chaostest.Pause(ctx, chaostest.UpTo(4*time.Second))
	}
}

// visit is a class that a teacher begins and ends in the room.
func (s *soaking) visit(ctx context.Context, room string) error {
	roots, err := s.node.Roots()
	if err != nil {
		return err
	}
	platform, err := talkcloud.New(talkcloud.Config{BaseURL: "https://" + s.node.RoomAddr(), RootCAs: roots})
	if err != nil {
		return err
	}
	defer platform.Close()
	conn, err := platform.Join(ctx, talkcloud.JoinOptions{Room: talkcloud.RoomID(room), UserID: "teacher", Nickname: "teacher"})
	if err != nil {
		return err
	}
	defer conn.Close()
	t := newTeacher(conn)
	if _, err := t.begin(ctx, talkcloud.ClassBegin{}.Message()); err != nil {
		return err
	}
	s.classes.Add(1)
	return t.end(ctx)
}

// watch has one watcher after the other, each of which comes and goes many times.
func (s *soaking) watch(ctx context.Context, n int, protocol chaostest.Protocol) {
	w := chaostest.NewWatcher(s.t, protocol, "-", s.node)
	if n == 0 {
		w.Stall = 5 * time.Second
	}
	w.Run(ctx)
	s.watches.Add(int64(w.Counts().Streams))
}

// measure takes a sample now and then until ctx ends, and writes each where SOAK_CSV says, if it does.
func (s *soaking) measure(ctx context.Context) (samples []sample) {
	interval := 10 * time.Second
	if !long {
		interval = time.Second
	}
	out := io.Discard
	if name := os.Getenv("SOAK_CSV"); name != "" {
		file, err := os.Create(name)
		if err != nil {
			s.t.Fatal(err)
		}
		defer file.Close()
		out = file
	}
	table := csv.NewWriter(out)
	_ = table.Write([]string{"seconds", "rss", "heap", "goroutines", "fds", "log", "files", "classes"})
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for begun := time.Now(); ; {
		one, err := s.sample(ctx)
		if err == nil {
			one.at, one.classes = time.Since(begun), float64(s.classes.Load())
			samples = append(samples, one)
			row := []string{}
			for _, v := range []float64{one.at.Seconds(), one.rss, one.heap, one.goroutines, one.fds, one.log, one.files, one.classes} {
				row = append(row, strconv.FormatFloat(v, 'f', 0, 64))
			}
			_ = table.Write(row)
			table.Flush()
		} else if ctx.Err() == nil {
			s.t.Errorf("sample: %v", err)
		}
		select {
		case <-ticker.C:
		case <-s.node.Exited():
			s.t.Fatal("the process is gone")
		case <-ctx.Done():
			return samples
		}
	}
}

// sample asks the process for its metrics, and looks at its directory.
func (s *soaking) sample(ctx context.Context) (sample, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.node.HTTPAddr()+"/metrics", http.NoBody)
	if err != nil {
		return sample{}, err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return sample{}, err
	}
	defer resp.Body.Close()
	var one sample
	want := map[string]*float64{
		"process_resident_memory_bytes": &one.rss, "go_memstats_next_gc_bytes": &one.heap,
		"go_goroutines": &one.goroutines, "process_open_fds": &one.fds,
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if to := want[name]; to != nil {
			if *to, err = strconv.ParseFloat(value, 64); err != nil {
				return sample{}, err
			}
			delete(want, name)
		}
	}
	if len(want) > 0 {
		return sample{}, fmt.Errorf("/metrics, %s, lacks %d figures", resp.Status, len(want))
	}
	one.heap /= 2 // the next collection is at twice what the last one has left
	one.log, one.files = s.disk()
	return one, nil
}

// disk is how much the log takes, and how much the files do.
func (s *soaking) disk() (log, files float64) {
	_ = filepath.WalkDir(s.dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil //nolint:nilerr // what goes away meanwhile counts no more
		}
		info, err := entry.Info()
		if err != nil {
			return nil //nolint:nilerr // the same
		}
		if rel, _ := filepath.Rel(s.dir, name); strings.HasPrefix(rel, "room"+string(filepath.Separator)) {
			files += float64(info.Size())
		} else {
			log += float64(info.Size())
		}
		return nil
	})
	return log, files
}

// report prints the figures, and fails the test for one that has grown from the second quarter of the time, when
// everything is warm, to the last.
func (s *soaking) report(samples []sample) {
	say := func(format string, args ...any) { chaostest.Print(s.t, "soak: "+format, args...) }
	say("%d samples; classes %d, rooms %d, publishers %d, watches %d, recorded %d MiB",
		len(samples), s.classes.Load(), s.rooms.Load(), s.published.Load(), s.watches.Load(), s.bytes.Load()>>20)
	for i := 0; i < len(samples); i += max(len(samples)/12, 1) {
		one := samples[i]
		say("%8v  rss %6.1f MiB  heap %5.1f MiB  goroutines %4.0f  fds %3.0f  log %6.2f MiB  files %6.1f MiB",
			one.at.Round(time.Second), one.rss/mib, one.heap/mib, one.goroutines, one.fds, one.log/mib, one.files/mib)
	}
	if name := os.Getenv("SOAK_SVG"); name != "" {
		if err := os.WriteFile(name, []byte(plot(samples)), 0o644); err != nil { // it goes into the documentation
			s.t.Error(err)
		}
	}
	n := len(samples)
	if n < 16 {
		s.t.Fatalf("only %d samples", n)
	}
	for _, f := range figures() {
		second, last := median(samples[n/4:n/2], f.of), median(samples[n-n/4:], f.of)
		classes := median(samples[n-n/4:], classesOf) - median(samples[n/4:n/2], classesOf)
		bound := second*1.1 + f.slack + f.kept*classes
		say("%-10s median of the second quarter %8.2f, of the last %8.2f%s", f.name, second/f.unit, last/f.unit, f.word)
		if f.flat && last > bound {
			s.t.Errorf("%s has grown from %.2f to %.2f%s", f.name, second/f.unit, last/f.unit, f.word)
		}
	}
}
