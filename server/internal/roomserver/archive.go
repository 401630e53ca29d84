// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/classrec/classrec/server/internal/recorder"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// manifestName is the file that tells what a directory holds. It is written when the class begins, and again, with the
// files, when they are finished.
const manifestName = "class.json"

// maxManifestBytes bounds what is read of one.
const maxManifestBytes = 4 << 20

// manifest describes a recording.
type manifest struct {
	Room       talkcloud.RoomID `json:"room"`
	RecordTS   int64            `json:"recordts"` // Unix seconds: ts of ClassBegin, and the directory's name
	EndTS      int64            `json:"endts,omitempty"`
	UserID     talkcloud.UserID `json:"userid"` // who began it
	RecordType int              `json:"recordtype"`
	Convert    int              `json:"convert"`
	Layout     int              `json:"layout"`
	RecordChat bool             `json:"recordchat"`
	Finished   bool             `json:"finished"`
	Files      []manifestFile   `json:"files,omitempty"`

	Gaps     []talkcloud.RecordGap `json:"gaps,omitempty"`
	Warnings []string              `json:"warnings,omitempty"`
}

// manifestFile is one finished file of a recording.
type manifestFile struct {
	Name       string           `json:"name"`
	UserID     talkcloud.UserID `json:"userid,omitempty"`
	Size       int64            `json:"size"`
	DurationMS int64            `json:"duration_ms"`
	MediaType  string           `json:"mediatype"`

	Nickname      string  `json:"nickname,omitempty"`
	Role          *int    `json:"role,omitempty"`
	StartOffsetMS *int64  `json:"start_offset_ms,omitempty"`
	VideoCodec    string  `json:"video_codec,omitempty"`
	AudioCodec    string  `json:"audio_codec,omitempty"`
	Width         int32   `json:"width,omitempty"`
	Height        int32   `json:"height,omitempty"`
	FrameRate     float64 `json:"frame_rate,omitempty"`
	SampleRate    int32   `json:"sample_rate,omitempty"`
	SHA256        string  `json:"sha256,omitempty"`
}

// listed is the file as the record list has it.
func (f *manifestFile) listed(url string) talkcloud.RecordFile {
	return talkcloud.RecordFile{
		URL: url, UserID: f.UserID, Size: f.Size, DurationMS: f.DurationMS, MediaType: f.MediaType,
		Nickname: f.Nickname, Role: f.Role, StartOffsetMS: f.StartOffsetMS,
		VideoCodec: f.VideoCodec, AudioCodec: f.AudioCodec, Width: f.Width, Height: f.Height,
		FrameRate: f.FrameRate, SampleRate: f.SampleRate, SHA256: f.SHA256,
	}
}

// finishedFile is a file as the recorder has made it.
func finishedFile(f recorder.File) manifestFile {
	m := manifestFile{
		Name: f.Name, UserID: talkcloud.UserID(f.UserID), Size: f.Size, DurationMS: f.Duration.Milliseconds(), MediaType: f.MediaType,
		Nickname: f.Nickname, Role: f.Role, VideoCodec: f.VideoCodec, AudioCodec: f.AudioCodec,
		Width: int32(f.Width), Height: int32(f.Height), //nolint:gosec // pictures are smaller
		FrameRate: f.FrameRate, SampleRate: int32(f.SampleRate), SHA256: f.SHA256, //nolint:gosec // at most 48000
	}
	offset := f.StartOffset.Milliseconds()
	m.StartOffsetMS = &offset
	return m
}

// dir is the recording's directory below the archive's.
func (m manifest) dir() string { return path.Join(roomDir(m.Room), strconv.FormatInt(m.RecordTS, 10)) }

// converts tells whether ffmpeg has work to do when the class is over, which may take long.
func (m manifest) converts() bool {
	return m.Convert == talkcloud.ConvertMP4 || m.RecordType == talkcloud.RecordTypeMP3 || m.RecordType == talkcloud.RecordTypeMix
}

