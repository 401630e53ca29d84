// SPDX-License-Identifier: Apache-2.0

//go:build bench

package ingest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/classrec/classrec/server/internal/benchtest"
	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/ingest"
	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/recorder"
)

// The processes of the benchmark, by their role. All receive the same 720p VP8 and
// Opus stream; they differ in what they do with it.
const (
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
	if role := benchtest.Role(); role != "" {
		receiveAs(t, role)
		return
	}
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
	median := func(v []float64) float64 { return benchtest.Quantile(v, 0.5) }
	benchtest.AtMost(t, "recording one 720p stream, CPU of pion receiving it", median(ratios[roleRecord]), benchLimit, "times")
	benchtest.Info(t, "in %% of one core: pion %.2f, ingest %.2f (%.2f times), record %.2f; rounds %.2f",
		median(cpu[rolePion]), median(cpu[roleIngest]), median(ratios[roleIngest]), median(cpu[roleRecord]), ratios[roleRecord])
}

// benchRound runs one process for each role at the same time.
func benchRound(t *testing.T, roles []string) map[string]benchResult {
	t.Helper()
	video, audio := mustClip(t, clips.Bench720p), mustClip(t, clips.TeacherAudio)
	children := map[string]*benchtest.Process{}
	for _, role := range roles {
		c := benchtest.StartSelf(t, "TestBench_RecordOneStream", role)
		children[role] = c
		pub, err := publisher.Publish(t.Context(), publisher.Config{Video: video, Audio: audio}, func(_ context.Context, offer string) (answer string, err error) {
			c.Tell(offer)
			c.Hear(&answer)
			return answer, nil
		})
		if err != nil {
			t.Fatalf("%s: %v", role, err)
		}
		defer func() { _ = pub.Close() }()
	}
	<-time.After(benchWarmUp)
	for _, role := range roles { // the windows begin together
		children[role].Tell("start")
	}
	<-time.After(benchWindow)
	for _, role := range roles {
		children[role].Tell("stop")
	}
	results := map[string]benchResult{}
	for _, role := range roles {
		var r benchResult
		children[role].Hear(&r)
		results[role] = r
	}
	return results
}

// receiveAs is the life of a process in its role.
func receiveAs(t *testing.T, role string) {
	t.Helper()
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
	cpu, n := benchtest.OwnCPU(t), packets.Load()
	if err := in.Decode(&command); err != nil {
		t.Fatal(err)
	}
	if err := out.Encode(benchResult{CPU: benchtest.OwnCPU(t) - cpu, Packets: packets.Load() - n}); err != nil {
		t.Fatal(err)
	}
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
			tr.Release()
			h.packets.Add(1)
		}
	}
	c := tr.Codec()
	info := recorder.TrackInfo{
		UserID: "teacher", StreamID: tr.StreamID(), Kind: recorder.Audio,
		MimeType: c.MimeType, ClockRate: c.ClockRate, Channels: c.Channels, FmtpLine: c.FmtpLine,
		RequestKeyframe: tr.RequestKeyframe, Patience: tr.Patience,
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
		tr.Release()
		h.packets.Add(1)
	}
}
