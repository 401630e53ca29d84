// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package recorder_test

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

const freezeDir = "RECORDER_FREEZE_DIR"

// TestE2E_Freeze stops a process that records with SIGSTOP, while media goes on to its socket, and lets it go on after a
// while: what the socket could not hold is a gap of both tracks, and what comes after is where it belongs.
func TestE2E_Freeze(t *testing.T) {
	if dir := os.Getenv(freezeDir); dir != "" {
		recordFromSocket(t, dir)
		return
	}
	t.Parallel()
	const before, frozen, after = 2 * time.Second, 4 * time.Second, 3 * time.Second
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestE2E_Freeze$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), freezeDir+"="+dir)
	cmd.Stderr = os.Stderr
	out := must[interface{ Read([]byte) (int, error) }](t)(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	address := ""
	for address == "" && lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "at "); ok {
			address = text
		}
	}
	conn := must[net.Conn](t)(net.Dial("udp", address))
	defer func() { _ = conn.Close() }()
	sources := []*source{newSource(t, "u", clips.TeacherVideo), newSource(t, "u", clips.TeacherAudio)}
	send := func(d time.Duration) {
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
			for i, s := range sources {
				for !s.begin.Add(s.peek().Time).After(time.Now()) {
					for _, p := range s.frame() {
						p.PayloadType = uint8(i)
						if _, err := conn.Write(must[[]byte](t)(p.Marshal())); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		}
	}
	send(before)
	signal := func(s os.Signal) {
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	send(frozen)
	signal(syscall.SIGCONT)
	send(after)
	if _, err := conn.Write([]byte{0}); err != nil { // the end
		t.Fatal(err)
	}
	for lines.Scan() {
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the child: %v", err)
	}
	gaps, _, err := recorder.Notes(dir)
	if err != nil {
		t.Fatal(err)
	}
	opts := must[recorder.Options](t)(recorder.Describe(dir))
	gaps = slices.DeleteFunc(gaps, func(g recorder.Gap) bool { return strings.Contains(g.Reason, "keyframe") }) // for which the picture waits then
	kinds := map[recorder.Kind]bool{}
	for _, g := range gaps {
		kinds[g.Kind] = true
		from, lasts := g.Start.Sub(opts.Begin), g.End.Sub(g.Start)
		if lasts < frozen-1500*time.Millisecond || lasts > frozen+time.Second || from < before-time.Second || from > before+1500*time.Millisecond {
			t.Errorf("gap of %v from %v, %v: %s", g.Kind, from, lasts, g.Reason)
		}
	}
	if len(gaps) != 2 || len(kinds) != 2 {
		t.Errorf("gaps %v", gaps)
	}
}

// recordFromSocket records what comes to a socket with little room, until a packet of one byte.
func recordFromSocket(t *testing.T, dir string) {
	t.Helper()
	conn := must[*net.UDPConn](t)(net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}))
	defer func() { _ = conn.Close() }()
	if err := conn.SetReadBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
	rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
	var tracks []*recorder.Track
	for _, s := range []*source{newSource(t, "u", clips.TeacherVideo), newSource(t, "u", clips.TeacherAudio)} {
		tracks = append(tracks, must[*recorder.Track](t)(rec.AddTrack(s.info)))
	}
	_, _ = os.Stdout.WriteString("at " + conn.LocalAddr().String() + "\n")
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2048)
	for {
		n, err := conn.Read(buf)
		if err != nil || n == 1 {
			break
		}
		var p rtp.Packet
		if err := p.Unmarshal(buf[:n]); err != nil {
			t.Fatal(err)
		}
		if err := tracks[p.PayloadType].WriteRTP(&p, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	stop(t, rec)
}
