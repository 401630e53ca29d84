// SPDX-License-Identifier: Apache-2.0

package console_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/gateway/console"
)

func newConsole(t *testing.T, cfg console.Config) *console.Handler {
	t.Helper()
	h, err := console.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// get asks for a path. Headers are name, value, name, value.
func get(t *testing.T, h http.Handler, method, path string, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) []byte {
	t.Helper()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestServed(t *testing.T) {
	t.Parallel()
	h := newConsole(t, console.Config{})
	for _, tc := range []struct {
		method, path, contentType string
		status                    int
	}{
		{"GET", "/", "text/html; charset=utf-8", 200},
		{"HEAD", "/", "text/html; charset=utf-8", 200},
		{"GET", "/docs", "text/html; charset=utf-8", 200},
		{"GET", "/console/main.js", "text/javascript; charset=utf-8", 200},
		{"GET", "/console/console.css", "text/css; charset=utf-8", 200},
		{"GET", "/console/strings.json", "application/json", 200},
		{"GET", "/console/settings.json", "application/json", 200},
		{"GET", "/console/icon.svg", "image/svg+xml", 200},
		{"GET", "/console/index.html", "text/plain; charset=utf-8", 404}, // it is at /
		{"GET", "/console/", "text/plain; charset=utf-8", 404},
		{"GET", "/console/../console.go", "text/plain; charset=utf-8", 404},
		{"POST", "/", "text/plain; charset=utf-8", 405},
	} {
		r := get(t, h, tc.method, tc.path)
		if r.StatusCode != tc.status || r.Header.Get("Content-Type") != tc.contentType {
			t.Errorf("%s %s: %s, %s", tc.method, tc.path, r.Status, r.Header.Get("Content-Type"))
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; media-src 'self'; " +
				"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s %s: %s is %q", tc.method, tc.path, name, got)
			}
		}
	}
}

func TestMediaSources(t *testing.T) {
	t.Parallel()
	r := get(t, newConsole(t, console.Config{MediaSources: []string{"https:", "http://files.example"}}), "GET", "/")
	if policy := r.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "; media-src 'self' https: http://files.example;") {
		t.Errorf("the policy is %s", policy)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		cfg  console.Config
		want string
	}{
		{console.Config{}, `{"classroom":false,"filesBaseUrl":""}`},
		{console.Config{FilesBaseURL: "http://elsewhere"}, `{"classroom":false,"filesBaseUrl":""}`},
		{console.Config{Classroom: true, FilesBaseURL: "http://h:1/files"}, `{"classroom":true,"filesBaseUrl":"http://h:1/files"}`},
	} {
		if got := body(t, get(t, newConsole(t, tc.cfg), "GET", "/console/settings.json")); string(got) != tc.want {
			t.Errorf("%+v: %s", tc.cfg, got)
		}
	}
}

func TestCaching(t *testing.T) {
	t.Parallel()
	h := newConsole(t, console.Config{})
	plain := get(t, h, "GET", "/console/main.js")
	zipped := get(t, h, "GET", "/console/main.js", "Accept-Encoding", "br, gzip;q=0.8")
	if plain.Header.Get("Content-Encoding") != "" || zipped.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("encodings %q and %q", plain.Header.Get("Content-Encoding"), zipped.Header.Get("Content-Encoding"))
	}
	want := body(t, plain)
	unzip, err := gzip.NewReader(bytes.NewReader(body(t, zipped)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(unzip); err != nil || !bytes.Equal(got, want) {
		t.Errorf("unzipped %d bytes, plain %d: %v", len(got), len(want), err)
	}
	if plain.Header.Get("ETag") == zipped.Header.Get("ETag") {
		t.Error("two encodings have one ETag")
	}
	for _, r := range []*http.Response{plain, zipped} {
		if r.Header.Get("Cache-Control") != "no-cache" || r.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("headers %v", r.Header)
		}
	}
	again := get(t, h, "GET", "/console/main.js", "Accept-Encoding", "gzip", "If-None-Match", zipped.Header.Get("ETag"))
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("asked again: %s", again.Status)
	}
	for _, accept := range []string{"identity", "gzip;q=0", "deflate"} {
		if r := get(t, h, "GET", "/console/main.js", "Accept-Encoding", accept); r.Header.Get("Content-Encoding") != "" {
			t.Errorf("Accept-Encoding %s is answered with %s", accept, r.Header.Get("Content-Encoding"))
		}
	}
}

// sources are the files of the pages by name.
func sources(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("web/*")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = string(data)
	}
	return all
}

// TestSources holds the pages to what their policy allows, and to no other hosts.
func TestSources(t *testing.T) {
	t.Parallel()
	total := 0
	for name, text := range sources(t) {
		total += len(text)
		for pattern, why := range map[string]string{
			`<style|style=|\son\w+="|<script>`:                                             "inline script or style",
			`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function`: "text that becomes code",
			`https?://[a-z]`:       "another host",
			`console\.(log|debug)`: "left from writing",
		} {
			found := regexp.MustCompile(pattern).FindString(strings.ReplaceAll(text, "http://www.w3.org/2000/svg", ""))
			if found != "" {
				t.Errorf("%s: %s: %q", name, why, found)
			}
		}
		if path := filepath.Ext(name); (path == ".js" || path == ".css") && !strings.Contains(text[:80], "SPDX-License-Identifier: Apache-2.0") {
			t.Errorf("%s does not begin with its license", name)
		}
	}
	if total > 160<<10 {
		t.Errorf("the pages have %d bytes: small is what they have to be", total)
	}
}

