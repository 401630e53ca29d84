// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Config of a [Server]. Dir and EnterpriseKey are required; every other zero value works.
type Config struct {
	// Dir holds the recordings, under Dir/recordings/<room>/<recordts>/. It is made when it is not there, and used by
	// one Server at a time.
	Dir string
	// FilesBaseURL is the absolute URL under which [Server.Files] can be reached, without a slash at its end, such as
	// "http://127.0.0.1:8080/files"; record lists name files by it. "" = the scheme and host of the request for the
	// list, with /files, where [Server.Handler] serves them too.
	FilesBaseURL string
	// FilesBase is FilesBaseURL for a request of somebody else than the service, so that links have the name under which
	// they can be reached from there. nil = FilesBaseURL.
	FilesBase func(r *http.Request) string
	// SignFile returns the query with which whoever has the link may read a file (FilePath), for the record lists of
	// others than the service. nil = none is needed.
	SignFile func(file string) url.Values
	// EnterpriseKey opens the record lists; another key is answered with 4102.
	EnterpriseKey talkcloud.Secret
	// Rooms are the rooms that are known beforehand. Others come into being when they are first entered.
	Rooms map[talkcloud.RoomID]RoomConfig
	// StrictRooms refuses rooms that are neither in Rooms nor made by WebAPI/roomcreate: checkroom with 4007, joinRoom with 3003.
	StrictRooms bool

	// AdmitFile says whether a request may read a file (FilePath): 0, or the HTTP status and the words of the refusal.
	// nil: whoever knows its URL may.
	AdmitFile func(r *http.Request, file string) (status int, words string)

	// PingInterval and PingTimeout are the heartbeat of engine.io: 25 s and 5 s, as the vendor's.
	PingInterval, PingTimeout time.Duration
	// UDPListen is the address for media, and PublicIPs what is announced instead of it: see ingest.Config.
	UDPListen string
	PublicIPs []string
	// FFmpegPath is the program that makes mp4, MP3 and MIX. "" = ffmpeg in PATH. Without it, classes that ask for
	// those are refused, and all others work.
	FFmpegPath string
	// Conversions is how many recordings ffmpeg works on at once (1), and FFmpegThreads how many threads each of its
	// encoders has (2).
	Conversions, FFmpegThreads int
	// MP4Opus keeps the sound of MP4 files as it was recorded. Otherwise it becomes AAC.
	MP4Opus bool

	// MaxRooms is how many rooms may have somebody in them at once (20,000). More are refused.
	MaxRooms int
	// MaxParticipants is how many signaling connections and WHIP publishers there may be in all (50,000). More are
	// refused before the WebSocket handshake.
	MaxParticipants int
	// MaxPerRoom is how many people there may be in one room (5,000). More are refused.
	MaxPerRoom int
	// MaxPublishers is how many streams of media are taken at once (2,000). More are refused.
	MaxPublishers int
	// MaxTCPPublishers is how many of them may come by TCP (1,024).
	MaxTCPPublishers int
	// MessagesPerSecond is how many messages one participant may send in a second, on average over ten (300). Those above
	// are refused. Negative = no limit.
	MessagesPerSecond int
	// MinFree is how many bytes of Dir's disk are left alone (none). While there are fewer, no class begins and no WHIP
	// publisher is taken; of classes that go on no media are written, as if the disk were full, and they have a gap.
	MinFree int64
	// MaxMessageBytes bounds one signaling message, in either direction (1 MiB). A larger one closes its connection.
	MaxMessageBytes int64
	// SendQueueBytes bounds what waits to be sent to one connection (1 MiB); a peer that lets it fill is closed.
	SendQueueBytes int
	// MaxSavedMessages and MaxSavedBytes bound what a room keeps for late joiners (1,000 messages, 4 MiB). A publish
	// beyond is refused and not sent.
	MaxSavedMessages int
	MaxSavedBytes    int
	// MaxPropertiesBytes bounds the properties of one participant (16 KiB). A join or change beyond is refused.
	MaxPropertiesBytes int
	// MaxStreams is how many streams one participant may publish at once (4).
	MaxStreams int
	// BigRoom is the number of people above which a room tells no more of joins and leaves, and lists only teachers
	// and assistants (100). A room that has become big stays so until it is empty.
	BigRoom int
	// ChatPerSecond is how many chat messages a second a room carries; above it, those of everybody but teachers and
	// assistants are refused (100). Negative = no limit.
	ChatPerSecond int

	// RoomEmptyTimeout is how long a class goes on in a room that everybody has left (60 s); then it is ended. Recorders
	// count as nobody, see talkcloud.JoinRecorder. Negative = the class ends with the last who leaves.
	RoomEmptyTimeout time.Duration
	// ClassesPerMinute is how many ClassBegin a room takes in a minute (10); more are refused. Negative = no limit.
	ClassesPerMinute int

	// Finalizers is how many ended recordings are finished at once (8); the others wait. Those that ffmpeg converts are
	// counted apart, so that they keep nobody waiting.
	Finalizers int
	// CloseTimeout is how long [Server.Close] lets the recordings that it ends be converted (10 s). What is not done
	// by then is done by [Server.Recover] at the next start.
	CloseTimeout time.Duration

	// Now is the room server's clock: of what it tells, of recordts, of messages that expire. Media and what is recorded
	// of them go by the system's. nil = [time.Now].
	Now func() time.Time
	// Logger gets what goes wrong. nil = discard. No key, password, SDP or file URL is logged.
	Logger *slog.Logger
}

