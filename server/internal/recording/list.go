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
	var foreign []foreignRecording
	var missing error                             // why the platform's part is
	if visible == nil || visible(req.GetRoom()) { // of a list over rooms, nobody knows which room it is
		if at.Alone {
			missing = errListAlone()
		} else if foreign, missing, err = s.foreignInTime(ctx, req); err != nil {
			return nil, public(err)
		}
	}
	// Two sequences, each in order: merge them from where the last page ended.
	filter := store.Filter{Room: req.GetRoom(), UserID: req.GetUserId(), Visible: visible}
	if t := req.GetRecordTime(); t != nil {
		filter.RecordTime = t.GetSeconds()
	}
	entries, _, more := s.store.List(s.cfg.Tenant, filter, at.Store, size)
	foreign = slices.DeleteFunc(foreign, func(f foreignRecording) bool { return at.Foreign != nil && !at.Foreign.before(f.key) })

	page := &classrecv1.ListRecordingsResponse{}
	next := at
	for len(page.GetRecordings()) < size && (len(entries) > 0 || len(foreign) > 0) {
		if len(foreign) > 0 && (len(entries) == 0 || foreign[0].key.Time > recordTS(entries[0])) {
			page.Recordings = append(page.Recordings, foreign[0].Recording)
			next.Foreign = &foreign[0].key
			foreign = foreign[1:]
			continue
		}
		page.Recordings = append(page.Recordings, entries[0].Record.GetRecording())
		next.Store = store.CursorOf(entries[0])
		entries = entries[1:]
	}
	if missing != nil {
		next.Alone, page.Incomplete = true, s.cfg.Status(missing)
	}
	if len(entries) > 0 || len(foreign) > 0 || more {
		next.Filter = s.filterHash(req)
		page.NextPageToken = next.String()
	}
	return page, nil
}

// foreignInTime is foreign within [Config.ListTimeout]. missing is why the
// platform could not be asked, where the rest of the list does not depend on that.
func (s *Service) foreignInTime(ctx context.Context, req *classrecv1.ListRecordingsRequest) (found []foreignRecording, missing, err error) {
	patience := s.cfg.ListTimeout
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)*3/4)
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err = s.foreign(bounded, req)
	switch {
	case err == nil || ctx.Err() != nil:
		return found, nil, err
	case bounded.Err() != nil:
		return nil, errListTimeout(err), nil
	case talkcloud.KindOf(err) == talkcloud.KindUnavailable, talkcloud.KindOf(err) == talkcloud.KindDeadline:
		return nil, public(err), nil
	}
	return nil, nil, err
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

// foreign returns what the platform lists and the store does not know, in
// order.
func (s *Service) foreign(ctx context.Context, req *classrecv1.ListRecordingsRequest) ([]foreignRecording, error) {
	query := talkcloud.RecordQuery{
		UserID: talkcloud.UserID(req.GetUserId()), Room: talkcloud.RoomID(req.GetRoom()),
		RecordTS: req.GetRecordTime().GetSeconds(),
	}
	urls, err := s.platform.UserRecordList(ctx, query)
	if err != nil && talkcloud.KindOf(err) != talkcloud.KindNotFound {
		return nil, err
	}
	var found []foreignRecording
	listed := map[string]bool{}
	if s.cfg.RichRecordList && req.GetRoom() != "" {
		if found, err = s.foreignItems(ctx, req, urls, listed); err != nil {
			return nil, err
		}
	}
	taken := func(u string) bool { return listed[u] || s.store.KnowsURL(s.cfg.Tenant, u) }
	if urls = slices.DeleteFunc(urls, taken); len(urls) > 0 {
		if err := s.expect(ctx, req, listed); err != nil {
			return nil, err
		}
		urls = slices.DeleteFunc(urls, taken)
	}
	found = append(found, s.foreignURLs(req, urls)...)
	slices.SortFunc(found, func(a, b foreignRecording) int {
		if a.key.before(b.key) {
			return -1
		}
		return 1
	})
	return found, nil
}

// foreignURLs makes recordings of URLs of which the platform says nothing more.
// Those of one room and time are one recording; of others nobody knows.
func (s *Service) foreignURLs(req *classrecv1.ListRecordingsRequest, urls []string) []foreignRecording {
	var found []foreignRecording
	together := req.GetRoom() != "" && req.GetRecordTime() != nil
	for i, u := range urls {
		if i == 0 || !together {
			r := s.platformRecording(req.GetRoom(), req.GetUserId(), req.GetRecordTime().GetSeconds())
			found = append(found, foreignRecording{Recording: r})
		}
		addFile(found[len(found)-1].Recording, &classrecv1.RecordingFile{Url: u})
	}
	for i := range found {
		found[i].key = keyOf(found[i].Recording)
	}
	return found
}

// maxExpected is how many of the newest recordings are looked at for those
// whose files are just being listed.
const maxExpected = 20

// unfinished returns the newest recordings of a list that are not final.
func (s *Service) unfinished(req *classrecv1.ListRecordingsRequest) []*store.Entry {
	filter := store.Filter{Room: req.GetRoom()}
	if filter.Room == "" {
		filter.UserID = req.GetUserId()
	}
	newest, _, _ := s.store.List(s.cfg.Tenant, filter, store.Cursor{}, maxExpected)
	return slices.DeleteFunc(newest, func(e *store.Entry) bool { return isFinal(stateOf(e)) })
}

// expect marks the URLs of recordings that are not final: the store will know
// them soon.
func (s *Service) expect(ctx context.Context, req *classrecv1.ListRecordingsRequest, listed map[string]bool) error {
	for _, e := range s.unfinished(req) {
		files, _, err := s.findURLs(ctx, e.Record)
		if err != nil {
			return err
		}
		for _, f := range files {
			listed[f.GetUrl()] = true
		}
	}
	return nil
}

// foreignItems returns the unknown recordings of getrecordlist, and marks the
// URLs that they have.
func (s *Service) foreignItems(ctx context.Context, req *classrecv1.ListRecordingsRequest, urls []string, listed map[string]bool) ([]foreignRecording, error) {
	items, err := s.items(ctx, req.GetRoom())
	if err != nil {
		return nil, err
	}
	expected := map[int64]bool{} // the store will know their files soon
	for _, e := range s.unfinished(req) {
		for _, ts := range e.Record.GetRecordTs() {
			expected[ts] = true
		}
	}
	var found []foreignRecording
	for _, item := range items {
		ts, ok := startTime(item)
		if want := req.GetRecordTime(); !ok || (want != nil && want.GetSeconds() != ts) {
			continue
		}
		if expected[ts] {
			for _, f := range itemFiles(item) {
				listed[f.GetUrl()] = true
			}
			continue
		}
		r := s.platformRecording(req.GetRoom(), "", ts)
		r.Gaps, r.Warnings = itemGaps(item), itemWarnings(item)
		mine := req.GetUserId() == ""
		for _, f := range itemFiles(item) {
			if s.store.KnowsURL(s.cfg.Tenant, f.GetUrl()) {
				continue
			}
			mine = mine || f.GetUserId() == req.GetUserId() || slices.Contains(urls, f.GetUrl())
			addFile(r, f)
		}
		if !mine || len(r.GetUrls()) == 0 {
			continue
		}
		for _, u := range r.GetUrls() {
			listed[u] = true
		}
		found = append(found, foreignRecording{r, keyOf(r)})
	}
	return found, nil
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
	sum := sha256.Sum256([]byte(r.GetUrls()[0]))
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
