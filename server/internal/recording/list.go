// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/admission"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

const (
	defaultPageSize = 50
	maxPageSize     = 1000
)

// Get returns a recording by name: from the store, or else what the platform
// lists under its recordts. Errors: see GetRecording in the API.
func (s *Service) Get(ctx context.Context, name string) (*classrecv1.Recording, error) {
	if err := s.cfg.Admission.Call(admission.Read); err != nil {
		return nil, public(err)
	}
	return s.get(ctx, name)
}

func (s *Service) get(ctx context.Context, name string) (*classrecv1.Recording, error) {
	if err := s.store.Sync(ctx); err != nil {
		return nil, public(err)
	}
	e, err := s.store.ByName(s.cfg.Tenant, name)
	if err == nil {
		return e.Record.GetRecording(), nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, public(err)
	}
	roomID, ts, err := ParseName(name)
	if err != nil || ts <= 0 || name != Name(roomID, ts, 1) {
		return nil, errRecordingNotFound(name) // 0 would ask for every time
	}
	found, err := s.findFiles(ctx, &storev1.Record{Recording: &classrecv1.Recording{Room: roomID}, RecordTs: []int64{ts}})
	if err != nil {
		if kind := talkcloud.KindOf(err); kind == talkcloud.KindNotFound || kind == talkcloud.KindInvalidArgument {
			return nil, errRecordingNotFound(name) // there is no room of that id, or none can be
		}
		return nil, public(err)
	}
	if len(found.files) == 0 {
		return nil, errRecordingNotFound(name)
	}
	r := s.platformRecording(roomID, "", ts)
	r.Gaps, r.Warnings = found.gaps, found.warnings
	for _, f := range found.files {
		addFile(r, f)
	}
	return r, nil
}

// List returns one page of what the store and the platform know. Rooms that are
// not visible are passed over; nil: all are. A platform that is not reached, or
// does not answer in time, leaves it incomplete. Errors: see ListRecordings in the
// API.
func (s *Service) List(ctx context.Context, req *classrecv1.ListRecordingsRequest, visible func(room string) bool) (*classrecv1.ListRecordingsResponse, error) {
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultPageSize
	}
	size = min(size, maxPageSize)
	at, err := s.parsePageToken(req)
	if err != nil {
		return nil, err
	}
	if err := s.cfg.Admission.Call(admission.Read); err != nil {
		return nil, public(err)
	}
	if err := s.store.Sync(ctx); err != nil {
		return nil, public(err)
	}
	var foreign platformPart
	if visible == nil || visible(req.GetRoom()) { // of a list over rooms, nobody knows which room it is
		if at.Alone {
			foreign.missing = errListAlone()
		} else if foreign, err = s.foreignInTime(ctx, req, at.Foreign, size); err != nil {
			return nil, public(err)
		}
	}
	// Two sequences, each in order: merge them from where the last page ended.
	filter := store.Filter{Room: req.GetRoom(), UserID: req.GetUserId(), Visible: visible}
	if t := req.GetRecordTime(); t != nil {
		filter.RecordTime = t.GetSeconds()
	}
	entries, _, more := s.store.List(s.cfg.Tenant, filter, at.Store, size)
	if !more && len(entries) <= size {
		further, err := s.older(ctx, req, foreign, size)
		if err != nil {
			return nil, public(err)
		}
		foreign = further
	}
	return s.page(req, at, entries, more, foreign, size), nil
}

// maxOlderLooks bounds how often one page asks the platform for what is older. Each time the window grows.
const maxOlderLooks = 8

// older looks on, from where part ended, for what only the platform knows, so that a page that has nothing after it says
// so. err is that of ctx.
func (s *Service) older(ctx context.Context, req *classrecv1.ListRecordingsRequest, part platformPart, size int) (platformPart, error) {
	for looks := 0; looks < maxOlderLooks && part.undecided(); looks++ {
		next, err := s.foreignInTime(ctx, req, &foreignKey{Time: part.older}, size)
		if err != nil {
			return platformPart{}, err
		}
		next.odd = cmp.Or(part.odd, next.odd)
		part = next
	}
	return part, nil
}

// maxPageBytes bounds a page: clients of gRPC take 4 MiB by default.
const maxPageBytes = 3 << 20