// RoomConfig is what is known of a room beforehand.
type RoomConfig struct {
	// Name is shown to those who enter. "" = "room " and the id.
	Name string
	// Passwords give roles: who enters with one has its role, and who has none of them is refused with 4008. Empty =
	// anybody may enter, see [Server.Handler].
	Passwords map[int]talkcloud.Secret
	// StudentsOpen lets students in without a password, where Passwords has some.
	StudentsOpen bool
}

func (c Config) withDefaults() Config {
	c.MaxRooms = orDefault(c.MaxRooms, 20_000)
	c.MaxParticipants = orDefault(c.MaxParticipants, 50_000)
	c.MaxPerRoom = orDefault(c.MaxPerRoom, 5_000)
	c.MaxPublishers = orDefault(c.MaxPublishers, 2_000)
	if c.MessagesPerSecond == 0 {
		c.MessagesPerSecond = 300
	}
	c.MaxMessageBytes = orDefault(c.MaxMessageBytes, 1<<20)
	c.SendQueueBytes = orDefault(c.SendQueueBytes, 1<<20)
	c.MaxSavedMessages = orDefault(c.MaxSavedMessages, 1_000)
	c.MaxSavedBytes = orDefault(c.MaxSavedBytes, 4<<20)
	c.MaxPropertiesBytes = orDefault(c.MaxPropertiesBytes, 16<<10)
	c.MaxStreams = orDefault(c.MaxStreams, 4)
	c.BigRoom = orDefault(c.BigRoom, 100)
	c.Finalizers = orDefault(c.Finalizers, 8)
	c.CloseTimeout = orDefault(c.CloseTimeout, 10*time.Second)
	if c.ChatPerSecond == 0 {
		c.ChatPerSecond = 100
	}
	if c.RoomEmptyTimeout == 0 {
		c.RoomEmptyTimeout = time.Minute
	}
	if c.ClassesPerMinute == 0 {
		c.ClassesPerMinute = 10
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

func (c Config) validate() error {
	if c.Dir == "" {
		return errors.New("no directory for recordings given")
	}
	if c.EnterpriseKey == "" {
		return errors.New("no enterprise key given")
	}
	for id, room := range c.Rooms {
		if err := checkID(string(id)); err != nil {
			return fmt.Errorf("room %q: %w", id, err)
		}
		for role, password := range room.Passwords {
			if role < talkcloud.RolePlayback || role > talkcloud.RolePatrol {
				return fmt.Errorf("room %q: there is no role %d", id, role)
			}
			if password == "" {
				return fmt.Errorf("room %q: empty password for role %d", id, role)
			}
		}
	}
	return nil
}
