// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Handler serves the whole wire: /where.html, /speed.php, /ClientAPI/, /WebAPI/, /socket.io/, /whip/{room}/{user} and
// /files/. It works behind http and https alike. Every answer may be read from any origin (CORS), errors too: the
// vendor's web client is always from another one, and no cookies are used.
//
// Who may enter a room, and as what, is told by checkroom: in a room with passwords (RoomConfig) the role is that of the
// password given, and there is no entry without one. Elsewhere it is userrole where the client sends it; else the
// role that the password names ("teacher", "assistant", "student", "auditor", "patrol": such a room has no secret, so
// it can only say who one wants to be); else student.
//
// Times are for the HTTP server to bound: in which a body must come, and an answer be taken.
func (s *Server) Handler() http.Handler { return s.handler }

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(talkcloud.PathWhere, s.where)
	mux.HandleFunc("/speed.php", s.speed)
	mux.Handle("/socket.io/", s.socket)
	mux.Handle(whipPrefix, s.whip)
	mux.Handle(filesPrefix, s.Files())
	return withTLS(s.anyOrigin(mux, s.api()))
}

// calls are those of the API, by their path in lower case: integrators spell them in many ways.
func (s *Server) calls() map[string]http.HandlerFunc {
	calls := map[string]http.HandlerFunc{}
	for path, call := range map[string]http.HandlerFunc{
		talkcloud.PathGetServerArea:     s.serverArea,
		talkcloud.PathCheckRoom:         s.checkRoom,
		talkcloud.PathGetConfig:         s.getConfig,
		talkcloud.PathGetRoomFile:       s.roomFile,
		talkcloud.PathEquipment:         s.done,
		talkcloud.PathNetworkEquipment:  s.done,
		talkcloud.PathSystemTime:        s.systemTime,
		"/ClientAPI/checkroomtype":      s.checkRoomType, // before checkroom, of some of the vendor's clients
		talkcloud.PathRoomStart:         s.done,
		talkcloud.PathRoomOver:          s.roomOver,
		talkcloud.PathGetUserRecordList: s.keyed(s.userRecordList),
		talkcloud.PathGetRecordList:     s.keyed(s.recordList),
		talkcloud.PathBatchGetRecord:    s.keyed(s.batchGetRecord),
		"/WebAPI/batchgetrecordlist":    s.keyed(s.batchGetRecord),
		talkcloud.PathDeleteRecords:     s.keyed(s.deleteRecords),
		talkcloud.PathRoomCreate:        s.keyed(s.roomCreate),
		talkcloud.PathRoomModify:        s.keyed(s.roomModify),
		talkcloud.PathRoomDelete:        s.keyed(s.roomDelete),
		talkcloud.PathGetRoom:           s.keyed(s.getRoom),
		talkcloud.PathGetRoomList:       s.keyed(s.getRoomList),
		talkcloud.PathGetRoomByTime:     s.keyed(s.getRoomList),
	} {
		calls[strings.ToLower(path)] = call
	}
	return calls
}

// api serves the calls, whose parameters may follow as segments of the path. Who makes them reads whatever is answered as
// JSON, at HTTP 200: a call that is not known is answered so too.
func (s *Server) api() http.HandlerFunc {
	calls := s.calls()
	return func(w http.ResponseWriter, r *http.Request) {
		if call := calls[strings.ToLower(callPath(r.URL.Path))]; call != nil {
			call(w, r)
			return
		}
		reply(w, failure(codeFailure, "this platform has no call "+excerpt(callPath(r.URL.Path))))
	}
}

// callPath is the first two elements of a path: the call, without its parameters.
func callPath(path string) string {
	elements := strings.SplitN(path, "/", 4)
	return strings.Join(elements[:min(3, len(elements))], "/")
}

// isCall reports whether a path is one of the API.
func isCall(path string) bool {
	area, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return strings.EqualFold(area, "ClientAPI") || strings.EqualFold(area, "WebAPI")
}

func excerpt(text string) string {
	const most = 80
	if len(text) > most {
		text = text[:most]
	}
	return strings.ToValidUTF8(text, "")
}

// anyOrigin answers CORS preflights, and lets every origin read every answer. WHIP answers its own preflights, which
// ask for more. Paths that carry parameters go past the mux, which would redirect those with an empty one.
func (s *Server) anyOrigin(mux *http.ServeMux, api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin") // any origin may read
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "Accept-Ranges, Content-Length, Content-Range, ETag, Location")
		switch {
		case strings.HasPrefix(r.URL.Path, whipPrefix):
			mux.ServeHTTP(w, r)
		case r.Method == http.MethodOptions:
			h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Range, If-Range, If-Match, If-None-Match, Tk-Authkey")
			h.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
		case isCall(r.URL.Path):
			api.ServeHTTP(w, r)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// reply writes an answer of the API: HTTP 200 whatever the result, as the platform does.
func reply(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body) // fails only when the client is gone
}