// page merges what the store and the platform know, from where the last page
// ended.
func (s *Service) page(req *classrecv1.ListRecordingsRequest, at pageToken, entries []*store.Entry, more bool, part platformPart, size int) *classrecv1.ListRecordingsResponse {
	foreign := slices.DeleteFunc(part.found, func(f foreignRecording) bool { return at.Foreign != nil && !at.Foreign.before(f.key) })
	page := &classrecv1.ListRecordingsResponse{}
	next := at
	for bytes := 0; len(page.GetRecordings()) < size && (len(entries) > 0 || len(foreign) > 0); {
		takesForeign := len(foreign) > 0 && (len(entries) == 0 || foreign[0].key.Time > recordTS(entries[0]))
		var r *classrecv1.Recording
		if takesForeign {
			r = foreign[0].Recording
		} else {
			r = entries[0].Record.GetRecording()
		}
		if bytes += proto.Size(r); bytes > maxPageBytes && len(page.GetRecordings()) > 0 {
			break
		}
		page.Recordings = append(page.Recordings, r)
		if takesForeign {
			next.Foreign = &foreign[0].key
			foreign = foreign[1:]
			continue
		}
		next.Store = store.CursorOf(entries[0])
		entries = entries[1:]
	}
	if why := cmp.Or(part.missing, part.odd); why != nil {
		next.Alone, page.Incomplete = part.missing != nil, s.cfg.Status(public(why))
	}
	left := len(entries) > 0 || len(foreign) > 0 || more
	if !left && part.older > 0 {
		next.Foreign, left = &foreignKey{Time: part.older}, true
	}
	if left {
		next.Filter = s.filterHash(req)
		page.NextPageToken = next.String()
	}
	return page
}

// platformPart is what the platform lists and the store does not know, in order.
type platformPart struct {
	found   []foreignRecording
	older   int64 // there may be more that began before this time, in Unix seconds; 0: not
	missing error // why the platform says nothing
	odd     error // what of its answer is not understood
}

// undecided reports whether nothing was found so far, and there may be something.
func (p platformPart) undecided() bool {
	return p.older > 0 && len(p.found) == 0 && p.missing == nil
}

// foreignInTime is foreign within [Config.ListTimeout]. Whatever the platform
// does leaves the list incomplete, and never makes it fail; err is that of ctx.
func (s *Service) foreignInTime(ctx context.Context, req *classrecv1.ListRecordingsRequest, after *foreignKey, size int) (part platformPart, err error) {
	patience := s.cfg.ListTimeout
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)*3/4)
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	part = s.foreign(bounded, req, after, size)
	switch {
	case ctx.Err() != nil:
		return platformPart{}, ctx.Err()
	case bounded.Err() != nil:
		return platformPart{missing: errListTimeout(cmp.Or(part.missing, part.odd))}, nil
	}
	return part, nil
}

func recordTS(e *store.Entry) int64 { return e.Record.GetRecording().GetRecordTime().GetSeconds() }

// foreignKey orders what only the platform knows: newest first, then by URL.
type foreignKey struct {
	Time int64  `json:"t"` // Unix seconds; 0 where the list does not say
	URL  string `json:"u"` // a hash: a page token must not carry the URL
}

// before reports whether k comes before o in a list.
func (k foreignKey) before(o foreignKey) bool {
	return cmp.Or(cmp.Compare(o.Time, k.Time), cmp.Compare(k.URL, o.URL)) < 0
}

type foreignRecording struct {
	*classrecv1.Recording
	key foreignKey
}

