// SPDX-License-Identifier: Apache-2.0

//go:build bench

package recorder_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classrec/classrec/server/internal/benchtest"
	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/recorder"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// What a mix may take: wall time and CPU for each second of the class, and memory, of all its processes.
const (
	mixTime   = 0.15
	mixCPU    = 0.30
	mixMemory = 1000 // MiB, for twenty people
)

// unmixed makes a directory with what is recorded of a class before it is mixed: people with 640x360 pictures, in VP8
// and H264, and sound.
func unmixed(t *testing.T, people int, length time.Duration) (dir string) {
	t.Helper()
	dir = t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		rec := start(t, mixing(t), recorder.Options{Type: recorder.TypeMix, Dir: filepath.Join(dir, "recording")})
		var feeds []*feed
		for i := range people {
			user := fmt.Sprint("user", i)
			state(rec, user, fmt.Sprintf("学生%d号", i+1), nil)
			video := []func() (*clips.Clip, error){clips.TeacherVideo, clips.TeacherH264}[i%2]
			feeds = append(feeds, addFeed(t, rec, newSource(t, user, video)), addFeed(t, rec, newSource(t, user, clips.TeacherAudio)))
		}
		play(t, length, feeds...)
		time.Sleep(2 * time.Second) // until it is on the disk
		if err := os.CopyFS(filepath.Join(dir, "copy"), os.DirFS(filepath.Join(dir, "recording"))); err != nil {
			t.Fatal(err)
		}
		_, _ = rec.Stop(t.Context()) // which cannot mix
	})
	return filepath.Join(dir, "copy")
}

// mixed mixes it, and says what that took.
func mixed(t *testing.T, dir string) (took, cpu time.Duration, memory float64) {
	t.Helper()
	stop, most := make(chan struct{}), make(chan float64)
	go func() {
		peak := 0.0
		for {
			select {
			case <-stop:
				most <- peak
				return
			case <-time.After(200 * time.Millisecond):
				peak = max(peak, memoryOfChildren())
			}
		}
	}()
	before, begun := usage(t), time.Now()
	files, err := recorder.New(recorder.Config{}).Recover(t.Context(), dir)
	took, cpu = time.Since(begun), usage(t)-before
	close(stop)
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v", names(files), err)
	}
	return took, cpu, <-most
}

// usage is the CPU of this process and of those that it has waited for.
func usage(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u); err != nil {
		t.Fatal(err)
	}
	return benchtest.OwnCPU(t) + time.Duration(u.Utime.Nano()+u.Stime.Nano())
}

// memoryOfChildren is the memory of the processes that this one has started, in MiB; what they share counts once.
func memoryOfChildren() (sum float64) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(data), ") ")
		if fields := strings.Fields(rest); len(fields) < 2 || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		data, _ = os.ReadFile(filepath.Join(filepath.Dir(path), "smaps_rollup")) // the same
		_, rest, _ = strings.Cut(string(data), "\nPss:")
		if fields := strings.Fields(rest); len(fields) > 0 {
			kib, _ := strconv.Atoi(fields[0]) // the kernel writes numbers
			sum += float64(kib) / 1024
		}
	}
	return sum
}

// TestBench_Mix mixes two people, and twenty.
func TestBench_Mix(t *testing.T) {
	const length = 2 * time.Minute
	took, cpu, memory := mixed(t, unmixed(t, 2, length))
	if again, cpuAgain, _ := mixed(t, unmixed(t, 2, length)); again < took { // what else the machine did
		took, cpu = again, cpuAgain
	}
	benchtest.AtMost(t, "MIX of two people, 360p: time for a second of class", took.Seconds()/length.Seconds(), mixTime, "s")
	benchtest.AtMost(t, "the same: CPU for a second of class", cpu.Seconds()/length.Seconds(), mixCPU, "s")
	benchtest.Info(t, "processes had up to %.0f MiB", memory)

	const crowd = 30 * time.Second
	took, cpu, memory = mixed(t, unmixed(t, 20, crowd))
	benchtest.AtMost(t, "MIX of twenty people: memory of all processes", memory, mixMemory, "MiB")
	benchtest.Info(t, "for a second of class %.2f s, %.2f s of CPU", took.Seconds()/crowd.Seconds(), cpu.Seconds()/crowd.Seconds())
}

// TestBench_MixBesideLive mixes a class of twelve people while another one is recorded, which loses nothing.
func TestBench_MixBesideLive(t *testing.T) {
	dir := unmixed(t, 12, time.Minute)
	s := roomservertest.New(t)
	teacher := s.Join(t, "42", "teacher")
	video, err := clips.Bench720p()
	if err != nil {
		t.Fatal(err)
	}
	audio, err := clips.TeacherAudio()
	if err != nil {
		t.Fatal(err)
	}
	pub := s.PublishWHIP(t, "42", "camera", publisher.Config{Video: video, Audio: audio})
	teacher.Wait(t, talkcloud.EventAddStream)
	teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
	sent, taken := pub.Stats(), s.Room().Stats().Recorder
	took, _, _ := mixed(t, dir)
	sentBy, takenBy := pub.Stats(), s.Room().Stats().Recorder
	teacher.EndClass(t)
	packets := (sentBy.AudioPackets + sentBy.VideoPackets) - (sent.AudioPackets + sent.VideoPackets)
	benchtest.AtMost(t, "live 720p stream beside a MIX of twelve people: packets lost", float64(takenBy.Lost+takenBy.Dropped-taken.Lost-taken.Dropped), 0, "")
	benchtest.Info(t, "%d packets were sent and %d recorded in the %.1f s that the mix took", packets, takenBy.Packets-taken.Packets, took.Seconds())
}
