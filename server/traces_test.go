// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/metadata"

	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
)

// collector looks at spans by their names.
type collector struct{ *apitest.Collector }

func newCollector(t *testing.T) *collector {
	t.Helper()
	return &collector{apitest.NewCollector(t)}
}

// tree is the spans of one trace below a parent, as "name(child child)", in the order of their names.
func (c *collector) tree(trace, parent string) []string {
	spans := c.Spans()
	var below func(parent string) []string
	below = func(parent string) []string {
		var all []string
		for _, span := range spans {
			if hex.EncodeToString(span.GetTraceId()) != trace || hex.EncodeToString(span.GetParentSpanId()) != parent {
				continue
			}
			text := span.GetName()
			if text == "getUserRecordlist" {
				continue // asked as well when the first list has nothing yet
			}
			if children := below(hex.EncodeToString(span.GetSpanId())); len(children) > 0 {
				text += "(" + strings.Join(children, " ") + ")"
			}
			all = append(all, text)
		}
		slices.Sort(all)
		return slices.Compact(all) // the list is asked for again and again
	}
	return below(parent)
}

// named are the spans of a name in a trace, "" for all.
func (c *collector) named(trace, name string) []*tracev1.Span {
	return slices.DeleteFunc(c.Spans(), func(s *tracev1.Span) bool {
		return hex.EncodeToString(s.GetTraceId()) != trace || name != "" && s.GetName() != name
	})
}

func attributesOf(span *tracev1.Span) map[string]string {
	all := map[string]string{}
	for _, a := range span.GetAttributes() {
		all[a.GetKey()] = a.GetValue().GetStringValue()
	}
	return all
}

const (
	startTrace, startSpan = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	stopTrace, stopSpan   = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
)

// inTrace is a context for calls that say of which trace they are, sampled.
func inTrace(ctx context.Context, trace, span string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "traceparent", "00-"+trace+"-"+span+"-01")
}

// post makes a REST call that says of which trace it is.
func post(t *testing.T, s *apitest.Server, path, body, trace, span string) {
	t.Helper()
	req, err := http.NewRequestWithContext(apitest.Context(t), http.MethodPost, s.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Traceparent", "00-"+trace+"-"+span+"-01")
	if code, _, text := roundTrip(t, s.HTTP(), req); code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, code, text)
	}
}