// TestSize holds the pages to the size that docs/console.md names.
func TestSize(t *testing.T) {
	t.Parallel()
	h := newConsole(t, console.Config{Classroom: true})
	total := 0
	for name := range sources(t) {
		path := console.Prefix + name
		switch name {
		case "index.html":
			path = "/"
		case "docs.html":
			path = "/docs"
		}
		r := get(t, h, "GET", path, "Accept-Encoding", "gzip")
		if r.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, r.Status)
		}
		total += len(body(t, r))
	}
	text, err := os.ReadFile("../../../../docs/console.md")
	if err != nil {
		t.Fatal(err)
	}
	bound := regexp.MustCompile(`less\s+than\s+(\d+)\s+kB\s+compressed`).FindSubmatch(text)
	if bound == nil {
		t.Fatal("docs/console.md names no size")
	}
	if kB, err := strconv.Atoi(string(bound[1])); err != nil || total >= kB*1000 || total < kB*800 {
		t.Errorf("the pages have %d bytes compressed, and docs/console.md says less than %d kB: %v", total, kB, err)
	}
}

// TestStrings wants every word in both languages, with the same values in it; every word that is asked for; and no
// others.
func TestStrings(t *testing.T) {
	t.Parallel()
	all := sources(t)
	var table map[string][]string
	if err := json.Unmarshal([]byte(all["strings.json"]), &table); err != nil {
		t.Fatal(err)
	}
	values := regexp.MustCompile(`\{\w+\}`)
	for key, words := range table {
		if len(words) != 2 {
			t.Errorf("%s has %d languages", key, len(words))
			continue
		}
		if (words[0] == "") != (words[1] == "") {
			t.Errorf("%s is missing in one language", key)
		}
		english, chinese := values.FindAllString(words[0], -1), values.FindAllString(words[1], -1)
		slices.Sort(english)
		slices.Sort(chinese)
		if !slices.Equal(english, chinese) && !strings.HasSuffix(key, ".one") {
			t.Errorf("%s has the values %v and %v", key, english, chinese)
		}
	}

	code := ""
	for name, text := range all {
		if filepath.Ext(name) == ".js" {
			code += text
		}
	}
	// Keys are written out, or begin with a family whose rest is a value: t(`state.${…}`), word('state', …).
	families := []string{"error."}
	for _, m := range regexp.MustCompile("[`']([a-z]+)\\.?(?:\\$\\{|', '[A-Z_]+_')").FindAllStringSubmatch(code, -1) {
		families = append(families, m[1]+".")
	}
	families = append(families, "kind.", "type.")
	for _, m := range regexp.MustCompile(`\bt\('([^']+)'`).FindAllStringSubmatch(code, -1) {
		if _, ok := table[m[1]]; !ok {
			t.Errorf("%s is asked for and has no words", m[1])
		}
	}
	for key := range table {
		base := strings.TrimSuffix(key, ".one")
		used := strings.Contains(code, "'"+base+"'") || slices.ContainsFunc(families, func(f string) bool { return strings.HasPrefix(key, f) })
		if !used {
			t.Errorf("%s is not used", key)
		}
	}
}

// TestStrings_Enums wants words for every value that the API may answer with.
func TestStrings_Enums(t *testing.T) {
	t.Parallel()
	var table map[string][]string
	if err := json.Unmarshal([]byte(sources(t)["strings.json"]), &table); err != nil {
		t.Fatal(err)
	}
	for _, e := range []struct {
		family, prefix string
		enum           protoreflect.EnumDescriptor
	}{
		{"state", "RECORDING_STATE_", classrecv1.RecordingState(0).Descriptor()},
		{"format", "RECORDING_FORMAT_", classrecv1.RecordingFormat(0).Descriptor()},
		{"type", "RECORD_TYPE_", classrecv1.RecordType(0).Descriptor()},
		{"kind", "RECORD_TYPE_", classrecv1.RecordType(0).Descriptor()},
		{"layout", "RECORDING_LAYOUT_", classrecv1.RecordingLayout(0).Descriptor()},
		{"origin", "RECORDING_ORIGIN_", classrecv1.RecordingOrigin(0).Descriptor()},
		{"end", "END_REASON_", classrecv1.EndReason(0).Descriptor()},
	} {
		for i := 1; i < e.enum.Values().Len(); i++ {
			key := e.family + "." + strings.TrimPrefix(string(e.enum.Values().Get(i).Name()), e.prefix)
			if len(table[key]) != 2 || table[key][0] == "" {
				t.Errorf("there are no words for %s", key)
			}
		}
	}
}

// Every address that a page uses is relative to where the page is, so that it is
// right behind a proxy that takes a prefix off the path.
func TestAddresses_Relative(t *testing.T) {
	t.Parallel()
	h := newConsole(t, console.Config{Classroom: true})
	address := regexp.MustCompile(`(?:href|src|action)="/|['"\x60(]/(?:v1|console|docs|openapi|protos|whip|socket\.io|ClientAPI|#)[/.'"]`)
	pages := []string{"/", "/docs"}
	files, err := os.ReadDir("web")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".js") {
			pages = append(pages, console.Prefix+f.Name())
		}
	}
	for _, page := range pages {
		if found := address.FindAllString(string(body(t, get(t, h, "GET", page))), -1); found != nil {
			t.Errorf("%s has %q", page, found)
		}
	}
}
