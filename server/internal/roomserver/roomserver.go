// SPDX-License-Identifier: Apache-2.0

// Package roomserver is the embedded platform: the other end of the TalkCloud wire. The vendor's own clients join it,
// chat, publish and record without knowing the difference, and so does package talkcloud.
//
// It serves the HTTP calls (where.html, ClientAPI, WebAPI), the signaling socket, WHIP (RFC 9725) and the recorded
// files. Media goes through package ingest, files are made by package recorder; this package says who is in which room,
// who is told what, and when there is a recording.
//
// Guarantees. Everybody in a room sees its events in the same order, and the answer to joinRoom is a snapshot that
// exactly precedes the events after it. A peer that does not read, or sends garbage, loses its own connection and slows
// nobody. A recording is in the record lists only once all its files can be fetched, and the lists survive restarts;
// one broken recording never breaks them. While the disk is full, classes begin
// no more, those that are on have gaps, and those that end are listed once it has room again; a server that is closed
// before does that at its next start. After a power cut, too, every finished recording is listed, and what there is of
// the others on the disk is recovered, even without its class.json. All bounds are in [Config].
//
// State. A room's state is guarded by one mutex, held for short sections only: they queue what is to be sent, and do no
// I/O. What takes time is done outside: answering an offer, making a recording's directory, finishing its files.
//
// What the wire leaves open is decided so:
//
//   - Identity is what joinRoom says, as on the wire there is no token. A password guards checkroom, and thereby the
//     role; the socket cannot check it. The role that somebody enters with is kept: it is changed, and others are evicted,
//     by teachers and assistants alone, and nobody takes the place of a user who has entered with a higher one. All else
//     is for everybody: to publish, delete, set properties, and to begin and end a class.
//   - A user id that joins again takes the place of the earlier connection, which is told participantEvicted with
//     reason 400. The room does not become empty by that, and messages associated with the user stay.
//   - A message to a user id goes to that user alone, saved or not; one to __none is told to nobody, but saved. One to
//     __group:A goes to those whose properties name the group, or to all in a room where nobody's do; one to a group of
//     people that is not known, to all.
//   - A delete of an id that is not there is sent on, because it may be that of an unsaved message, which nobody keeps
//     a record of. For ClassBegin it is echoed to its sender alone: a class ends once.
//   - Messages that go with another one, with a user or with time are deleted by a delMsg of their own. Deleting
//     __AllAll tells the room of nothing, but that the class is over if there was one.
//   - A message is a class if its name or its id is ClassBegin. It is recorded whatever else it says, and kept whatever
//     do_not_save says; what of its data is not understood has its default, with a warning in the log and in the record
//     list. Its delete is told to everybody. ClassBegin during a class is an update of it, and changes the message alone,
//     if it has its ts or comes from who began it; any other ends that class, and begins another.
//   - A class goes on in an empty room for Config.RoomEmptyTimeout.
//   - A room is big from Config.BigRoom people on until it is empty: joins and leaves are not told, userlist has
//     teachers and assistants only.
//
// It leaves to others: TLS, listening, and everything that is not the platform.
package roomserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/classrec/classrec/server/internal/ingest"
	"github.com/classrec/classrec/server/internal/recorder"
	"github.com/classrec/classrec/server/internal/socketio"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Server is the embedded platform. It is safe for concurrent use.
type Server struct {
	cfg      Config
	log      *slog.Logger
	socket   *socketio.Server
	media    *ingest.Server
	whip     *ingest.WHIP
	recorder *recorder.Recorder
	archive  *archive
	handler  http.Handler

	participants atomic.Int64 // connections and WHIP publishers
	refused      refusals
	space        space
	entries      entries
	classPace    classPace
	attempts     attempts
	book         *roomBook

	mu     sync.Mutex // never held while a room's mutex is waited for
	closed bool
	rooms  map[talkcloud.RoomID]*room

	starters   chan struct{}   // places for recordings being started
	finishing  sync.WaitGroup  // one for each ended class whose files are not finished
	finishers  chan struct{}   // Config.Finalizers places
	converters chan struct{}   // as many, for those that ffmpeg converts
	closing    context.Context // ends with Close: what the disk refuses is left to Recover
	beginClose context.CancelFunc
	hurry      context.Context
	hurryUp    context.CancelFunc // ends hurry: what is being converted is left to Recover
	closeOnce  sync.Once
	closeError error
	groups     groups // of pictures, of streams that are not recorded
}

