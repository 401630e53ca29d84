// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package console_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// patience bounds what has to come; only a test that fails uses it up.
const patience = 30 * time.Second

// browser is a headless Chromium with a fake camera, driven over the DevTools protocol
// (https://chromedevtools.github.io/devtools-protocol/).
type browser struct {
	conn *websocket.Conn
	done chan struct{} // closed when nothing more is read

	writing sync.Mutex // never held while reading needs anything
	mu      sync.Mutex
	last    int
	answers map[int]chan answer
	pages   map[string]*page // by session
}

type answer struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
	Method    string          `json:"method"`
	Params    json.RawMessage `json:"params"`
	SessionID string          `json:"sessionId"`
}

// newBrowser starts Chromium, and ends it with the test.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	profile, err := os.MkdirTemp("", "classrec-console-") //nolint:usetesting // t.TempDir fails the test when a child writes late
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
		"--autoplay-policy=no-user-gesture-required", "--hide-scrollbars", "--remote-debugging-port=0", "--user-data-dir="+profile, "about:blank")
	if err := cmd.Start(); err != nil {
		t.Fatalf("the end-to-end tests need chromium; make setup-e2e installs it: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it ends its own children
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-ended
		}
		if err := os.RemoveAll(profile); err != nil {
			t.Logf("profile left behind: %v", err)
		}
	})
	var port, path string
	wait(t, "Chromium is there", func() bool {
		text, err := os.ReadFile(filepath.Join(profile, "DevToolsActivePort"))
		var found bool
		port, path, found = strings.Cut(strings.TrimSpace(string(text)), "\n")
		return err == nil && found
	})
	conn, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://127.0.0.1:"+port+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{conn: conn, done: make(chan struct{}), answers: map[int]chan answer{}, pages: map[string]*page{}}
	go b.read()
	t.Cleanup(func() {
		_ = conn.Close()
		<-b.done
	})
	return b
}

// wait asks until the answer is yes.
func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(30 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func (b *browser) read() {
	defer close(b.done)
	for {
		var a answer
		if b.conn.ReadJSON(&a) != nil {
			return
		}
		b.mu.Lock()
		waiting, p := b.answers[a.ID], b.pages[a.SessionID]
		delete(b.answers, a.ID)
		b.mu.Unlock()
		switch {
		case a.Method == "" && waiting != nil:
			waiting <- a
		case a.Method != "" && p != nil:
			p.take(a.Method, a.Params)
		}
	}
}

// call does one call of the protocol, into result unless that is nil.
func (b *browser) call(t *testing.T, session, method string, params, result any) {
	t.Helper()
	if message := b.ask(t, session, method, params, result); message != "" {
		t.Fatalf("%s: %s", method, message)
	}
}

// ask is call, with what Chromium has against it as its result.
func (b *browser) ask(t *testing.T, session, method string, params, result any) (message string) {
	t.Helper()
	got := make(chan answer, 1)
	b.mu.Lock()
	b.last++
	id := b.last
	b.answers[id] = got
	request := map[string]any{"id": id, "method": method}
	if params != nil {
		request["params"] = params
	}
	if session != "" {
		request["sessionId"] = session
	}
	b.mu.Unlock()
	b.writing.Lock()
	err := b.conn.WriteJSON(request)
	b.writing.Unlock()
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case a := <-got:
		if a.Error != nil {
			return a.Error.Message
		}
		if result != nil {
			if err := json.Unmarshal(a.Result, result); err != nil {
				t.Fatalf("%s: %v: %.300s", method, err, a.Result)
			}
		}
	case <-ctx.Done():
		t.Fatalf("%s: no answer", method)
	case <-b.done:
		t.Fatalf("%s: Chromium has gone", method)
	}
	return ""
}

// page is one tab, with storage of its own.
type page struct {
	b       *browser
	session string
	host    string // the only one that it may ask

	mu      sync.Mutex
	trouble []string
	allowed []string // parts of complaints that the test expects
}

