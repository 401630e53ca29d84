// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// userRecordList answers getUserRecordlist: the URLs of the media of finished recordings, newest recording first. With
// userid, of all recordings that the user began, all files; of the others, the user's own. Files of every recordtype
// are listed; chat is not, which is no video.
func (s *Server) userRecordList(w http.ResponseWriter, r *http.Request, p params) {
	q := query{room: s.book.resolve(p["serial"]), user: talkcloud.UserID(p["userid"])}
	if q.room == "" && q.user == "" {
		reply(w, failure(codeField, "serial or userid is needed"))
		return
	}
	if text := p["recordts"]; text != "" {
		ts, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ts <= 0 {
			reply(w, failure(codeField, "recordts is not a time in Unix seconds"))
			return
		}
		q.recordTS = ts
	}
	links := s.links(r)
	var urls []string
	for _, m := range s.archive.find(q) {
		for i := range m.Files {
			if f := &m.Files[i]; f.isMedia() && (q.user == "" || m.UserID == q.user || f.UserID == q.user) {
				urls = append(urls, links.of(m, f))
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
func (s *Server) recordList(w http.ResponseWriter, r *http.Request, p params) {
	q := query{room: s.book.resolve(cmp.Or(p["serial"], p["thirdroomid"])), user: talkcloud.UserID(p["userid"])}
	if q.room == "" && q.user == "" {
		reply(w, failure(codeField, "serial, thirdroomid or userid is needed"))
		return
	}
	s.replyRecords(w, r, p, []query{q})
}

// batchWindow is the longest time that batchGetRecord is asked for, in seconds: 31 days.
const batchWindow = 31 * 24 * 3600

// batchGetRecord answers with the recordings of many rooms, or of all.
func (s *Server) batchGetRecord(w http.ResponseWriter, r *http.Request, p params) {
	var queries []query
	rooms := map[talkcloud.RoomID]bool{}
	for _, key := range []string{"serials", "serial", "thirdroomids", "thirdroomid"} {
		for _, id := range p.list(key) {
			if room := s.book.resolve(id); !rooms[room] {
				rooms[room] = true
				queries = append(queries, query{room: room})
			}
		}
	}
	if len(rooms) == 0 {
		queries = []query{{user: talkcloud.UserID(p["userid"]), any: p["userid"] == ""}}
	}
	if from, to := p["starttime"], p["endtime"]; from != "" && to != "" {
		first, errFirst := p.number("starttime")
		last, errLast := p.number("endtime")
		if errFirst == nil && errLast == nil && last-first > batchWindow {
			reply(w, failure(codeField, "starttime and endtime are more than 31 days apart"))
			return
		}
	}
	s.replyRecords(w, r, p, queries)
}

// replyRecords answers with the recordings of some queries, within the window of time, the order and the page asked for.
func (s *Server) replyRecords(w http.ResponseWriter, r *http.Request, p params, queries []query) {
	from, errFrom := p.number("starttime")
	to, errTo := p.number("endtime")
	if err := errors.Join(errFrom, errTo); err != nil {
		reply(w, failure(codeField, err.Error()))
		return
	}
	var found []*manifest
	for _, q := range queries {
		q.from, q.to = talkcloud.Timestamp(from).Unix(), talkcloud.Timestamp(to).Unix()
		found = append(found, s.archive.find(q)...)
	}
	if name := p["roomname"]; name != "" {
		found = slices.DeleteFunc(found, func(m *manifest) bool { return !strings.Contains(s.roomName(m.Room), name) })
	}
	slices.SortStableFunc(found, newestFirst)
	if strings.EqualFold(p["order_starttime"], "asc") {
		slices.Reverse(found)
	}
	page, err := pageOf(p, found)
	switch {
	case err != nil:
		reply(w, failure(codeField, err.Error()))
		return
	case len(found) == 0:
		reply(w, result(codeNoData))
		return
	}
	links, items := s.links(r), []talkcloud.RecordListItem{}
	for _, m := range page {
		items = append(items, s.recordItem(links, m))
	}
	reply(w, talkcloud.RecordListReply{
		Result: talkcloud.Number(talkcloud.ResultOK), Total: talkcloud.Number(int64(len(found))), Records: items,
	})
}

// maxDeletes is how many recordings one deleteRecords deletes.
const maxDeletes = 1000

// deleteRecords deletes recordings for good, with their files. One that is not there is deleted already.
func (s *Server) deleteRecords(w http.ResponseWriter, _ *http.Request, p params) {
	ids := slices.Concat(p.list("recordids"), p.list("recordid"))
	if len(ids) == 0 || len(ids) > maxDeletes {
		reply(w, failure(codeField, "recordids has none, or more than 1000"))
		return
	}
	for _, id := range ids {
		m := s.archive.byID(id)
		if m == nil {
			continue
		}
		if err := s.archive.forget(m); err != nil {
			s.log.Error("recording not deleted whole", "room", m.Room, "recordts", m.RecordTS, "error", err)
			reply(w, failure(codeWriteFailed, "a recording could not be deleted whole"))
			return
		}
		s.log.Info("recording deleted", "room", m.Room, "recordts", m.RecordTS)
	}
	reply(w, result(talkcloud.ResultOK))
}

// isMedia reports whether the file is one to play, and not chat.
func (f *manifestFile) isMedia() bool {
	return strings.HasPrefix(f.MediaType, "video/") || strings.HasPrefix(f.MediaType, "audio/")
}

// recordItem describes a recording as the platform does, with its files as an extension.
func (s *Server) recordItem(links links, m *manifest) talkcloud.RecordListItem {
	var size, duration int64
	files := []talkcloud.RecordFile{}
	for i := range m.Files {
		f := &m.Files[i]
		files = append(files, f.listed(links.of(m, f)))
		size += f.Size
		duration = max(duration, f.DurationMS)
	}
	number := func(n int64) talkcloud.Scalar { return talkcloud.Text(strconv.FormatInt(n, 10)) } // as the platform writes them
	item := talkcloud.RecordListItem{
		RecordID: talkcloud.Text(m.dir()), Serial: talkcloud.Text(string(m.Room)), RoomName: talkcloud.Text(s.roomName(m.Room)),
		RecordTitle: number(m.RecordTS * 1000), StartTime: number(m.RecordTS),
		DurationMS: talkcloud.Number(duration), Duration: number(duration), Size: number(size), Type: talkcloud.Text("0"),
		RecordPath: talkcloud.Text(m.dir()), Files: files, Gaps: m.Gaps, Warnings: m.Warnings,
	}
	if u, err := url.Parse(links.base); err == nil {
		item.WebHost = talkcloud.Text(u.Host)
	}
	if f := m.toPlay(func(f *manifestFile) bool { return f.isMedia() }); f != nil {
		item.PlayPath, item.HTTPSPlayPath = links.both(m, f)
	}
	if f := m.toPlay(func(f *manifestFile) bool { return strings.HasPrefix(f.MediaType, "video/mp4") }); f != nil {
		item.PlayPathMP4, item.HTTPSPlayPathMP4 = links.both(m, f)
		item.PlaybackMP4 = item.PlayPathMP4
	}
	return item
}

// toPlay is the file that shows the class to somebody who plays one: what everybody is in, else the teacher's, else the
// assistant's, else the longest; pictures before sound.
func (m *manifest) toPlay(fits func(*manifestFile) bool) *manifestFile {
	var best *manifestFile
	for i := range m.Files {
		if f := &m.Files[i]; fits(f) && (best == nil || f.betterThan(best)) {
			best = f
		}
	}
	return best
}

func (f *manifestFile) betterThan(o *manifestFile) bool {
	return cmp.Or(cmp.Compare(f.worth(), o.worth()), cmp.Compare(f.DurationMS, o.DurationMS)) > 0
}

func (f *manifestFile) worth() int {
	n := 0
	if strings.HasPrefix(f.MediaType, "video/") {
		n += 10
	}
	switch {
	case f.UserID == "": // the mix, or the one file of the room
		n += 3
	case f.Role != nil && *f.Role == talkcloud.RoleTeacher:
		n += 2
	case f.Role != nil && *f.Role == talkcloud.RoleAssistant:
		n++
	}
	return n
}

// roomName is the name of a room, as those who enter are told.
func (s *Server) roomName(id talkcloud.RoomID) string {
	room, _, _ := s.book.lookup(id)
	return cmp.Or(room.Name, "room "+string(id))
}

// links makes the URLs of files for one answer. What is kept of a file is its path below the archive's directory.
type links struct {
	base string // without a slash at its end
	sign func(file string) url.Values
}

// links are for whoever asks. The service gets plain ones of one address, and signs them where it hands them out itself.
func (s *Server) links(r *http.Request) links {
	l := links{base: strings.TrimSuffix(s.cfg.FilesBaseURL, "/")}
	if !isService(r) {
		l.sign = s.cfg.SignFile
		if s.cfg.FilesBase != nil {
			l.base = strings.TrimSuffix(s.cfg.FilesBase(r), "/")
		}
	}
	if l.base == "" {
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		l.base = scheme + "://" + r.Host + path.Clean(filesPrefix)
	}
	return l
}

// of is the URL of a file.
func (l links) of(m *manifest, f *manifestFile) string {
	u := l.base + "/" + m.dir() + "/" + url.PathEscape(f.Name)
	if l.sign != nil {
		u += "?" + l.sign(m.dir()+"/"+f.Name).Encode()
	}
	return u
}

// both is the URL of a file, and the same for those who play nothing but https: absent where it is not.
func (l links) both(m *manifest, f *manifestFile) (plain, secured talkcloud.Scalar) {
	plain = talkcloud.Text(l.of(m, f))
	if strings.HasPrefix(l.base, "https://") {
		secured = plain
	}
	return plain, secured
}
