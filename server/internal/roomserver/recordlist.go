// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// userRecordList answers getUserRecordlist: the URLs of the files of finished recordings, newest recording first. With
// userid, of all recordings that the user began, all files; of the others, the user's own. Files of every recordtype
// are listed, chat too.
func (s *Server) userRecordList(w http.ResponseWriter, r *http.Request) {
	p, ok := s.listParams(w, r, talkcloud.PathGetUserRecordList)
	if !ok {
		return
	}
	q := query{room: talkcloud.RoomID(p["serial"]), user: talkcloud.UserID(p["userid"])}
	if q.room == "" && q.user == "" {
		reply(w, result(codeField))
		return
	}
	if text := p["recordts"]; text != "" {
		ts, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ts <= 0 {
			reply(w, result(codeField))
			return
		}
		q.recordTS = ts
	}
	base := s.filesBase(r)
	var urls []string
	for _, m := range s.archive.find(q) {
		for i := range m.Files {
			if q.user == "" || m.UserID == q.user || m.Files[i].UserID == q.user {
				urls = append(urls, fileURL(base, m, &m.Files[i]))
			}
		}
	}
	if len(urls) == 0 {
		reply(w, result(codeNoData))
		return
	}
	reply(w, urls)
}

// recordList answers getrecordlist: finished recordings, newest first, also those without files. Whatever recordtype
// the client asks for, it gets all: this platform has no other place for them.
func (s *Server) recordList(w http.ResponseWriter, r *http.Request) {
	p, ok := s.listParams(w, r, talkcloud.PathGetRecordList)
	if !ok {
		return
	}
	q := query{room: talkcloud.RoomID(p["serial"])}
	if q.room == "" {
		q.room = talkcloud.RoomID(p["thirdroomid"]) // rooms have one id here
	}
	if q.room == "" {
		reply(w, result(codeField))
		return
	}
	var err error
	for key, field := range map[string]*int64{"starttime": &q.from, "endtime": &q.to} {
		if text := p[key]; text != "" && err == nil {
			*field, err = strconv.ParseInt(text, 10, 64)
		}
	}
	if err != nil {
		reply(w, result(codeField))
		return
	}
	base, items := s.filesBase(r), []talkcloud.RecordListItem{}
	for _, m := range s.archive.find(q) {
		items = append(items, recordItem(base, m))
	}
	if len(items) == 0 {
		reply(w, result(codeNoData))
		return
	}
	reply(w, talkcloud.RecordListReply{Result: talkcloud.Number(talkcloud.ResultOK), Records: items})
}

// listParams reads the parameters of a list from body, query and path, and checks the key.
func (s *Server) listParams(w http.ResponseWriter, r *http.Request, prefix string) (params, bool) {
	p, ok := form(w, r)
	if !ok {
		return nil, false
	}
	p.addPath(strings.TrimPrefix(r.URL.EscapedPath(), prefix))
	switch key := p["key"]; {
	case key == "":
		reply(w, result(codeKeyNeeded))
	case !equalSecret(s.cfg.EnterpriseKey, key):
		reply(w, result(codeKeyWrong))
	default:
		return p, true
	}
	return nil, false
}

// recordItem describes a recording as the platform does, with its files as an extension.
func recordItem(base string, m *manifest) talkcloud.RecordListItem {
	var size, duration int64
	files := []talkcloud.RecordFile{}
	byType := map[string]string{}
	for i := range m.Files {
		f := &m.Files[i]
		u := fileURL(base, m, f)
		files = append(files, f.listed(u))
		size += f.Size
		duration = max(duration, f.DurationMS)
		mediaType, _, _ := strings.Cut(f.MediaType, ";")
		if byType[mediaType] == "" {
			byType[mediaType] = u
		}
	}
	number := func(n int64) talkcloud.Scalar { return talkcloud.Text(strconv.FormatInt(n, 10)) } // as the platform writes them
	item := talkcloud.RecordListItem{
		RecordID: talkcloud.Text(m.dir()), Serial: talkcloud.Text(string(m.Room)),
		RecordTitle: number(m.RecordTS * 1000), StartTime: number(m.RecordTS),
		DurationMS: talkcloud.Number(duration), Duration: number(duration), Size: number(size),
		RecordPath: talkcloud.Text(m.dir()), Files: files, Gaps: m.Gaps, Warnings: m.Warnings,
	}
	if u, err := url.Parse(base); err == nil {
		item.WebHost = talkcloud.Text(u.Host)
	}
	for _, mediaType := range []string{"video/webm", "video/x-matroska", "video/mp4", "audio/mpeg"} {
		if u := byType[mediaType]; u != "" {
			item.PlayPath, item.HTTPSPlayPath = talkcloud.Text(u), talkcloud.Text(u)
		}
	}
	if u := byType["video/mp4"]; u != "" {
		item.PlayPathMP4, item.HTTPSPlayPathMP4, item.PlaybackMP4 = talkcloud.Text(u), talkcloud.Text(u), talkcloud.Text(u)
	}
	return item
}

// filesBase is the URL of the files, without a slash at its end.
func (s *Server) filesBase(r *http.Request) string {
	if s.cfg.FilesBaseURL != "" {
		return strings.TrimSuffix(s.cfg.FilesBaseURL, "/")
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host + path.Clean(filesPrefix)
}

func fileURL(base string, m *manifest, f *manifestFile) string {
	return base + "/" + m.dir() + "/" + url.PathEscape(f.Name)
}