// open opens a page in a language. What it complains about, and what it asks of other hosts, fails the test at its end.
func (b *browser) open(t *testing.T, address, language string) *page {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ BrowserContextID, TargetID, SessionID string }
	b.call(t, "", "Target.createBrowserContext", map[string]any{}, &made)
	b.call(t, "", "Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": made.BrowserContextID, "width": 1280, "height": 860}, &made)
	b.call(t, "", "Target.attachToTarget", map[string]any{"targetId": made.TargetID, "flatten": true}, &made)
	p := &page{b: b, session: made.SessionID, host: u.Host}
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		p.call(t, domain+".enable", nil, nil)
	}
	p.call(t, "Emulation.setUserAgentOverride", map[string]any{"userAgent": "Mozilla/5.0 Chrome/156 (test)", "acceptLanguage": language}, nil)
	p.call(t, "Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": `
		addEventListener('securitypolicyviolation', (e) => console.error('violation: ' + e.violatedDirective + ' ' + e.blockedURI));`}, nil)
	t.Cleanup(func() {
		p.allow("net::ERR_") // what is cut off by closing
		b.call(t, "", "Target.disposeBrowserContext", map[string]any{"browserContextId": made.BrowserContextID}, nil)
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, complaint := range p.trouble {
			t.Errorf("the page complains: %s", complaint)
		}
	})
	p.goTo(t, address)
	return p
}

// take notes what a page should not do.
func (p *page) take(method string, params json.RawMessage) {
	var e struct {
		Type             string
		Args             []struct{ Value, Description any }
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
		Entry   struct{ Level, Source, Text, URL string }
		Request struct{ URL string }
		URL     string
	}
	if json.Unmarshal(params, &e) != nil {
		return
	}
	switch method {
	case "Runtime.exceptionThrown":
		p.complain("exception: " + e.ExceptionDetails.Text + " " + e.ExceptionDetails.Exception.Description)
	case "Runtime.consoleAPICalled":
		if e.Type == "error" || e.Type == "warning" {
			p.complain(fmt.Sprintf("console.%s: %v", e.Type, e.Args))
		}
	case "Log.entryAdded":
		if e.Entry.Level == "error" || e.Entry.Level == "warning" {
			p.complain(e.Entry.Source + ": " + e.Entry.Text + " " + e.Entry.URL)
		}
	case "Network.requestWillBeSent", "Network.webSocketCreated":
		address := e.Request.URL + e.URL // one of them is empty
		if u, err := url.Parse(address); err != nil || u.Host != p.host && u.Scheme != "data" && u.Scheme != "blob" && u.Scheme != "about" {
			p.complain("asks another host: " + address)
		}
	}
}

func (p *page) complain(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, part := range p.allowed {
		if strings.Contains(text, part) {
			return
		}
	}
	p.trouble = append(p.trouble, text)
}

// allow expects complaints with this in them.
func (p *page) allow(part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.allowed = append(p.allowed, part)
}

func (p *page) call(t *testing.T, method string, params, result any) {
	t.Helper()
	p.b.call(t, p.session, method, params, result)
}

// goTo opens another address in the tab.
func (p *page) goTo(t *testing.T, address string) {
	t.Helper()
	p.call(t, "Page.navigate", map[string]any{"url": address}, nil)
	p.until(t, `document.querySelector('main h1') !== null`)
}

// eval evaluates an expression, which may be a promise, and decodes its value into result unless that is nil.
func (p *page) eval(t *testing.T, expression string, result any) {
	t.Helper()
	if message := p.try(t, expression, result); message != "" {
		t.Fatalf("%s: %s", expression, message)
	}
}

func (p *page) try(t *testing.T, expression string, result any) (message string) {
	t.Helper()
	var out struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	params := map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true}
	if message := p.b.ask(t, p.session, "Runtime.evaluate", params, &out); message != "" {
		return message // the page is just being left, say
	}
	if d := out.ExceptionDetails; d != nil {
		return d.Text + " " + d.Exception.Description
	}
	if result != nil {
		if err := json.Unmarshal(out.Result.Value, result); err != nil {
			return err.Error()
		}
	}
	return ""
}

// until waits until an expression is true.
func (p *page) until(t *testing.T, expression string) {
	t.Helper()
	end := time.Now().Add(patience)
	for {
		var holds bool
		last := p.try(t, "Boolean("+expression+")", &holds)
		if holds {
			return
		}
		if time.Now().After(end) {
			var text string
			p.try(t, "document.body.innerText", &text)
			p.shoot(t, "failed")
			t.Fatalf("not within %v: %s %s\nthe page shows:\n%s", patience, expression, last, text)
		}
		time.Sleep(30 * time.Millisecond)
	}
}

