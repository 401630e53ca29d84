// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/webhook"
)

// These make the test binary run as the process that a test kills: its
// directory, and where it sends to.
const (
	childVariable = "CLASSREC_WEBHOOK_TEST_DIR"
	urlVariable   = "CLASSREC_WEBHOOK_TEST_URL"
)

// childMain writes lives into the log and sends their events until it is
// killed. It prints the room of each life that is in the log.
func childMain(dir, url string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx := context.Background()
	s, err := store.Open(ctx, store.Config{Dir: dir})
	if err != nil {
		fail(err)
	}
	secret, err := webhook.ParseSecret(secretText)
	if err != nil {
		fail(err)
	}
	d, err := webhook.Open(ctx, s, quick(webhook.Endpoint{
		Name: "a", URL: url, Secrets: []webhook.Secret{secret}, AllowAddresses: loopback(),
	}))
	if err != nil {
		fail(err)
	}
	go func() { _ = d.Run(ctx) }()
	for i := 0; ; i++ {
		room := fmt.Sprintf("room-%d-%d", os.Getpid(), i)
		c := newClass(s, room, room)
		for _, step := range steps {
			step.change(c.rec)
			if _, err := c.append(ctx); err != nil {
				fail(err)
			}
		}
		fmt.Fprintln(os.Stdout, room)
	}
}

// A process that is killed at any moment loses no event: what it had in its log
// comes, in order, once the next one runs. Some may come twice.
func TestKill(t *testing.T) {
	t.Parallel()
	const kills = 6
	dir := t.TempDir()
	r := newReceiver(t, func(w http.ResponseWriter, _ received) {
		if rand.IntN(4) == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	lives := make(map[string]bool)
	for range kills {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), childVariable+"="+dir, urlVariable+"="+r.URL)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; n < 3 && lines.Scan(); n++ {
			lives[lines.Text()] = true
		}
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			lives[lines.Text()] = true
		}
		_ = cmd.Wait()
	}
	s := storetest.Open(t, dir)
	d := open(t, s, quick(endpointOf(t, "a", r.URL)))
	run(t, d)
	taken := r.wait(t, "all events", func(taken []received) bool {
		rooms := typesByRoom(taken)
		for room := range lives {
			if len(rooms[room]) < len(eventsOfLife()) {
				return false
			}
		}
		return true
	})
	for room, types := range typesByRoom(taken) {
		for i, typ := range types { // of a life that was cut short, the beginning
			if typ != eventsOfLife()[i] {
				t.Errorf("room %s: %v", room, types)
				break
			}
		}
	}
	t.Logf("%d lives, %d events, %d requests, %d came twice", len(lives), len(taken), len(r.requests()), r.twice)
}