// maxStarting is how many recordings are started at once.
const maxStarting = 16

// New makes a server that is ready to serve: it opens the UDP socket for media and reads what recordings there are.
// Close it. What a crash left unfinished is not listed before [Server.Recover].
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("room server: %w", err)
	}
	s := &Server{
		cfg: cfg, log: cfg.Logger,
		rooms:     make(map[talkcloud.RoomID]*room),
		starters:  make(chan struct{}, maxStarting),
		finishers: make(chan struct{}, cfg.Finalizers), converters: make(chan struct{}, cfg.Finalizers),
		space: space{dir: cfg.Dir, min: cfg.MinFree},
	}
	sound := recorder.MP4AAC
	if cfg.MP4Opus {
		sound = recorder.MP4Opus
	}
	s.recorder = recorder.New(recorder.Config{
		MP4Audio:   sound,
		FFmpegPath: cfg.FFmpegPath, Conversions: cfg.Conversions, FFmpegThreads: cfg.FFmpegThreads,
		MayWrite: s.space.check, Logger: cfg.Logger,
	})
	var err error
	if s.archive, err = openArchive(cfg.Dir, cfg.Logger); err != nil {
		return nil, fmt.Errorf("room server: %w", err)
	}
	if s.book, err = openRoomBook(cfg.Dir, cfg.Rooms); err != nil {
		return nil, errors.Join(fmt.Errorf("room server: %w", err), s.archive.close())
	}
	s.media, err = ingest.New(ingest.Config{UDPListen: cfg.UDPListen, PublicIPs: cfg.PublicIPs, MaxPeers: cfg.MaxPublishers, MaxTCP: cfg.MaxTCPPublishers, Logger: cfg.Logger})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("room server: %w", err), s.archive.close())
	}
	s.hurry, s.hurryUp = context.WithCancel(context.Background())
	s.closing, s.beginClose = context.WithCancel(context.Background())
	s.whip = s.media.WHIP(ingest.WHIPConfig{Authorize: s.authorizeWHIP, SessionPath: whipSessions})
	s.socket = socketio.NewServer(socketio.ServerConfig{
		PingInterval: cfg.PingInterval, PingTimeout: cfg.PingTimeout,
		MaxMessageBytes: cfg.MaxMessageBytes, SendQueueBytes: cfg.SendQueueBytes, Logger: cfg.Logger,
	}, s.accept)
	s.handler = s.routes()
	return s, nil
}

// Close ends all connections, and with them all classes: their files are closed, finished within Config.CloseTimeout,
// and listed; what takes longer is left to the next [Server.Recover]. It waits for everything that the server has
// started. Serve no more requests by the time it is called.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.beginClose()
		timeout := time.AfterFunc(s.cfg.CloseTimeout, s.hurryUp)
		errs := []error{s.socket.Close(), s.media.Close()}
		s.closeRooms()
		s.finishing.Wait()
		timeout.Stop()
		s.hurryUp()
		s.closeError = errors.Join(append(errs, s.archive.close())...)
	})
	return s.closeError
}

// closeRooms ends the classes of rooms that wait for somebody to come back.
func (s *Server) closeRooms() {
	s.mu.Lock()
	rooms := slices.Collect(maps.Values(s.rooms))
	s.mu.Unlock()
	for _, r := range rooms {
		r.mu.Lock()
		r.settle()
		r.mu.Unlock()
	}
}