// foreign asks the platform. Where getrecordlist is asked for a room,
// getUserRecordlist is only asked for one time or one user: it knows no windows,
// and would tell all that ever was.
func (s *Service) foreign(ctx context.Context, req *classrecv1.ListRecordingsRequest, after *foreignKey, size int) (part platformPart) {
	l := lister{s: s, req: req}
	rich := s.cfg.RichRecordList && req.GetRoom() != ""
	plain := !rich || req.GetRecordTime() != nil || req.GetUserId() != ""
	var items []talkcloud.RecordListItem
	var itemsErr, urlsErr error
	var urls []string
	if rich {
		to := s.now().Add(time.Hour)
		if after != nil && !plain {
			to = time.Unix(after.Time, 0)
		}
		items, part.older, itemsErr = l.items(ctx, to, size, plain)
	}
	if plain {
		urls, urlsErr = s.platform.UserRecordList(ctx, talkcloud.RecordQuery{
			UserID: talkcloud.UserID(req.GetUserId()), Room: talkcloud.RoomID(req.GetRoom()), RecordTS: req.GetRecordTime().GetSeconds(),
		})
		if talkcloud.KindOf(urlsErr) == talkcloud.KindNotFound {
			urlsErr = nil
		}
	}
	if (itemsErr != nil || !rich) && (urlsErr != nil || !plain) && len(items)+len(urls) == 0 {
		part.missing = cmp.Or(itemsErr, urlsErr)
		return part
	}
	part.odd = cmp.Or(itemsErr, urlsErr)
	part.found = append(l.ofItems(ctx, items, urls), l.ofURLs(ctx, urls)...)
	slices.SortFunc(part.found, func(a, b foreignRecording) int {
		if a.key.before(b.key) {
			return -1
		}
		return 1
	})
	return part
}

// lister makes one list.
type lister struct {
	s     *Service
	req   *classrecv1.ListRecordingsRequest
	known fileIndex // what the store or the list has already
	taken int       // recordings that were given files which came late
}

// maxTakenIn is how many recordings one list gives files that came late. Others
// get them with the next one.
const maxTakenIn = 20

// items asks getrecordlist, from newest to oldest: for the time that is asked
// for, or for times that grow until there are more than enough. older is where it
// stopped.
func (l *lister) items(ctx context.Context, to time.Time, enough int, all bool) (items []talkcloud.RecordListItem, older int64, odd error) {
	if at := l.req.GetRecordTime(); at != nil {
		items, odd = l.s.items(ctx, l.req.GetRoom(), at.AsTime(), at.AsTime())
		return items, 0, odd
	}
	oldest := time.Unix(1e9, 0) // before the platform was
	if !to.After(oldest) {
		return nil, 0, nil
	}
	for span := batchWindow; ; span *= 32 {
		from := to.Add(-min(span, to.Sub(oldest)))
		more, err := l.s.items(ctx, l.req.GetRoom(), from, to)
		items, odd = append(items, more...), cmp.Or(odd, err)
		windows := !slices.ContainsFunc(more, func(item talkcloud.RecordListItem) bool {
			ts, ok := startTime(item)
			return ok && (ts < from.Unix() || ts > to.Unix())
		})
		switch {
		case !windows, err != nil && len(more) == 0, !from.After(oldest), ctx.Err() != nil:
			return items, 0, odd
		case len(items) > enough && !all:
			return items, from.Unix(), odd
		}
		to = from.Add(-time.Second)
	}
}

// ofItems returns the unknown recordings of getrecordlist: those of one second
// are one. Files of recordings that the store knows are theirs.
func (l *lister) ofItems(ctx context.Context, items []talkcloud.RecordListItem, urls []string) (found []foreignRecording) {
	known := l.s.partsIn(l.req.GetRoom())
	byTime := map[int64]int{}
	for _, item := range items {
		ts, ok := startTime(item)
		if want := l.req.GetRecordTime(); !ok || (want != nil && want.GetSeconds() != ts) {
			continue
		}
		files := itemFiles(item)
		l.known.add(once(files))
		if entries := l.s.ofTime(known, l.req.GetRoom(), ts); len(entries) > 0 {
			for _, e := range entries {
				l.takeIn(ctx, e, ts, items)
			}
			continue
		}
		user := l.req.GetUserId()
		if user != "" && !slices.ContainsFunc(files, func(f *classrecv1.RecordingFile) bool {
			return f.GetUserId() == user || slices.Contains(urls, f.GetUrl())
		}) {
			continue
		}
		i, has := byTime[ts]
		if !has {
			i = len(found)
			r := l.s.platformRecording(l.req.GetRoom(), "", ts)
			found = append(found, foreignRecording{Recording: r})
		}
		r := found[i].Recording
		for _, f := range without(once(files), r.GetFiles()) {
			addFile(r, f)
		}
		if len(r.GetFiles()) == 0 {
			found = found[:i]
			continue
		}
		byTime[ts] = i
		r.Gaps, r.Warnings = append(r.Gaps, itemGaps(item)...), append(r.Warnings, itemWarnings(item)...)
		found[i].key = keyOf(r)
	}
	return found
}