// A caller finds in its own trace what was done for it: by the call, by the room's worker, on the wire, and at the record
// list long after.
func TestTraces_Story(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	var mu sync.Mutex
	t.Run("ways", func(t *testing.T) {
		for _, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
			t.Run(fmt.Sprint(way), func(t *testing.T) {
				t.Parallel()
				c := newCollector(t)
				var log syncBuffer
				audit := filepath.Join(t.TempDir(), "audit.jsonl")
				s := apitest.New(t, func(cfg *server.Config) {
					cfg.TraceEndpoint, cfg.AuditLog, cfg.Logger = c.URL(), audit, slog.New(slog.NewJSONHandler(&log, nil))
				})
				s.Join(t, "42", "alice")
				if way == apitest.GRPC {
					for _, step := range []struct {
						call        apitest.Call
						trace, span string
					}{
						{apitest.Call{Name: apitest.Start, Request: `{"room": "42", "request_id": "maths-7"}`}, startTrace, startSpan},
						{apitest.Call{Name: apitest.Stop, Request: `{"room": "42"}`}, stopTrace, stopSpan},
					} {
						if out, err := s.TryCall(inTrace(apitest.Context(t), step.trace, step.span), way, step.call); err != nil || out.Code != 0 {
							t.Fatalf("%v %v", out, err)
						}
					}
				} else {
					post(t, s, "/v1/rooms/42/recordings", `{"requestId": "maths-7"}`, startTrace, startSpan)
					post(t, s, "/v1/rooms/42/recordings:stop", `{}`, stopTrace, stopSpan)
				}
				name := awaitAvailable(t, s)
				s.Stop() // sends what is left

				const service = "classrec.v1.RecordingService/"
				if got, want := c.tree(startTrace, startSpan), []string{
					service + "StartRecording(enter room(checkroom getconfig joinRoom) publish ClassBegin(pubMsg))",
				}; !slices.Equal(got, want) {
					t.Errorf("the start's trace is\n%q, want\n%q", got, want)
				}
				if got, want := c.tree(stopTrace, stopSpan), []string{
					service + "StopRecording(await files(getrecordlist) delete ClassBegin(delMsg))",
				}; !slices.Equal(got, want) {
					t.Errorf("the stop's trace is\n%q, want\n%q", got, want)
				}
				files := c.named(stopTrace, "await files")
				if len(files) != 1 || len(files[0].GetLinks()) != 1 || hex.EncodeToString(files[0].GetLinks()[0].GetTraceId()) != startTrace {
					t.Fatalf("the wait for files is not linked to the start: %v", files)
				}
				want := map[string]string{"classrec.tenant": "default", "classrec.room": "42", "classrec.recording": name, "classrec.request_id": "maths-7"}
				if got := attributesOf(files[0]); !maps.Equal(got, want) {
					t.Errorf("the wait for files is of %v", got)
				}
				start := c.named(startTrace, service+"StartRecording")
				for key, value := range want {
					if got := attributesOf(start[0])[key]; got != value {
						t.Errorf("the call's %s is %q", key, got)
					}
				}
				checkTraceIDs(t, &log, audit)
				mu.Lock()
				defer mu.Unlock()
				for _, trace := range []string{startTrace, stopTrace} {
					for _, span := range c.named(trace, "") {
						name := span.GetName()
						if strings.HasPrefix(name, service) {
							name = service + "…"
						}
						names[name] = true
					}
				}
			})
		}
	})
	// The documentation has them all, and no others.
	text, err := os.ReadFile("../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Traces\n")
	section, _, _ = strings.Cut(section, "\n## ")
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]+`) \\|").FindAllStringSubmatch(section, -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			documented[name[1]] = true
		}
	}
	names["getUserRecordlist"], names["check file"] = true, true // they need another platform, and a file
	if got, want := slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(names)); !slices.Equal(got, want) {
		t.Errorf("docs/observability.md has the spans\n%q, there are\n%q", got, want)
	}
}

// What a call has asked for is done within its trace also in the process's next life.
func TestTraces_OverARestart(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	s := apitest.New(t, func(cfg *server.Config) { cfg.TraceEndpoint = c.URL() })
	start := apitest.Call{Name: apitest.Start, Request: `{"room": "42", "request_id": "maths-7"}`}
	if out, err := s.TryCall(inTrace(apitest.Context(t), startTrace, startSpan), apitest.GRPC, start); err != nil || out.Code != 0 {
		t.Fatalf("%v %v", out, err)
	}
	s.Restart()
	s.Call(t, apitest.GRPC, apitest.Call{Name: apitest.Stop, Request: `{"room": "42"}`})
	s.Stop()
	if n := len(c.named(startTrace, "enter room")); n < 2 {
		t.Errorf("in the start's trace the room is entered %d times", n)
	}
}

// awaitAvailable waits until the only recording of room 42 is available, and returns its name.
func awaitAvailable(t *testing.T, s *apitest.Server) string {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		out := s.Call(t, apitest.GRPC, apitest.Call{Name: apitest.List, Request: `{"room": "42"}`})
		var page struct {
			Recordings []struct{ Name, State string }
		}
		if err := json.Unmarshal([]byte(out.Response), &page); err != nil {
			t.Fatal(err)
		}
		if len(page.Recordings) == 1 && page.Recordings[0].State == "RECORDING_STATE_AVAILABLE" {
			return page.Recordings[0].Name
		}
		if time.Now().After(end) {
			t.Fatalf("it stays %s", out.Response)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

// checkTraceIDs wants the lines of the calls to have their trace, in the log and in the audit.
func checkTraceIDs(t *testing.T, log *syncBuffer, audit string) {
	t.Helper()
	lines, err := os.ReadFile(audit)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"log": log.String(), "audit": string(lines)} {
		for call, trace := range map[string]string{"StartRecording": startTrace, "StopRecording": stopTrace} {
			found := false
			for line := range strings.Lines(text) {
				found = found || strings.Contains(line, call) && strings.Contains(line, `"trace_id":"`+trace+`"`)
			}
			if !found {
				t.Errorf("the %s has no line of %s with its trace_id:\n%s", what, call, text)
			}
		}
	}
}

// syncBuffer is a buffer that many write.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write adds to it.
func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String is what was written so far.
func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Without a place to send them, calls have the trace ids of their callers, and nothing is made anew.
func TestTraces_Off(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	s := apitest.New(t, func(cfg *server.Config) { cfg.Logger = slog.New(slog.NewJSONHandler(&log, nil)) })
	for _, name := range []string{apitest.List, apitest.Watch} {
		call := apitest.Call{Name: name, Request: `{"room": "42"}`}
		if _, err := s.TryCall(inTrace(apitest.Context(t), startTrace, startSpan), apitest.GRPC, call); err != nil {
			t.Fatal(err)
		}
		s.Call(t, apitest.GRPC, call)
	}
	s.Stop()
	if n := strings.Count(log.String(), `"trace_id":"`+startTrace+`"`); n != 2 {
		t.Errorf("%d lines have the caller's trace", n)
	}
	if n := strings.Count(log.String(), "trace_id"); n != 2 {
		t.Errorf("%d lines have a trace", n)
	}
}

// Of the traces that begin here as many are sent as are asked for; of those of callers, what they say.
func TestTraces_Ratio(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	s := apitest.New(t, func(cfg *server.Config) { cfg.TraceEndpoint, cfg.TraceRatio = c.URL(), -1 })
	list := apitest.Call{Name: apitest.List, Request: `{"room": "42"}`}
	s.Call(t, apitest.GRPC, list)
	if _, err := s.TryCall(inTrace(apitest.Context(t), startTrace, startSpan), apitest.GRPC, list); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if spans, its := len(c.Spans()), len(c.named(startTrace, "")); its == 0 || spans != its {
		t.Errorf("%d spans have come, %d of them of the caller's trace", spans, its)
	}
}

// A collector that takes connections and answers nothing holds up neither calls nor the end, and is told of once; nor does
// one that is not there.
func TestTraces_CollectorHangs(t *testing.T) {
	t.Parallel()
	for name, there := range map[string]bool{"hangs": true, "refuses": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0") // in the backlog connections stand, and nobody is there
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			if !there {
				_ = l.Close()
			}
			withoutCollector(t, l.Addr().String())
		})
	}
}

func withoutCollector(t *testing.T, address string) {
	t.Helper()
	var log syncBuffer
	s := apitest.New(t, func(cfg *server.Config) {
		cfg.TraceEndpoint, cfg.Logger = "http://"+address, slog.New(slog.NewJSONHandler(&log, nil))
	})
	const callers, calls = 16, 300 // more than wait in the queue
	began := time.Now()
	var calling sync.WaitGroup
	for range callers {
		calling.Go(func() {
			for range calls {
				out, err := s.TryCall(t.Context(), apitest.GRPC, apitest.Call{Name: apitest.List, Request: `{"room": "42"}`})
				if err != nil || out.Code != 0 {
					t.Errorf("%v %v", out, err)
					return
				}
			}
		})
	}
	calling.Wait()
	took := time.Since(began)
	eventually(t, "it to be told", func() bool { return strings.Contains(log.String(), "traces cannot be sent") })
	began = time.Now()
	s.Stop()
	if stopping := time.Since(began); stopping > 8*time.Second {
		t.Errorf("the end took %v", stopping)
	}
	if took/calls > 200*time.Millisecond {
		t.Errorf("a caller waited %v for each call", took/calls)
	}
	if n := strings.Count(log.String(), "traces cannot be sent"); n != 1 {
		t.Errorf("it is told %d times", n)
	}
}

// What is no place to send traces to is refused at the start, by the flag's name.
func TestTraces_Flags(t *testing.T) {
	t.Parallel()
	for _, change := range []func(*server.Config){
		func(cfg *server.Config) { cfg.TraceEndpoint = "127.0.0.1:4317" },
		func(cfg *server.Config) { cfg.TraceEndpoint = "http://user:secret@127.0.0.1:4317" },
		func(cfg *server.Config) { cfg.TraceEndpoint, cfg.TraceRatio = "http://127.0.0.1:4317", 2 },
	} {
		cfg := apitest.Config(t.TempDir())
		change(&cfg)
		s, err := server.New(t.Context(), cfg)
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), "--otlp-") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
}