// accept takes a new signaling connection, if there is room for it.
func (s *Server) accept(c *socketio.Conn, r *http.Request) (socketio.Handler, error) {
	p := &participant{server: s, conn: c, from: remoteIP(r), ours: isService(r), stranger: isStranger(r)}
	if !p.ours && !s.admit() {
		return nil, errors.New("server is full")
	}
	return p, nil
}

// admit takes one of the Config.MaxParticipants places; dismiss gives it back.
func (s *Server) admit() bool {
	if s.participants.Add(1) > int64(s.cfg.MaxParticipants) {
		s.participants.Add(-1)
		s.refused[limitParticipants].Add(1)
		return false
	}
	return true
}

func (s *Server) dismiss() { s.participants.Add(-1) }

// lockRoom returns a room that is not closed, with its mutex held, and makes it when it is not there. It must not be
// left without people in it: see room.settle.
func (s *Server) lockRoom(id talkcloud.RoomID, ours bool) (*room, error) {
	if _, known, gone := s.book.lookup(id); gone || !known && s.cfg.StrictRooms {
		return nil, refuse(codeRoomGone, reasonRoom, "there is no such room")
	}
	for {
		r, err := s.openRoom(id, ours)
		if err != nil {
			return nil, err
		}
		r.mu.Lock()
		if !r.closed {
			return r, nil
		}
		r.mu.Unlock() // it became empty just now, and is out of the map
	}
}

func (s *Server) openRoom(id talkcloud.RoomID, ours bool) (*room, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, refuse(codeFailure, reasonClosing, "the server is shutting down")
	}
	if r := s.rooms[id]; r != nil {
		return r, nil
	}
	if len(s.rooms) >= s.cfg.MaxRooms && !ours {
		return nil, s.over(limitRooms, "the server has place for %d rooms", s.cfg.MaxRooms)
	}
	r := &room{id: id, server: s}
	s.rooms[id] = r
	return r, nil
}

// findRoom returns a room with its mutex held, or nil when nobody is in it.
func (s *Server) findRoom(id talkcloud.RoomID) *room {
	s.mu.Lock()
	r := s.rooms[id]
	s.mu.Unlock()
	if r == nil {
		return nil
	}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	return r
}

// removeRoom takes a closed room out of the map. The room's mutex is held.
func (s *Server) removeRoom(r *room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rooms[r.id] == r {
		delete(s.rooms, r.id)
	}
}

// TimeMoved tells the server that Config.Now has been moved on: what has expired by it goes at once.
func (s *Server) TimeMoved() {
	s.mu.Lock()
	rooms := slices.Collect(maps.Values(s.rooms))
	s.mu.Unlock()
	for _, r := range rooms {
		r.expire()
		r.endDeserted()
	}
}

// Connections is how many signaling connections there are.
func (s *Server) Connections() int { return s.socket.Len() }

// Rooms is how many rooms have somebody in them.
func (s *Server) Rooms() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rooms)
}

// Stats is how the server does.
type Stats struct {
	// Rooms have somebody in them; Connections are for signaling, and Participants these and WHIP publishers.
	Rooms, Connections, Participants int
	// Publishers are connected for media, or connecting.
	Publishers int
	// Media is what they have sent, and what was lost and repaired.
	Media ingest.Stats
	// Refused is what was refused, by what there was too much of: rooms, participants, room_people, message_size,
	// message_rate, chat_rate, saved_messages, properties, streams, publishers, disk (too little of it), password (none).
	Refused map[string]uint64
	// Recorder is what is recorded.
	Recorder recorder.Stats
}

// Stats returns how the server does now.
func (s *Server) Stats() Stats {
	refused := s.refused.stats()
	refused[limitNames()[limitPublishers]] = s.media.Refused() // both ways to publish come there
	return Stats{
		Rooms: s.Rooms(), Connections: s.Connections(), Participants: int(s.participants.Load()),
		Publishers: s.media.Peers(), Media: s.media.Stats(), Recorder: s.recorder.Stats(),
		Refused: refused,
	}
}
