// SPDX-License-Identifier: Apache-2.0

//go:build bench

package ingest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/ingest"
	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/recorder"
)

// The processes of the benchmark, by the value of benchRole in their environment. All receive the same 720p VP8 and
// Opus stream; they differ in what they do with it.
const (
	benchRole  = "CLASSREC_BENCH_ROLE"
	rolePion   = "pion"   // bare pion with its default codecs and interceptors, packets thrown away: the yardstick
	roleIngest = "ingest" // package ingest, packets thrown away
	roleRecord = "record" // package ingest, packets recorded by package recorder
)

const (
	benchRounds = 5
	benchWarmUp = 2 * time.Second  // from the connection to the first look at the clock
	benchWindow = 10 * time.Second // measured
	benchLimit  = 1.25             // record / pion
)

// benchResult is what a process reports about its window.
type benchResult struct {
	CPU     time.Duration
	Packets uint64
}

// TestBench_RecordOneStream measures the CPU (user and system, getrusage) that recording one 720p stream takes, against
// pion receiving it and throwing it away. In each round the three processes receive from three publishers in this
// process at the same time, so that what else the machine does falls on all alike; the median of the rounds' ratios counts.
func TestBench_RecordOneStream(t *testing.T) {
	roles := []string{rolePion, roleIngest, roleRecord}
	cpu, ratios := map[string][]float64{}, map[string][]float64{}
	for round := range benchRounds {
		order := append(slices.Clone(roles[round%3:]), roles[:round%3]...) // nobody is always first
		results := benchRound(t, order)
		for _, role := range roles {
			r := results[role]
			if float64(r.Packets) < 0.95*float64(results[rolePion].Packets) {
				t.Fatalf("round %d: %s got %d packets, pion %d", round, role, r.Packets, results[rolePion].Packets)
			}
			cpu[role] = append(cpu[role], 100*r.CPU.Seconds()/benchWindow.Seconds())
			ratios[role] = append(ratios[role], r.CPU.Seconds()/results[rolePion].CPU.Seconds())
		}
	}
	ratio := median(ratios[roleRecord])
	t.Logf("%d rounds of %v, CPU in %% of one core (median): pion %.2f, ingest %.2f (x%.2f), record %.2f (x%.2f, rounds %.2f)",
		benchRounds, benchWindow, median(cpu[rolePion]), median(cpu[roleIngest]), median(ratios[roleIngest]),
		median(cpu[roleRecord]), ratio, ratios[roleRecord])
	fmt.Fprintf(os.Stdout, "| recording one 720p stream | at most %.2f times the CPU of pion receiving it | %.2f times (%.2f %% of a core; pion %.2f %%) |\n",
		benchLimit, ratio, median(cpu[roleRecord]), median(cpu[rolePion]))
	if ratio > benchLimit {
		t.Errorf("recording takes %.2f times the CPU of receiving, the limit is %.2f", ratio, benchLimit)
	}
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// benchRound runs one process for each role at the same time.
func benchRound(t *testing.T, roles []string) map[string]benchResult {
	t.Helper()
	video, audio := mustClip(t, clips.Bench720p), mustClip(t, clips.TeacherAudio)
	children := map[string]*benchChild{}
	for _, role := range roles {
		c := startBenchChild(t, role)
		children[role] = c
		pub, err := publisher.Publish(t.Context(), publisher.Config{Video: video, Audio: audio}, c.exchange)
		if err != nil {
			t.Fatalf("%s: %v", role, err)
		}
		defer func() { _ = pub.Close() }()
	}
	<-time.After(benchWarmUp)
	for _, role := range roles { // the windows begin together
		children[role].tell(t, "start")
	}
	<-time.After(benchWindow)
	for _, role := range roles {
		children[role].tell(t, "stop")
	}
	results := map[string]benchResult{}
	for _, role := range roles {
		results[role] = children[role].result(t)
	}
	return results
}

// benchChild is this program again, in a role. It speaks JSON values on its standard input and output.
type benchChild struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

func startBenchChild(t *testing.T, role string) *benchChild {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestBench_Child$", "-test.timeout=5m") // ends when its input does
	cmd.Env = append(os.Environ(), benchRole+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	})
	return &benchChild{cmd: cmd, in: in, out: json.NewDecoder(out)}
}

