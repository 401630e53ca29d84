// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// bookName is the file in Config.Dir of the rooms that integrators have made. It has passwords.
const bookName = "rooms.json"

// maxMadeRooms bounds the rooms of the book, those included that were deleted in the last deletedFor.
const (
	maxMadeRooms = 100_000
	deletedFor   = 30 * 24 * time.Hour
)

// madeRoom is a room that an integrator has made (WebAPI/roomcreate).
type madeRoom struct {
	Serial           talkcloud.RoomID  `json:"serial"`
	ThirdRoomID      string            `json:"thirdroomid,omitempty"` // the integrator's own name of it
	Name             string            `json:"roomname"`
	Type             string            `json:"roomtype,omitempty"` // 0 one to one, 3 one to many
	Start            int64             `json:"starttime,omitempty"`
	End              int64             `json:"endtime,omitempty"`
	Passwords        map[int]string    `json:"passwords"` // by role
	PasswordRequired bool              `json:"passwordrequired"`
	Settings         map[string]string `json:"settings,omitempty"` // videotype and the like, given back as they came
	Deleted          int64             `json:"deleted,omitempty"`  // Unix seconds: it was, and is no open room either
}

// config is what of it concerns who may enter.
func (m *madeRoom) config() RoomConfig {
	c := RoomConfig{Name: m.Name, Passwords: map[int]talkcloud.Secret{}, StudentsOpen: !m.PasswordRequired}
	for role, password := range m.Passwords {
		if role != talkcloud.RoleStudent || m.PasswordRequired {
			c.Passwords[role] = talkcloud.Secret(password)
		}
	}
	return c
}

// roomBook is the rooms that are known: those of the configuration, and those that integrators have made, which are kept.
type roomBook struct {
	path  string
	fixed map[talkcloud.RoomID]RoomConfig

	writing sync.Mutex // one change at a time, taken before mu

	mu      sync.RWMutex
	made    map[talkcloud.RoomID]*madeRoom // replaced, never changed
	aliases map[string]talkcloud.RoomID    // by thirdroomid
}

func openRoomBook(dir string, fixed map[talkcloud.RoomID]RoomConfig) (*roomBook, error) {
	b := &roomBook{
		path: filepath.Join(dir, bookName), fixed: fixed,
		made: make(map[talkcloud.RoomID]*madeRoom), aliases: make(map[string]talkcloud.RoomID),
	}
	raw, err := os.ReadFile(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read rooms: %w", err)
	}
	var rooms []*madeRoom
	if err := json.Unmarshal(raw, &rooms); err != nil {
		return nil, fmt.Errorf("read rooms: %s is not what was written there", bookName) // the cause would show passwords
	}
	for _, m := range rooms {
		if m != nil && checkID(string(m.Serial)) == nil {
			b.put(m)
		}
	}
	return b, nil
}

// put adds a room, or replaces it. The mutex is held, or the book not yet shared.
func (b *roomBook) put(m *madeRoom) {
	if old := b.made[m.Serial]; old != nil && b.aliases[old.ThirdRoomID] == m.Serial {
		delete(b.aliases, old.ThirdRoomID)
	}
	b.made[m.Serial] = m
	if m.ThirdRoomID != "" && m.Deleted == 0 {
		b.aliases[m.ThirdRoomID] = m.Serial
	}
}

// lookup returns what is known of a room; gone says that it was deleted.
func (b *roomBook) lookup(id talkcloud.RoomID) (c RoomConfig, known, gone bool) {
	if c, known = b.fixed[id]; known {
		return c, true, false
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	m := b.made[id]
	if m == nil {
		return RoomConfig{}, false, false
	}
	return m.config(), m.Deleted == 0, m.Deleted != 0
}

// resolve returns the room's serial of an id that may be the integrator's own name of it.
func (b *roomBook) resolve(id string) talkcloud.RoomID {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if serial, ok := b.aliases[id]; ok {
		return serial
	}
	return talkcloud.RoomID(id)
}

// get returns a room that was made, and not deleted.
func (b *roomBook) get(id talkcloud.RoomID) *madeRoom {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if m := b.made[id]; m != nil && m.Deleted == 0 {
		return m
	}
	return nil
}

// all lists the rooms that were made, those that begin first first.
func (b *roomBook) all() []*madeRoom {
	b.mu.RLock()
	defer b.mu.RUnlock()
	rooms := slices.Collect(maps.Values(b.made))
	rooms = slices.DeleteFunc(rooms, func(m *madeRoom) bool { return m.Deleted != 0 })
	slices.SortFunc(rooms, func(x, y *madeRoom) int {
		return cmp.Or(cmp.Compare(x.Start, y.Start), cmp.Compare(x.Serial, y.Serial))
	})
	return rooms
}

var (
	errBookFull  = errors.New("the book of rooms is full")
	errNameTaken = errors.New("thirdroomid is that of another room")
)

// change stores a room as it shall be. It is on the disk when change returns nil.
func (b *roomBook) change(m *madeRoom, now time.Time) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.mu.RLock()
	rooms := maps.Clone(b.made)
	other, taken := b.aliases[m.ThirdRoomID]
	b.mu.RUnlock()
	if taken && m.ThirdRoomID != "" && other != m.Serial {
		return errNameTaken
	}
	maps.DeleteFunc(rooms, func(_ talkcloud.RoomID, old *madeRoom) bool {
		return old.Deleted != 0 && now.Sub(time.Unix(old.Deleted, 0)) > deletedFor
	})
	if _, known := rooms[m.Serial]; !known && len(rooms) >= maxMadeRooms {
		return errBookFull
	}
	rooms[m.Serial] = m
	if err := b.write(rooms); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(m)
	return nil
}

// write replaces the file, whole or not at all, so that it survives a power cut.
func (b *roomBook) write(rooms map[talkcloud.RoomID]*madeRoom) error {
	list := make([]*madeRoom, 0, len(rooms))
	for _, id := range slices.Sorted(maps.Keys(rooms)) {
		list = append(list, rooms[id])
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return replaceFile(b.path, raw)
}

// newSerial makes a room number that no room has: ten digits, as the vendor's are.
func (b *roomBook) newSerial() talkcloud.RoomID {
	for {
		id := talkcloud.RoomID(strconv.FormatInt(1_000_000_000+random(9_000_000_000), 10))
		b.mu.RLock()
		_, made := b.made[id]
		b.mu.RUnlock()
		if _, fixed := b.fixed[id]; !made && !fixed {
			return id
		}
	}
}

// newPassword makes one of six digits, as people are given them.
func newPassword() string { return strconv.FormatInt(100_000+random(900_000), 10) }

func random(below int64) int64 {
	var raw [8]byte
	_, _ = rand.Read(raw[:])                                      // never fails
	return int64(binary.BigEndian.Uint64(raw[:]) % uint64(below)) //nolint:gosec // below is positive, and so is the rest
}
