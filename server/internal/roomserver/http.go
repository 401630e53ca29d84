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
	mux.HandleFunc(talkcloud.PathGetServerArea, s.serverArea)
	mux.HandleFunc(talkcloud.PathCheckRoom, s.checkRoom)
	mux.HandleFunc(talkcloud.PathGetConfig, s.getConfig)
	mux.HandleFunc(talkcloud.PathGetRoomFile, s.roomFile)
	mux.HandleFunc(talkcloud.PathEquipment, s.done)
	mux.HandleFunc(talkcloud.PathNetworkEquipment, s.done)
	mux.HandleFunc(talkcloud.PathSystemTime, s.systemTime)
	mux.HandleFunc(pathCheckRoomType, s.checkRoomType)
	mux.HandleFunc(talkcloud.PathRoomStart, s.done)
	mux.HandleFunc(talkcloud.PathRoomOver, s.roomOver)
	mux.HandleFunc(talkcloud.PathGetUserRecordList, s.userRecordList)
	mux.HandleFunc(talkcloud.PathGetRecordList, s.recordList)
	mux.Handle("/socket.io/", s.socket)
	mux.Handle(whipPrefix, s.whip)
	mux.Handle(filesPrefix, s.Files())
	return s.anyOrigin(mux)
}

// pathCheckRoomType is called by some of the vendor's clients before checkroom.
const pathCheckRoomType = "/ClientAPI/checkroomtype"

// anyOrigin answers CORS preflights, and lets every origin read every answer. WHIP answers its own preflights, which
// ask for more. Paths that carry parameters go past the mux, which would redirect those with an empty one.
func (s *Server) anyOrigin(mux *http.ServeMux) http.Handler {
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
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Range, If-Range, If-Match, If-None-Match")
			h.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
		case strings.HasPrefix(r.URL.Path, talkcloud.PathGetUserRecordList+"/"):
			s.userRecordList(w, r)
		case strings.HasPrefix(r.URL.Path, talkcloud.PathGetRecordList+"/"):
			s.recordList(w, r)
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

// form reads the parameters of a call, or answers that they cannot be read.
func form(w http.ResponseWriter, r *http.Request) (params, bool) {
	p, err := requestParams(r)
	switch {
	case errors.Is(err, errFormTooBig):
		http.Error(w, "body too big", http.StatusRequestEntityTooLarge)
	case err != nil:
		http.Error(w, "body not complete", http.StatusBadRequest)
	}
	return p, err == nil
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
