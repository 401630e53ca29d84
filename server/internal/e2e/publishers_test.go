// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
)

// The publishers that are not of our making.
const (
	chromium  = "Chromium"
	firefox   = "Firefox"
	aiortc    = "aiortc"
	gstreamer = "GStreamer"
)

// independent is an independent publisher, and the way of its sessions.
type independent struct {
	*remote
	base  string // of URLs
	proxy *whipProxy
}

// newMediaServer starts a whole classrec that takes media on an address which a publisher sends to. Firefox has none of
// loopback.
func newMediaServer(t *testing.T, publisher string) *apitest.Server {
	t.Helper()
	return apitest.New(t, func(cfg *server.Config) {
		cfg.FFmpeg = ""
		if publisher == firefox {
			cfg.RoomUDPListen = netip.AddrPortFrom(ownAddress(t), 0).String()
		}
	})
}

// startPublisher starts a publisher for sessions on a server, until the test ends.
func startPublisher(t *testing.T, s *apitest.Server, name string) *independent {
	t.Helper()
	p := &independent{proxy: newWHIPProxy(t, s)}
	switch name {
	case chromium:
		p.remote = openPageIn(t, startChromium, name, "publisher.html", p.proxy)
		return p
	case firefox:
		p.remote = openPageIn(t, startFirefox, name, "publisher.html", p.proxy)
		return p
	case aiortc:
		python := must[string](t)(filepath.Abs(filepath.Join(repository, ".build", "python", "bin", "python3")))
		p.remote = startScript(t, name, inPython(python, "aiortc_publisher.py"))
	case gstreamer:
		p.remote = startScript(t, name, inPython("/usr/bin/python3", "gstreamer_publisher.py")) // Debian's, which has its bindings
	default:
		t.Fatalf("no publisher %q", name)
	}
	p.base = p.proxy.serve(t)
	return p
}

// ownAddress is an address of this machine that is not of loopback. What is sent to it stays here.
func ownAddress(t *testing.T) netip.Addr {
	t.Helper()
	for _, a := range must[[]net.Addr](t)(net.InterfaceAddrs()) {
		prefix := must[netip.Prefix](t)(netip.ParsePrefix(a.String()))
		if addr := prefix.Addr(); addr.Is4() && !addr.IsLoopback() && !addr.IsLinkLocalUnicast() {
			return addr
		}
	}
	t.Fatal("this machine has no IPv4 address but those of loopback, to which Firefox does not send")
	return netip.Addr{}
}

func inPython(python, script string) *exec.Cmd {
	cmd := exec.Command(python, "-u", script)
	cmd.Dir = filepath.Join("testdata", "python")
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	return cmd
}

// firefoxPreferences give a fake camera to every page, and ask nobody anything.
const firefoxPreferences = `
user_pref("media.navigator.streams.fake", true);
user_pref("media.navigator.permission.disabled", true);
user_pref("media.autoplay.default", 0);
user_pref("media.autoplay.blocking_policy", 0);
user_pref("media.peerconnection.ice.obfuscate_host_addresses", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.homepage_override.mstone", "ignore");
user_pref("browser.aboutwelcome.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.reportingpolicy.firstRun", false);
user_pref("termsofuse.bypassNotification", true);
user_pref("app.update.enabled", false);
user_pref("extensions.getAddons.cache.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "http://127.0.0.1:9/");
user_pref("browser.safebrowsing.downloads.remote.enabled", false);
user_pref("browser.sessionstore.resume_from_crash", false);
`

// startFirefox opens a URL in a new headless Firefox, which is ended with the test.
func startFirefox(t *testing.T, url string) {
	t.Helper()
	profile, err := os.MkdirTemp("", "classrec-firefox-") //nolint:usetesting // its children may still write when the test ends
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(firefoxPreferences), 0o600); err != nil {
		t.Fatal(err)
	}
	log := must[*os.File](t)(os.Create(filepath.Join(t.TempDir(), "firefox.log")))
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "firefox-esr", "--headless", "--no-remote", "--new-instance", "--profile", profile, url)
	cmd.Env = append(os.Environ(), "HOME="+profile, "MOZ_DISABLE_CONTENT_SANDBOX=1", "MOZ_CRASHREPORTER_DISABLE=1")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends its own children
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // ended by us: always an error
		if t.Failed() {
			_, _ = log.Seek(0, 0)
			for lines := bufio.NewScanner(log); lines.Scan(); {
				if !strings.Contains(lines.Text(), "dbus") {
					t.Logf("firefox: %.300s", lines.Text())
				}
			}
		}
		_ = log.Close()
		if err := os.RemoveAll(profile); err != nil {
			t.Logf("profile left behind: %v", err)
		}
	})
}

// session is what a publisher is asked for. The zero value is a camera of 640x360 at 15 frames a second in the codec that
// the server likes.
type session struct {
	Codec       string  `json:"codec,omitempty"`
	Width       int     `json:"width,omitempty"`
	Height      int     `json:"height,omitempty"`
	FrameRate   int     `json:"frameRate,omitempty"`
	Simulcast   bool    `json:"simulcast,omitempty"`   // layers q, h and f
	Scalability string  `json:"scalability,omitempty"` // a mode of WebRTC-SVC
	Beat        float64 `json:"beat,omitempty"`        // s between flashes with a beep, in place of the camera
	DTX         bool    `json:"dtx,omitempty"`
	Burst       bool    `json:"burst,omitempty"` // GStreamer: what was ready before the connection is sent with it
	NoWait      bool    `json:"-"`               // for the connection
}

// request is the argument of publish for a person in a room.
func (p *independent) request(room, user string, o session) any {
	return struct {
		session
		URL  string `json:"url"`
		Wait bool   `json:"wait"`
	}{o, p.base + endpoint(room, user), !o.NoWait}
}

// publish begins a session of a person in a room and waits until it is connected.
func (p *independent) publish(t *testing.T, room, user string, o session) {
	t.Helper()
	p.call(t, "publish", user, p.request(room, user, o))
}

// endpoint is the path of WHIP for a person in a room.
func endpoint(room, user string) string { return fmt.Sprintf("/whip/%s/%s", room, user) }