// archive is the recordings on disk, and an index of the finished ones in memory. Its mutex is never held while files are
// written or read.
type archive struct {
	root *os.Root // Dir/recordings
	log  *slog.Logger

	mu      sync.RWMutex
	byRoom  map[talkcloud.RoomID][]*manifest // newest first, as the next
	byUser  map[talkcloud.UserID][]*manifest // begun by the user, or with files of the user
	files   map[string]*manifestFile         // by path below root
	begins  map[string]int64                 // by directory of the room: the last recordts that was given out
	pending []manifest                       // begun, and not finished by an earlier server
	// broken are the recordings that the next class of their room may continue: the latest of those.
	broken map[talkcloud.RoomID]manifest
}

// openArchive reads what is there. What is broken is logged, and left alone.
func openArchive(dir string, log *slog.Logger) (*archive, error) {
	dir = filepath.Join(dir, "recordings")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory for recordings: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open directory of recordings: %w", err)
	}
	a := &archive{
		root: root, log: log,
		byRoom: make(map[talkcloud.RoomID][]*manifest), byUser: make(map[talkcloud.UserID][]*manifest),
		files: make(map[string]*manifestFile), begins: make(map[string]int64),
		broken: make(map[talkcloud.RoomID]manifest),
	}
	if err := a.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("read recordings: %w", err), root.Close())
	}
	return a, nil
}

// latest returns the newest finished recording of a room.
func (a *archive) latest(room talkcloud.RoomID) (manifest, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if of := a.byRoom[room]; len(of) > 0 {
		return *of[0], true
	}
	return manifest{}, false
}

func (a *archive) close() error { return a.root.Close() }