func (c *benchChild) tell(t *testing.T, v string) {
	t.Helper()
	if err := json.NewEncoder(c.in).Encode(v); err != nil {
		t.Fatal(err)
	}
}

func (c *benchChild) exchange(_ context.Context, offer string) (answer string, err error) {
	if err := json.NewEncoder(c.in).Encode(offer); err != nil {
		return "", err
	}
	err = c.out.Decode(&answer)
	return answer, err
}

func (c *benchChild) result(t *testing.T) benchResult {
	t.Helper()
	var r benchResult
	if err := c.out.Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestBench_Child is the life of a child; without a role it does nothing.
func TestBench_Child(t *testing.T) {
	role := os.Getenv(benchRole)
	if role == "" {
		return
	}
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	var offer, command string
	if err := in.Decode(&offer); err != nil {
		t.Fatal(err)
	}
	var packets atomic.Uint64
	var answer string
	switch role {
	case rolePion:
		answer = receiveWithPion(t, offer, &packets)
	case roleIngest:
		answer = receiveWithIngest(t, offer, &benchHandler{packets: &packets})
	case roleRecord:
		rec, err := recorder.New(recorder.Config{}).Start(recorder.Options{Dir: t.TempDir() + "/rec", Begin: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			files, err := rec.Stop(context.Background())
			if err != nil || len(files) == 0 || files[0].Duration < benchWindow {
				t.Errorf("recorded %+v: %v", files, err)
			}
		})
		answer = receiveWithIngest(t, offer, &benchHandler{packets: &packets, recording: rec})
	default:
		t.Fatalf("unknown role %q", role)
	}
	if err := out.Encode(answer); err != nil {
		t.Fatal(err)
	}
	if err := in.Decode(&command); err != nil {
		t.Fatal(err)
	}
	cpu, n := usedCPU(t), packets.Load()
	if err := in.Decode(&command); err != nil {
		t.Fatal(err)
	}
	if err := out.Encode(benchResult{CPU: usedCPU(t) - cpu, Packets: packets.Load() - n}); err != nil {
		t.Fatal(err)
	}
}

// usedCPU is the user and system time of this process so far.
func usedCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// receiveWithPion is pion's own way: defaults for everything, each track read to its end.
func receiveWithPion(t *testing.T, offer string, packets *atomic.Uint64) string {
	t.Helper()
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	pc.OnTrack(func(tr *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			if _, _, err := tr.ReadRTP(); err != nil {
				return
			}
			packets.Add(1)
		}
	})
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		t.Fatal(err)
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	return pc.LocalDescription().SDP
}

func receiveWithIngest(t *testing.T, offer string, h ingest.Handler) string {
	t.Helper()
	s := newServer(t, ingest.Config{})
	_, answer, err := s.Accept(t.Context(), offer, h)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// benchHandler counts, and records when it has a recording.
type benchHandler struct {
	packets   *atomic.Uint64
	recording *recorder.Recording
}

func (h *benchHandler) Connected()   {}
func (h *benchHandler) Closed(error) {}

func (h *benchHandler) Track(tr *ingest.Track) {
	if h.recording == nil {
		for {
			if _, _, err := tr.ReadRTP(); err != nil {
				return
			}
			h.packets.Add(1)
		}
	}
	c := tr.Codec()
	info := recorder.TrackInfo{
		UserID: "teacher", StreamID: tr.StreamID(), Kind: recorder.Audio,
		MimeType: c.MimeType, ClockRate: c.ClockRate, Channels: c.Channels, FmtpLine: c.FmtpLine,
		RequestKeyframe: tr.RequestKeyframe,
	}
	if tr.Kind() == ingest.Video {
		info.Kind = recorder.Video
	}
	out, err := h.recording.AddTrack(info)
	if err != nil {
		return // the missing packets are noticed
	}
	defer func() { _ = out.Close() }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for r := range tr.SenderReports() {
			out.WriteSenderReport(r.NTP, r.RTP, r.Arrival)
		}
	}()
	defer func() { <-done }()
	for {
		p, at, err := tr.ReadRTP()
		if err != nil {
			return
		}
		if err := out.WriteRTP(p, at); err != nil {
			return
		}
		h.packets.Add(1)
	}
}
