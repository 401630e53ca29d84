// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"fmt"
	"log/slog"
	"time"
)

// Format is the container of the finished files.
type Format int

// The formats. MKV and WebM are written natively and never transcoded; MP4 takes ffmpeg.
const (
	MKV Format = iota
	WebM
	MP4
)

// String returns the format's file extension without the dot.
func (f Format) String() string {
	switch f {
	case MKV:
		return "mkv"
	case WebM:
		return "webm"
	case MP4:
		return "mp4"
	}
	return fmt.Sprintf("format(%d)", int(f))
}

// MP4Audio is the codec of the sound in MP4 files of TypeFile and TypeList.
type MP4Audio int

// The codecs of MP4Audio.
const (
	MP4AAC  MP4Audio = iota // every player has it
	MP4Opus                 // as it was recorded; Safari before 17 and QuickTime do not play it in MP4
)

// Type says which files a recording gives. Its numbers are those of the platform's recordtype.
type Type int

// The types of recording.
const (
	TypeFile Type = iota // one file with all tracks, the chat as a subtitle track
	TypeList             // one file per publisher, the chat beside them as WebVTT
	TypeMP3              // one MP3 of everybody's sound, mixed; takes ffmpeg
	TypeMix              // one MP4 with everybody's picture and sound, and the MP3; takes ffmpeg
)

// String names the type.
func (t Type) String() string {
	switch t {
	case TypeFile:
		return "file"
	case TypeList:
		return "list"
	case TypeMP3:
		return "mp3"
	case TypeMix:
		return "mix"
	}
	return fmt.Sprintf("type(%d)", int(t))
}

// Layout is how TypeMix arranges the pictures.
type Layout int

// The layouts.
const (
	Landscape Layout = iota // 1280x720, pictures side by side
	Portrait                // 720x1280, pictures one above the other
)

// Options describe one recording.
type Options struct {
	// Dir receives all files of the recording and must not hold another one. It is made when missing.
	Dir    string
	Format Format // of TypeFile and TypeList; the other types have their own
	Type   Type
	Layout Layout // of TypeMix
	Chat   bool   // record what WriteChat is given
	// Begin is the time zero of every file; zero means now. All files of a recording share it, so a
	// publisher who comes ten minutes late has his first picture at 00:10:00.
	Begin time.Time
	// Avoid has names of files, as [FileNames] returns them, that the files of TypeList and TypeFile must not have: those of a recording
	// that this one continues.
	Avoid []string
	// Logger gets what concerns this recording; nil is Config.Logger.
	Logger *slog.Logger
}

func (o Options) validate() error {
	switch {
	case o.Dir == "":
		return fmt.Errorf("%w: dir is empty", ErrInvalidOptions)
	case o.Format < MKV || o.Format > MP4:
		return fmt.Errorf("%w: unknown format %d", ErrInvalidOptions, o.Format)
	case o.Type < TypeFile || o.Type > TypeMix:
		return fmt.Errorf("%w: unknown type %d", ErrInvalidOptions, o.Type)
	case o.Layout < Landscape || o.Layout > Portrait:
		return fmt.Errorf("%w: unknown layout %d", ErrInvalidOptions, o.Layout)
	}
	return nil
}

// converts tells whether the recording is finished by ffmpeg, and what for.
func (o Options) converts() (what string, ok bool) {
	switch {
	case o.Type == TypeMP3:
		return "to mix the sound into an MP3", true
	case o.Type == TypeMix:
		return "to mix the class into one MP4", true
	case o.Format == MP4:
		return "to make MP4 files", true
	}
	return "", false
}

// perUser tells whether each publisher has files of his own while recording. MP3 and Mix do too: their
// inputs must end one by one for ffmpeg to mix them in bounded memory.
func (o Options) perUser() bool { return o.Type != TypeFile }

// mixes tells whether the recorded files are only the material for one mixed file.
func (o Options) mixes() bool { return o.Type == TypeMP3 || o.Type == TypeMix }

// Kind is what a track carries.
type Kind int

// The kinds of track.
const (
	Audio Kind = iota + 1
	Video
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case Audio:
		return "audio"
	case Video:
		return "video"
	}
	return fmt.Sprintf("kind(%d)", int(k))
}

// TrackInfo describes an RTP stream. Its codec is one of video/VP8, VP9, AV1, H264 and H265, and audio/opus, PCMU, PCMA and
// G722.
type TrackInfo struct {
	UserID   string
	Nickname string // the name in the room; may be empty. File names are made of it
	Role     *int   // in the room, of the platform's; nil when not known
	// Source is what the track shows, "screen" say. A person's camera and screen are never put into one place of a file.
	Source   string
	StreamID string // tracks with the same user and stream share a sender's clock, and preferably a file
	Kind     Kind
	MimeType string
	// Simulcast is the same for the tracks of a user and stream that are qualities of one picture, sent at once. Of these
	// the largest that comes is recorded, and when it stops the next, all in one track of the file. Empty for a picture
	// that comes once.
	Simulcast string
	// ClockRate of the RTP timestamps; 0 means 90000 for video and 48000 for audio.
	ClockRate uint32
	Channels  uint16 // of audio; 0 means 2
	FmtpLine  string // of the SDP; sprop-parameter-sets is used for H264
	// Patience says how long a packet that is missing may still come, because it is asked for: it is asked while one is
	// missing. May be nil, for 300 ms. It must not block, nor call the recorder.
	Patience func() time.Duration
	// RequestKeyframe asks the publisher for a keyframe. May be nil. It must not block; it is called from
	// WriteRTP and from the recording's own goroutine, at most once a second.
	RequestKeyframe func()
}

// ChatMessage is one line of chat.
type ChatMessage struct {
	UserID   string
	Nickname string // shown; the user id when empty
	Text     string
	At       time.Time // on the clock of Config.Now; zero means now
}
