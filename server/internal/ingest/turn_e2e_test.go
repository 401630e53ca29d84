// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package ingest_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/classrec/classrec/server/internal/ingest"
)

// TestTURN publishes through coturn alone, as a publisher does whose network lets nothing else out: the server sees the
// relay's address.
func TestTURN(t *testing.T) {
	binary, err := exec.LookPath("turnserver")
	if err != nil {
		t.Fatalf("coturn is needed (Debian package coturn): %v", err)
	}
	free, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	relay, _ := free.LocalAddr().(*net.UDPAddr)
	_ = free.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1",
		fmt.Sprintf("--listening-port=%d", relay.Port), "--lt-cred-mech", "--user=pupil:secret", "--realm=classrec.test",
		"--allow-loopback-peers", "--no-tls", "--no-dtls", "--no-cli", "--log-file=stdout", "--pidfile="+t.TempDir()+"/pid")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() }) // ended by us: always an error
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", relay.String())
		if err == nil {
			_ = conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("coturn does not listen: %v", err)
		}
		<-time.After(20 * time.Millisecond)
	}
	o, h := newOfferer(t, webrtc.SDPSemanticsUnifiedPlan), newSink()
	if err := o.pc.SetConfiguration(webrtc.Configuration{
		ICETransportPolicy: webrtc.ICETransportPolicyRelay,
		ICEServers: []webrtc.ICEServer{{
			URLs: []string{"turn:" + relay.String() + "?transport=udp"}, Username: "pupil", Credential: "secret",
		}},
	}); err != nil {
		t.Fatal(err)
	}
	o.add(t, "camera")
	offer := o.offer(t)
	mustContain(t, offer, "typ relay")
	s := newServer(t, ingest.Config{NoTCP: true})
	_, answer, err := s.Accept(t.Context(), offer, h)
	if err != nil {
		t.Fatal(err)
	}
	o.accept(t, answer)
	sending, stop := context.WithCancel(t.Context())
	sent := make(chan struct{})
	go func() { defer close(sent); o.send(sending) }()
	t.Cleanup(func() { stop(); <-sent })
	waitSenders(t, h, 1)
	pair, err := o.pc.GetSenders()[0].Transport().ICETransport().GetSelectedCandidatePair()
	if err != nil || pair == nil || pair.Local.Typ != webrtc.ICECandidateTypeRelay {
		t.Errorf("published by %v: %v", pair, err)
	}
}