// takeIn gives a recording that is over what is listed of one of its parts.
func (l *lister) takeIn(ctx context.Context, e *store.Entry, ts int64, items []talkcloud.RecordListItem) {
	if !isFinal(stateOf(e)) || l.taken >= maxTakenIn {
		return
	}
	var files []*classrecv1.RecordingFile
	for _, item := range l.s.itemsOf(e.Record, ts, items) {
		if item.Files != nil {
			return // it was finished when it was first listed
		}
		files = append(files, itemFiles(item)...)
	}
	l.takeInFiles(ctx, e, files)
}

func (l *lister) takeInFiles(ctx context.Context, e *store.Entry, files []*classrecv1.RecordingFile) {
	files = without(once(files), l.s.siblingFiles(e.Record))
	known := e.Record.GetRecording().GetFiles()
	all, fresh := merged(known, files)
	if sameURLs(all, known) || len(fresh) == 0 && l.s.now().Sub(e.Record.GetRecording().GetUpdateTime().AsTime()) < refreshAfter {
		return
	}
	l.taken++
	l.s.takeIn(ctx, e, findings{files: files})
}

// maxKnownParts is how many of a room's newest recordings are looked through for
// those that have several parts.
const maxKnownParts = 1000

// partsIn returns the recordings of a room by the times of their later parts.
func (s *Service) partsIn(roomID string) map[int64][]*store.Entry {
	parts := map[int64][]*store.Entry{}
	newest, _, _ := s.store.List(s.cfg.Tenant, store.Filter{Room: roomID}, store.Cursor{}, maxKnownParts)
	for _, e := range newest {
		for i, ts := range e.Record.GetRecordTs() {
			if i > 0 {
				parts[ts] = append(parts[ts], e)
			}
		}
	}
	return parts
}

// ofTime returns the recordings of a room that have a part which began then.
func (s *Service) ofTime(parts map[int64][]*store.Entry, roomID string, ts int64) []*store.Entry {
	first, _, _ := s.store.List(s.cfg.Tenant, store.Filter{Room: roomID, RecordTime: ts}, store.Cursor{}, maxSameSecond)
	return append(first, parts[ts]...)
}

// ofURLs makes recordings of URLs of which the platform says nothing more. Those
// of one room and time are one recording; of others nobody knows.
func (l *lister) ofURLs(ctx context.Context, urls []string) (found []foreignRecording) {
	s, req := l.s, l.req
	urls = slices.DeleteFunc(slices.Clone(urls), func(u string) bool { return s.store.KnowsURL(s.cfg.Tenant, u) })
	if urls = l.known.unknown(urls); len(urls) == 0 {
		return nil
	}
	if at := req.GetRecordTime(); at != nil && req.GetRoom() != "" {
		if entries := s.ofTime(s.partsIn(req.GetRoom()), req.GetRoom(), at.GetSeconds()); len(entries) > 0 {
			l.given(ctx, entries, urls)
			return nil
		}
		return []foreignRecording{foreignOf(s.platformRecording(req.GetRoom(), req.GetUserId(), at.GetSeconds()), urls...)}
	}
	l.knowNewest(ctx)
	for _, u := range l.known.unknown(urls) {
		found = append(found, foreignOf(s.platformRecording(req.GetRoom(), req.GetUserId(), req.GetRecordTime().GetSeconds()), u))
	}
	return found
}

func foreignOf(r *classrecv1.Recording, urls ...string) foreignRecording {
	for _, u := range urls {
		addFile(r, &classrecv1.RecordingFile{Url: u})
	}
	return foreignRecording{Recording: r, key: keyOf(r)}
}

// given gives URLs of one time to the recordings of that time: what is not known
// of any goes to the first that is over. While one of them is looked after, it
// will have them.
func (l *lister) given(ctx context.Context, entries []*store.Entry, urls []string) {
	for _, e := range entries {
		if !isFinal(stateOf(e)) {
			return
		}
	}
	files := make([]*classrecv1.RecordingFile, len(urls))
	for i, u := range urls {
		files[i] = &classrecv1.RecordingFile{Url: u}
	}
	l.takeInFiles(ctx, entries[0], files)
}

// refreshAfter is for how long new URLs of files that are known are not stored
// because of a list: a platform that signs them anew for each answer would have
// us write all the time.
const refreshAfter = 10 * time.Minute

