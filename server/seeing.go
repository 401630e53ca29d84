// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/admin"
)

// inspected is what can be looked into: the recordings of each tenant.
func (s *Server) inspected() *admin.Rooms { return admin.NewRooms(s.recordingsOf()) }

// debugRooms shows what the workers do: as JSON to who asks for it (?format=json,
// or by Accept), as a page to browsers, and else as text.
func debugRooms(rooms *admin.Rooms) http.Handler {
	page := template.Must(template.New("rooms").Funcs(template.FuncMap{"word": sessionWord, "state": stateWord, "time": clockTime}).Parse(roomsPage))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		resp, err := rooms.ListRooms(r.Context(), &adminv1.ListRoomsRequest{Tenant: query.Get("tenant"), Room: query.Get("room")})
		if err != nil {
			if errors.Is(err, context.Canceled) {
				return // nobody is there any more
			}
			http.Error(w, "the rooms cannot be told now", http.StatusServiceUnavailable)
			return
		}
		accept := r.Header.Get("Accept")
		switch format := query.Get("format"); {
		case format == "json", format == "" && strings.Contains(accept, "application/json"):
			text, err := protojson.MarshalOptions{EmitDefaultValues: true, Multiline: true}.Marshal(resp)
			if err != nil {
				http.Error(w, "the rooms cannot be told now", http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(append(text, '\n')) // an error: the caller has gone
		case format == "html", format == "" && strings.Contains(accept, "text/html"):
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
			w.Header().Set("Referrer-Policy", "no-referrer")
			_ = page.Execute(w, resp) // an error: the caller has gone
		default:
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write([]byte(roomsText(resp)))
		}
	})
}

// roomsText is a paragraph for each room.
func roomsText(resp *adminv1.ListRoomsResponse) string {
	var b strings.Builder
	fmt.Fprintf(&b, "replica %s: %d rooms\n", resp.GetReplica(), len(resp.GetRooms()))
	for _, r := range resp.GetRooms() {
		fmt.Fprintf(&b, "\nroom %q of tenant %s: %s\n", r.GetRoom(), r.GetTenant(), r.GetDoing())
		line := func(what, text string) {
			if text != "" {
				fmt.Fprintf(&b, "  %-11s %s\n", what, text)
			}
		}
		line("why", r.GetWhy())
		line("since", clockTime(r.GetSince()))
		line("waits for", r.GetWaitsFor())
		line("looks again", clockTime(r.GetNextTime()))
		line("session", sessionWord(r.GetSession()))
		line("away since", clockTime(r.GetAwaySince()))
		line("lease", r.GetLeaseHolder())
		line("error", r.GetLastError())
		if r.GetWatcherCount() > 0 || r.GetWaitingCallCount() > 0 {
			line("callers", fmt.Sprintf("%d watchers, %d calls that wait", r.GetWatcherCount(), r.GetWaitingCallCount()))
		}
		for _, rec := range r.GetRecordings() {
			line("recording", fmt.Sprintf("%q %s since %s, until %s at the latest", rec.GetName(), stateWord(rec.GetState()), clockTime(rec.GetSince()), clockTime(rec.GetDeadline())))
			if rec.GetLookCount() > 0 {
				line("", strings.TrimRight(fmt.Sprintf("looked for its files %d times, next at %s %s", rec.GetLookCount(), clockTime(rec.GetNextLookTime()), rec.GetLookError()), " "))
			}
		}
	}
	return b.String()
}

func sessionWord(s adminv1.SessionState) string { return enumWord(s.String(), "SESSION_STATE_") }

func stateWord(s classrecv1.RecordingState) string {
	return strings.TrimPrefix(s.String(), "RECORDING_STATE_")
}

func clockTime(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format(time.RFC3339)
}

const roomsPage = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>classrec: rooms</title>
<style>
body{font:14px/1.4 system-ui,sans-serif;margin:1.5rem;color:#222}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;border-bottom:1px solid #ddd}
.error{color:#a00}
</style></head><body>
<h1>Rooms</h1><p>Replica {{.Replica}}: {{len .Rooms}} rooms. <a href="?format=json">JSON</a>, <a href="?format=text">text</a></p>
<table><thead><tr><th>Room</th><th>Does</th><th>Why</th><th>Waits for</th><th>Since</th><th>Looks again</th><th>Session</th><th>Recordings</th></tr></thead><tbody>
{{range .Rooms}}<tr><td>{{.Room}}<br>{{.Tenant}}</td><td>{{.Doing}}{{if .LastError}}<br><span class="error">{{.LastError}}</span>{{end}}</td>
<td>{{.Why}}</td><td>{{.WaitsFor}}</td><td>{{time .Since}}</td><td>{{time .NextTime}}</td>
<td>{{word .Session}}{{if .AwaySince}} since {{time .AwaySince}}{{end}}<br>lease: {{.LeaseHolder}}</td>
<td>{{range .Recordings}}{{.Name}} {{state .State}} until {{time .Deadline}}{{if .LookCount}}<br>looked {{.LookCount}} times, next {{time .NextLookTime}} <span class="error">{{.LookError}}</span>{{end}}<br>{{end}}</td></tr>
{{end}}</tbody></table></body></html>
`