func (a *archive) load() error {
	rooms, err := fs.ReadDir(a.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, room := range rooms {
		if !room.IsDir() {
			continue
		}
		classes, err := fs.ReadDir(a.root.FS(), room.Name())
		if err != nil {
			a.log.Warn("recordings of a room not read", "error", err)
			continue
		}
		for _, class := range classes {
			ts, err := strconv.ParseInt(class.Name(), 10, 64)
			if err != nil || !class.IsDir() {
				continue
			}
			a.begins[room.Name()] = max(a.begins[room.Name()], ts)
			m, err := a.read(room.Name(), ts)
			if errors.Is(err, errNoManifest) {
				a.log.Warn("recording without its manifest is rebuilt", "dir", path.Join(room.Name(), class.Name()), "error", err)
				m, err = a.rebuild(room.Name(), ts)
			}
			switch {
			case err != nil:
				a.log.Warn("recording left out of the list", "dir", path.Join(room.Name(), class.Name()), "error", err)
			case m.Finished:
				a.add(&m)
			default:
				a.pending = append(a.pending, m)
				if m.RecordTS > a.broken[m.Room].RecordTS {
					a.broken[m.Room] = m
				}
			}
		}
	}
	slices.SortStableFunc(a.pending, func(x, y manifest) int { // takePending takes the last: the quick ones first
		return cmp.Or(boolOrder(y.converts(), x.converts()), cmp.Compare(x.RecordTS, y.RecordTS))
	})
	return nil
}

// boolOrder orders false before true.
func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// errNoManifest says that there is no manifest, or not a whole one.
var errNoManifest = errors.New("no manifest")

// rebuild makes a manifest anew from the directory's name and what the recorder knows. Who began the class is lost.
func (a *archive) rebuild(room string, ts int64) (manifest, error) {
	id, err := roomOfDir(room)
	if err != nil {
		return manifest{}, err
	}
	m := manifest{Room: id, RecordTS: ts}
	o, err := recorder.Describe(a.path(m))
	if err != nil {
		return manifest{}, err
	}
	begin := beginningOf(o)
	m.RecordType, m.Convert, m.Layout, m.RecordChat = begin.RecordType, begin.Convert, begin.Layout, begin.RecordChat
	return m, nil
}

// read reads and checks one manifest.
func (a *archive) read(room string, ts int64) (manifest, error) {
	var m manifest
	f, err := a.root.Open(path.Join(room, strconv.FormatInt(ts, 10), manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("%w: %w", errNoManifest, err)
	}
	if err != nil {
		return m, err
	}
	defer func() { _ = f.Close() }() // only read
	raw, err := io.ReadAll(io.LimitReader(f, maxManifestBytes))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, fmt.Errorf("%w: %w", errNoManifest, err)
	}
	if roomDir(m.Room) != room || m.RecordTS != ts {
		return m, errors.New("manifest is of another recording")
	}
	for _, file := range m.Files {
		if !plainName(file.Name) {
			return m, errors.New("manifest names a file that is not in its directory")
		}
	}
	return m, nil
}

func plainName(name string) bool {
	return filepath.IsLocal(name) && !strings.ContainsAny(name, `/\`) && name != "." && name != manifestName
}

// add puts a finished recording into the index. The mutex is held, or the archive not yet shared.
func (a *archive) add(m *manifest) {
	a.byRoom[m.Room] = insert(a.byRoom[m.Room], m)
	users := map[talkcloud.UserID]bool{m.UserID: true}
	for i := range m.Files {
		f := &m.Files[i]
		a.files[path.Join(m.dir(), f.Name)] = f
		if f.UserID != "" {
			users[f.UserID] = true
		}
	}
	for user := range users {
		a.byUser[user] = insert(a.byUser[user], m)
	}
}

// insert keeps a list newest first.
func insert(list []*manifest, m *manifest) []*manifest {
	i, _ := slices.BinarySearchFunc(list, m, newestFirst)
	return slices.Insert(list, i, m)
}

func newestFirst(a, b *manifest) int {
	return cmp.Or(cmp.Compare(b.RecordTS, a.RecordTS), cmp.Compare(a.Room, b.Room))
}

// maxAhead is by how many seconds the ts of a class may be before the clock, where a room has had one in this second.
const maxAhead = 2

// errTooSoon says that the room has used up the seconds of now.
var errTooSoon = errors.New("the room has begun a class in each second of now")

// nextBegin gives out the ts of a new class: the time, but later than every earlier one of the room, unless that was
// begun when the clock was ahead. Whoever gets one that is used gets the next.
func (a *archive) nextBegin(room talkcloud.RoomID, now time.Time) (int64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	dir := roomDir(room)
	ts, last := now.Unix(), a.begins[dir]
	if last <= ts+maxAhead {
		ts = max(ts, last+1)
	}
	for ; ts <= now.Unix()+maxAhead; ts++ {
		if _, err := a.root.Lstat(path.Join(dir, strconv.FormatInt(ts, 10))); errors.Is(err, fs.ErrNotExist) {
			a.begins[dir] = ts
			return ts, nil
		}
	}
	return 0, errTooSoon
}

// create gives a recording its ts, makes its directory with the manifest, and returns its path.
func (a *archive) create(m *manifest, now time.Time) (dir string, err error) {
	if m.RecordTS, err = a.nextBegin(m.Room, now); err != nil {
		return "", err
	}
	return a.makeDir(*m)
}

// makeDir makes the directory of a recording, which must not be there yet, with its manifest.
func (a *archive) makeDir(m manifest) (string, error) {
	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return "", err
	}
	dir := a.path(m)
	err = os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) { // the first recording of its room
		err = os.MkdirAll(filepath.Dir(dir), 0o700)
		if err == nil {
			err = os.Mkdir(dir, 0o700)
		}
	}
	if err != nil {
		return "", err
	}
	// Nobody looks at it before it is whole, so it needs no renaming. It is not synced either, because classes begin
	// on the hour, all at once: what a power cut takes of it is rebuilt.
	if err := os.WriteFile(filepath.Join(dir, manifestName), raw, 0o600); err != nil {
		return "", errors.Join(err, a.remove(m))
	}
	return dir, nil
}

// path is where a recording is.
func (a *archive) path(m manifest) string {
	return filepath.Join(a.root.Name(), filepath.FromSlash(m.dir()))
}

// remove deletes a recording. The room's directory stays.
func (a *archive) remove(m manifest) error { return a.root.RemoveAll(m.dir()) }

// finish writes the manifest of a finished recording, and lists it.
func (a *archive) finish(m manifest) error {
	m.Finished = true
	if err := a.replace(m); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.add(&m)
	return nil
}

// replace writes a manifest in place of the old one, whole or not at all, and so that it survives a power cut.
func (a *archive) replace(m manifest) error {
	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(a.path(m), manifestName), raw)
}

// replaceFile writes a file in place of an old one, whole or not at all, and so that it survives a power cut.
func replaceFile(name string, raw []byte) error {
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// syncDir makes the names in a directory survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// takenNames are the names of files that the next class of a room must not use: of one that an earlier server has not
// finished, and that goes on in it. They are given out once.
func (a *archive) takenNames(room talkcloud.RoomID) []string {
	a.mu.Lock()
	m, ok := a.broken[room]
	delete(a.broken, room)
	a.mu.Unlock()
	if !ok {
		return nil
	}
	names, err := recorder.FileNames(a.path(m))
	if err != nil && !errors.Is(err, recorder.ErrNoManifest) {
		a.log.Warn("names of files of an earlier part of a class not read", "room", room, "error", err)
	}
	return names
}

// takePending gives out a recording that is to be recovered, once; ok is false when there is none left.
func (a *archive) takePending() (m manifest, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.pending) == 0 {
		return manifest{}, false
	}
	m = a.pending[len(a.pending)-1]
	a.pending = a.pending[:len(a.pending)-1]
	return m, true
}

// returnPending gives back one that was not recovered.
func (a *archive) returnPending(m manifest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending = append(a.pending, m)
}

// query narrows a list of recordings; zero fields do not.
type query struct {
	any      bool // all rooms, without room and user
	room     talkcloud.RoomID
	user     talkcloud.UserID
	recordTS int64
	from, to int64 // Unix seconds of the beginning, both included
}

// find returns the finished recordings that match, newest first. They must not be changed.
func (a *archive) find(q query) []*manifest {
	a.mu.RLock()
	defer a.mu.RUnlock()
	list := a.byRoom[q.room]
	switch {
	case q.user != "":
		list = a.byUser[q.user]
	case q.any:
		list = slices.Concat(slices.Collect(maps.Values(a.byRoom))...)
	}
	var found []*manifest
	for _, m := range list {
		if (q.room == "" || m.Room == q.room) && (q.recordTS == 0 || m.RecordTS == q.recordTS) &&
			(q.from == 0 || m.RecordTS >= q.from) && (q.to == 0 || m.RecordTS <= q.to) {
			found = append(found, m)
		}
	}
	return found
}

// byID finds a finished recording by its recordid.
func (a *archive) byID(id string) *manifest {
	room, ts, ok := strings.Cut(id, "/")
	begin, err := strconv.ParseInt(ts, 10, 64)
	known, dirErr := roomOfDir(room)
	if !ok || err != nil || dirErr != nil {
		return nil
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, m := range a.byRoom[known] {
		if m.RecordTS == begin {
			return m
		}
	}
	return nil
}

// forget takes a finished recording out of the lists, and deletes its files. It is not there any more when forget returns
// nil; what the disk does not let go of is not listed either.
func (a *archive) forget(m *manifest) error {
	a.mu.Lock()
	is := func(other *manifest) bool { return other == m }
	a.byRoom[m.Room] = slices.DeleteFunc(a.byRoom[m.Room], is)
	users := map[talkcloud.UserID]bool{m.UserID: true}
	for i := range m.Files {
		delete(a.files, path.Join(m.dir(), m.Files[i].Name))
		users[m.Files[i].UserID] = true
	}
	for user := range users {
		a.byUser[user] = slices.DeleteFunc(a.byUser[user], is)
	}
	a.mu.Unlock()
	return a.remove(*m)
}

// open opens a file of a finished recording, by its path below the archive's directory.
func (a *archive) open(name string) (*os.File, *manifestFile, error) {
	a.mu.RLock()
	file := a.files[name]
	a.mu.RUnlock()
	if file == nil {
		return nil, nil, fs.ErrNotExist
	}
	f, err := a.root.Open(name)
	return f, file, err
}