const (
	// maxExpected is how many of the newest recordings are looked at for files that
	// are just being listed, or come late.
	maxExpected = 20
	// lateTime is for how long after its end files of a recording are taken for late.
	lateTime = 2 * time.Hour
)

// knowNewest learns the files of the recordings of a list that the store knows,
// and asks the platform for those of the newest: the store will have them soon.
func (l *lister) knowNewest(ctx context.Context) {
	s, filter := l.s, store.Filter{Room: l.req.GetRoom()}
	if filter.Room == "" {
		filter.UserID = l.req.GetUserId()
	}
	newest, _, _ := s.store.List(s.cfg.Tenant, filter, store.Cursor{}, maxKnownParts)
	for i, e := range newest {
		r := e.Record.GetRecording()
		recent := r.GetStopTime() == nil || s.now().Sub(r.GetUpdateTime().AsTime()) < lateTime
		if i >= maxExpected || !recent {
			l.known.add(r.GetFiles())
			continue
		}
		look := search{s: s, rec: e.Record}
		var found findings
		if look.findURLs(ctx, &found) != nil {
			found = findings{}
		}
		l.known.add(r.GetFiles(), found.files...)
		if isFinal(stateOf(e)) && l.taken < maxTakenIn {
			l.takeInFiles(ctx, e, found.files)
		}
	}
}

// platformRecording is one that only the platform knows. A recordts of 0 is
// not known, and leaves it without a name; so does one whose name the store has
// given to a recording that knows nothing of these files.
func (s *Service) platformRecording(roomID, userID string, ts int64) *classrecv1.Recording {
	r := &classrecv1.Recording{
		Room: roomID, UserId: userID,
		State:  available,
		Origin: classrecv1.RecordingOrigin_RECORDING_ORIGIN_PLATFORM,
	}
	if ts > 0 {
		r.RecordTime = &timestamppb.Timestamp{Seconds: ts}
		if roomID != "" {
			r.Name = Name(roomID, ts, 1)
		}
		if _, err := s.store.ByName(s.cfg.Tenant, r.GetName()); err == nil {
			r.Name = ""
		}
	}
	return r
}

func addFile(r *classrecv1.Recording, f *classrecv1.RecordingFile) {
	r.Urls = append(r.Urls, f.GetUrl())
	r.Files = append(r.Files, f)
}

func keyOf(r *classrecv1.Recording) foreignKey {
	path, _ := pathOf(r.GetUrls()[0]) // whatever else the platform writes around it next time
	if path == "" || len(r.GetUrls()) == 1 && r.GetRecordTime() == nil {
		path = r.GetUrls()[0] // it may be one of many
	}
	sum := sha256.Sum256([]byte(path))
	return foreignKey{Time: r.GetRecordTime().GetSeconds(), URL: base64.RawURLEncoding.EncodeToString(sum[:12])}
}

// pageToken is where a page ended in each of the two sequences. It holds for
// one filter.
type pageToken struct {
	Store   store.Cursor `json:"s"`
	Foreign *foreignKey  `json:"f,omitempty"`
	Alone   bool         `json:"a,omitempty"` // the platform could not be asked: what it lists would come out of order
	Filter  []byte       `json:"q"`
}

func (t pageToken) String() string {
	raw, err := json.Marshal(t)
	if err != nil {
		return "" // it holds nothing that JSON cannot
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

func (s *Service) parsePageToken(req *classrecv1.ListRecordingsRequest) (pageToken, error) {
	var t pageToken
	if req.GetPageToken() == "" {
		return t, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(req.GetPageToken())
	if err != nil {
		return t, errPageToken()
	}
	if err := json.Unmarshal(raw, &t); err != nil || !slices.Equal(t.Filter, s.filterHash(req)) {
		return t, errPageToken()
	}
	return t, nil
}

// filterHash identifies what a page token belongs to: a list of this tenant.
func (s *Service) filterHash(req *classrecv1.ListRecordingsRequest) []byte {
	filter := &classrecv1.ListRecordingsRequest{Room: req.GetRoom(), UserId: req.GetUserId(), RecordTime: req.GetRecordTime()}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(filter)
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(append([]byte(s.cfg.Tenant+"\x00"), raw...))
	return sum[:8]
}