func result(code int64) talkcloud.ResultReply {
	return talkcloud.ResultReply{Result: talkcloud.Number(code)}
}

func failure(code int64, message string) talkcloud.ResultReply {
	return talkcloud.ResultReply{Result: talkcloud.Number(code), Message: talkcloud.Text(message)}
}

// form reads the parameters of a call, or answers that they cannot be read.
func form(w http.ResponseWriter, r *http.Request) (params, bool) {
	p, err := requestParams(r)
	switch {
	case errors.Is(err, errFormTooBig):
		reply(w, failure(codeFailure, "the body is larger than 64 KiB"))
		return nil, false
	case err != nil:
		reply(w, failure(codeFailure, "the body is not complete"))
		return nil, false
	}
	escaped := restoreBlanks(r.URL.EscapedPath())
	if call := callPath(escaped); isCall(r.URL.Path) && len(escaped) > len(call) {
		p.addPath(escaped[len(call):])
	}
	return p, true
}

// keyed serves a call that the enterprise key opens.
func (s *Server) keyed(call func(http.ResponseWriter, *http.Request, params)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, ok := form(w, r)
		if !ok {
			return
		}
		switch key := p["key"]; {
		case key == "":
			reply(w, failure(codeKeyNeeded, "the enterprise key is needed"))
		case !equalSecret(s.cfg.EnterpriseKey, key):
			reply(w, failure(codeKeyWrong, "the enterprise key is another one"))
		default:
			call(w, r, p)
		}
	}
}

// where tells the client its address. nochange says that ours is no other one than it looks.
func (s *Server) where(w http.ResponseWriter, r *http.Request) {
	reply(w, talkcloud.WhereReply{Name: areaName, SelfIP: remoteIP(r), IP: localIP(r), NoChange: talkcloud.Number(1)})
}

// areaName is the name of the only server area, as in the captured session. Clients put it into servername.
const areaName = "cna"

func remoteIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return talkcloud.UnknownSelfIP
	}
	return host
}

func localIP(r *http.Request) string {
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if host, _, err := net.SplitHostPort(addr.String()); err == nil {
			return host
		}
	}
	return talkcloud.UnknownSelfIP
}

// speed answers a client that compares servers.
func (s *Server) speed(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusOK)
}

func (s *Server) serverArea(w http.ResponseWriter, _ *http.Request) {
	reply(w, talkcloud.ServerAreaReply{
		Result: talkcloud.Number(talkcloud.ResultOK),
		Areas:  []talkcloud.ServerArea{{Name: areaName, Chinese: "A", English: "A"}},
	})
}

// getConfig tells where the socket is: at the address that the client has used for this request.
func (s *Server) getConfig(w http.ResponseWriter, r *http.Request) {
	host, port := serverAddress(r)
	reply(w, talkcloud.ConfigReply{
		Result:       talkcloud.Number(talkcloud.ResultOK),
		CourseServer: talkcloud.Text(host), CourseServerPort: talkcloud.Number(port),
	})
}

// serverAddress splits the host and port that a request was sent to. An IPv6 address keeps its brackets, because clients
// put the host before a colon and the port.
func serverAddress(r *http.Request) (host string, port int64) {
	name, digits := r.Host, ""
	if i := strings.LastIndexByte(r.Host, ':'); i > strings.LastIndexByte(r.Host, ']') {
		name, digits = r.Host[:i], r.Host[i+1:]
	}
	if port, err := strconv.ParseUint(digits, 10, 16); err == nil && port > 0 {
		return name, int64(port)
	}
	if r.TLS != nil {
		return name, 443
	}
	return name, 80
}

// done answers a report that nobody reads.
func (s *Server) done(w http.ResponseWriter, r *http.Request) {
	if _, ok := form(w, r); ok {
		reply(w, result(talkcloud.ResultOK))
	}
}

// roomFile answers that the room has no files.
func (s *Server) roomFile(w http.ResponseWriter, r *http.Request) {
	if _, ok := form(w, r); ok {
		reply(w, struct {
			Result talkcloud.Scalar `json:"result"`
			Files  []struct{}       `json:"roomfile"`
		}{talkcloud.Number(talkcloud.ResultOK), []struct{}{}})
	}
}

func (s *Server) systemTime(w http.ResponseWriter, _ *http.Request) {
	reply(w, struct {
		Result talkcloud.Scalar `json:"result"`
		Time   int64            `json:"time"`
	}{talkcloud.Number(talkcloud.ResultOK), s.cfg.Now().Unix()})
}