// text is what a selector's first element shows.
func (p *page) text(t *testing.T, selector string) string {
	t.Helper()
	var text string
	p.eval(t, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector), &text)
	return text
}

// click presses the first element of a selector whose text has this in it.
func (p *page) click(t *testing.T, selector, text string) {
	t.Helper()
	find := fmt.Sprintf("[...document.querySelectorAll(%q)].find((e) => e.innerText.includes(%q) && !e.disabled)", selector, text)
	p.until(t, find)
	p.eval(t, find+".click()", nil)
}

// fill types into an input.
func (p *page) fill(t *testing.T, selector, text string) {
	t.Helper()
	p.eval(t, fmt.Sprintf("(() => { const e = document.querySelector(%q); e.focus(); e.select?.(); })()", selector), nil)
	p.write(t, text)
}

// write types text where the focus is.
func (p *page) write(t *testing.T, text string) {
	t.Helper()
	p.call(t, "Input.insertText", map[string]any{"text": text}, nil)
}

// press presses keys, by their names.
func (p *page) press(t *testing.T, keys ...string) {
	t.Helper()
	for _, key := range keys {
		code := map[string]int{"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowDown": 40}[key]
		down := map[string]any{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code}
		switch key {
		case "Enter":
			down["text"] = "\r"
		case " ":
			down["text"], down["code"] = " ", "Space"
		}
		p.call(t, "Input.dispatchKeyEvent", down, nil)
		p.call(t, "Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "code": down["code"], "windowsVirtualKeyCode": code}, nil)
	}
}

// look is how a page is looked at.
type look struct {
	name   string
	dark   bool
	width  int
	height int
	phone  bool
}

func looks() []look {
	return []look{
		{name: "light", width: 1280, height: 860},
		{name: "dark", dark: true, width: 1280, height: 860},
		{name: "phone", width: 360, height: 740, phone: true},
	}
}

func (p *page) look(t *testing.T, l look) {
	t.Helper()
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	p.call(t, "Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	scale := 1
	if l.phone {
		scale = 2
	}
	p.call(t, "Emulation.setDeviceMetricsOverride", map[string]any{"width": l.width, "height": l.height, "deviceScaleFactor": scale, "mobile": l.phone}, nil)
}

// screenshots is where pictures are left.
const screenshots = "../../../../.build/screenshots"

// shoot takes a picture of the page.
func (p *page) shoot(t *testing.T, name string) {
	t.Helper()
	var picture struct{ Data string }
	p.call(t, "Page.captureScreenshot", map[string]any{"format": "png"}, &picture)
	data, err := base64.StdEncoding.DecodeString(picture.Data)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(screenshots, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(screenshots, name+".png"), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// shootAll takes a picture in every look, in which nothing may be wider than the page, or without a name for who cannot
// see it.
func (p *page) shootAll(t *testing.T, name string) {
	t.Helper()
	for _, l := range looks() {
		p.look(t, l)
		var wide int
		p.eval(t, "Math.max(innerWidth, document.documentElement.scrollWidth, document.body.scrollWidth)", &wide)
		if wide > l.width {
			t.Errorf("%s, %s: the page is %d px wide", name, l.name, wide)
		}
		p.shoot(t, name+"-"+l.name)
	}
	p.named(t, name)
	p.look(t, looks()[0])
}

// named wants a name for everything that can be operated.
func (p *page) named(t *testing.T, name string) {
	t.Helper()
	var tree struct {
		Nodes []struct {
			Ignored    bool
			Role, Name struct{ Value any }
			NodeID     string
		}
	}
	p.call(t, "Accessibility.getFullAXTree", nil, &tree)
	n := 0
	for _, node := range tree.Nodes {
		switch node.Role.Value {
		case "button", "link", "textbox", "searchbox", "combobox", "checkbox", "spinbutton", "navigation", "region":
			n++
			if text, _ := node.Name.Value.(string); !node.Ignored && strings.TrimSpace(text) == "" {
				t.Errorf("%s: a %s has no name", name, node.Role.Value)
			}
		}
	}
	if n < 5 {
		t.Errorf("%s: only %d things can be operated", name, n)
	}
}
