// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pion/rtp"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

func TestRecording_List(t *testing.T) {
	for _, format := range []recorder.Format{recorder.MKV, recorder.WebM} {
		t.Run(format.String(), func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				dir := t.TempDir()
				rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Format: format, Type: recorder.TypeList, Chat: true})
				tv := addFeed(t, rec, newSource(t, "teacher", clips.TeacherVideo))
				ta := addFeed(t, rec, newSource(t, "teacher", clips.TeacherAudio))
				play(t, 2*time.Second, tv, ta)
				sv := addFeed(t, rec, newSource(t, "student", clips.StudentVideo))
				sa := addFeed(t, rec, newSource(t, "student", clips.StudentAudio))
				play(t, 4*time.Second, tv, ta, sv, sa)
				if err := rec.WriteChat(recorder.ChatMessage{UserID: "student", Text: "hello"}); err != nil {
					t.Fatal(err)
				}
				play(t, 2*time.Second, tv, ta, sv, sa)
				files := stop(t, rec)
				ext := "." + format.String()
				if want := []string{"teacher" + ext, "student" + ext, "chat.vtt"}; !slices.Equal(names(files), want) {
					t.Fatalf("files %v, want %v", names(files), want)
				}
				teacher, student := demux(t, in(dir, files[0])), demux(t, in(dir, files[1]))
				if n := len(teacher.track(t, "V_VP8")); n != 8*15 {
					t.Errorf("teacher has %d pictures, want %d", n, 8*15)
				}
				if n := len(teacher.track(t, "A_OPUS")); n != 8*50 {
					t.Errorf("teacher has %d sounds, want %d", n, 8*50)
				}
				if at := student.track(t, "V_VP8")[0].at; at > 10*time.Millisecond {
					t.Errorf("the student's first picture is at %v, want 0", at)
				}
				if o := files[1].StartOffset; o < 1990*time.Millisecond || o > 2010*time.Millisecond || files[0].StartOffset > 10*time.Millisecond {
					t.Errorf("the files begin at %v and %v, want 0 and 2s", files[0].StartOffset, o)
				}
				if d := files[1].Duration; d < 5900*time.Millisecond || d > 6100*time.Millisecond {
					t.Errorf("the student's file lasts %v, want 6s", d)
				}
				f := files[1]
				if f.VideoCodec != "VP8" || f.AudioCodec != "opus" || f.Width != 320 || f.Height != 240 || f.FrameRate < 14.9 || f.FrameRate > 15.1 || f.SampleRate != 48000 {
					t.Errorf("facts %+v", f)
				}
				if d := files[0].Duration; d < 7900*time.Millisecond || d > 8100*time.Millisecond {
					t.Errorf("duration %v, want 8s", d)
				}
			})
		})
	}
}

func TestRecording_File(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := t.TempDir()
		rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeFile, Format: recorder.WebM, Chat: true})
		say := func(text string) {
			t.Helper()
			if err := rec.WriteChat(recorder.ChatMessage{UserID: "u", Nickname: "Li", Text: text}); err != nil {
				t.Fatal(err)
			}
		}
		say("before any media")
		time.Sleep(3 * time.Second)
		tv := addFeed(t, rec, newSource(t, "teacher", clips.TeacherVideo))
		ta := addFeed(t, rec, newSource(t, "teacher", clips.TeacherAudio))
		play(t, 2*time.Second, tv, ta)
		say("a <b>\n\n--> c")
		sa := addFeed(t, rec, newSource(t, "student", clips.StudentAudio))
		play(t, 2*time.Second, tv, ta, sa)
		files := stop(t, rec)
		if !slices.Equal(names(files), []string{"recording.webm", "chat.vtt"}) {
			t.Fatalf("files %v", names(files))
		}
		m := demux(t, in(dir, files[0]))
		if n := len(m.Segment.Tracks.TrackEntry); n != 4 {
			t.Fatalf("%d tracks, want 4", n)
		}
		chat := m.track(t, "D_WEBVTT/SUBTITLES")
		if len(chat) != 2 || chat[0].at > 10*time.Millisecond || chat[1].at < 1990*time.Millisecond || chat[1].at > 2010*time.Millisecond {
			t.Fatalf("chat %v", chat)
		}
		if got := string(chat[1].data); got != "\n\nLi: a &lt;b&gt;\n \n--&gt; c" {
			t.Errorf("chat text %q", got)
		}
	})
}

// TestRecording_Chat looks at chat.vtt, and at chat without media.
func TestRecording_Chat(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := t.TempDir()
		rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeFile, Chat: true})
		time.Sleep(3661500 * time.Millisecond)
		for _, m := range []recorder.ChatMessage{
			{UserID: "7", Text: "x & y"},
			{UserID: "7", Nickname: "A>B", Text: "earlier", At: time.Now().Add(-time.Minute)},
			{UserID: "7", Nickname: "n", Text: "\xff" + strings.Repeat("é", 1<<20)},
		} {
			if err := rec.WriteChat(m); err != nil {
				t.Fatal(err)
			}
		}
		files := stop(t, rec)
		if !slices.Equal(names(files), []string{"chat.vtt"}) || files[0].MediaType != "text/vtt" {
			t.Fatalf("files %v", files)
		}
		text := string(must[[]byte](t)(os.ReadFile(in(dir, files[0]))))
		cues := readCues(t, in(dir, files[0]))
		const times = "01:01:01.500 --> 01:01:06.500"
		if len(cues) != 3 || cues[0].times != times || cues[0].text != "7: x & y" || cues[1].times != times || cues[1].text != "A>B: earlier" {
			t.Errorf("cues %.300q", cues)
		}
		if len(text) > 32<<10 || !utf8.ValidString(text) {
			t.Errorf("chat.vtt has %d bytes, valid UTF-8: %v", len(text), utf8.ValidString(text))
		}
	})
}

func TestRecording_NoMedia(t *testing.T) {
	for _, kind := range []recorder.Type{recorder.TypeFile, recorder.TypeList} {
		virtualRun(t, kind.String(), func(t *testing.T) {
			dir := t.TempDir()
			rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: kind, Chat: true})
			track := must[*recorder.Track](t)(rec.AddTrack(recorder.TrackInfo{UserID: "u", Kind: recorder.Video, MimeType: "video/VP8"}))
			// Video that never has a keyframe is no media either.
			for i := range 100 {
				_ = track.WriteRTP(&rtp.Packet{Header: rtp.Header{SequenceNumber: uint16(i), Marker: true}, Payload: []byte{0x10, 0x11, 0, 0}}, time.Now())
				time.Sleep(100 * time.Millisecond)
			}
			if files := stop(t, rec); len(files) != 0 {
				t.Errorf("files %v", files)
			}
			if files := must[[]recorder.File](t)(recorder.New(recorder.Config{}).Recover(t.Context(), dir)); len(files) != 0 {
				t.Errorf("recovered files %v", files)
			}
		})
	}
}

// TestRecording_Reconnect: streams of one user go on in his file, and what does not fit goes into another.
func TestRecording_Reconnect(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := t.TempDir()
		rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList, Format: recorder.WebM})
		on := func(load func() (*clips.Clip, error), stream string) *feed {
			s := newSource(t, "tea/cher", load)
			s.info.StreamID = stream
			return addFeed(t, rec, s)
		}
		v, a := on(clips.TeacherVideo, "1"), on(clips.TeacherAudio, "1")
		play(t, 4*time.Second, v, a)
		screen := on(clips.StudentVideo, "screen") // at the same time
		play(t, 4*time.Second, v, a, screen)
		for _, f := range []*feed{v, a} {
			if err := f.track.Close(); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second)
		v, a = on(clips.TeacherVideo, "2"), on(clips.TeacherAudio, "2")
		play(t, 4*time.Second, v, a)
		_ = v.track.Close()
		v = on(clips.TeacherH264, "3")
		play(t, 4*time.Second, v, a)
		files := stop(t, rec)
		if want := []string{"tea_cher.webm", "tea_cher-2.webm", "tea_cher-3.mkv"}; !slices.Equal(names(files), want) {
			t.Fatalf("files %v, want %v", names(files), want)
		}
		m := demux(t, in(dir, files[0]))
		if len(m.Segment.Tracks.TrackEntry) != 2 {
			t.Errorf("%d tracks in the first file, want 2", len(m.Segment.Tracks.TrackEntry))
		}
		if n := len(m.track(t, "V_VP8")); n != 12*15 {
			t.Errorf("%d pictures, want %d", n, 12*15)
		}
		if n := len(m.track(t, "A_OPUS")); n != 18*50 { // two seconds of it are silence
			t.Errorf("%d sounds, want %d", n, 18*50)
		}
		gaps, warnings, err := recorder.Notes(dir)
		if err != nil || len(gaps) != 2 || len(warnings) != 1 {
			t.Errorf("gaps %v, warnings %q, %v", gaps, warnings, err)
		}
		for i, g := range gaps {
			if d := g.End.Sub(g.Start); g.UserID != "tea/cher" || d < 1900*time.Millisecond || d > 2100*time.Millisecond || i > 0 && g.Kind == gaps[0].Kind {
				t.Errorf("gap %+v", g)
			}
		}
		if n := len(demux(t, in(dir, files[2])).track(t, "V_MPEG4/ISO/AVC")); n != 4*15 {
			t.Errorf("%d pictures in H264, want %d", n, 4*15)
		}
		for _, f := range files {
			if f.UserID != "tea/cher" {
				t.Errorf("%s is of %q", f.Name, f.UserID)
			}
		}
	})
}

// TestRecording_WebMGetsH264: a WebM file that H264 is added to becomes an MKV.
func TestRecording_WebMGetsH264(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := t.TempDir()
		rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList, Format: recorder.WebM})
		a := addFeed(t, rec, newSource(t, "teacher", clips.TeacherAudio))
		play(t, 4*time.Second, a)
		v := addFeed(t, rec, newSource(t, "teacher", clips.TeacherH264))
		play(t, 4*time.Second, a, v)
		files := stop(t, rec)
		if !slices.Equal(names(files), []string{"teacher.mkv"}) {
			t.Fatalf("files %v", names(files))
		}
		if m := demux(t, in(dir, files[0])); m.Header.DocType != "matroska" || len(m.track(t, "A_OPUS")) != 400 {
			t.Errorf("document %s with %d sounds", m.Header.DocType, len(m.track(t, "A_OPUS")))
		}
	})
}

// TestRecording_Resolution changes the picture's size in the middle.
func TestRecording_Resolution(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := t.TempDir()
		rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
		f := addFeed(t, rec, newSource(t, "u", clips.StudentVideo))
		for _, load := range []func() (*clips.Clip, error){clips.Bench720p, clips.TeacherVideo} {
			play(t, 4*time.Second, f)
			s := newSource(t, "u", load)
			s.seq, s.ts = f.seq, f.rtpTime(time.Since(f.begin))
			f.source = s
		}
		play(t, 4*time.Second, f)
		m := demux(t, in(dir, stop(t, rec)[0]))
		if n := len(m.blocks[1]); n != 60+120+60 {
			t.Errorf("%d frames, want 240", n)
		}
		if v := m.Segment.Tracks.TrackEntry[0].Video; v.PixelWidth != 1280 || v.PixelHeight != 720 {
			t.Errorf("the head says %dx%d, want the largest", v.PixelWidth, v.PixelHeight)
		}
	})
}

// TestRecording_ManyTracks adds more tracks than a file's head can name.
func TestRecording_ManyTracks(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := t.TempDir()
		rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeFile})
		const users = 250
		for i := range users {
			track := must[*recorder.Track](t)(rec.AddTrack(recorder.TrackInfo{
				UserID: fmt.Sprintf("student-%04d-%s", i, strings.Repeat("x", 300)), Kind: recorder.Audio, MimeType: "audio/opus",
			}))
			if err := track.WriteRTP(&rtp.Packet{Payload: tinyOpus}, time.Now()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
			_ = track.Close()
		}
		n := 0
		for _, f := range stop(t, rec) {
			m := demux(t, in(dir, f))
			n += len(m.blocks)
		}
		if n != users {
			t.Errorf("%d tracks in the files, want %d", n, users)
		}
	})
}

func TestRecording_Stop(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := t.TempDir()
		r := recorder.New(recorder.Config{})
		rec := must[*recorder.Recording](t)(r.Start(recorder.Options{Dir: dir, Type: recorder.TypeList, Chat: true}))
		if _, err := r.Start(recorder.Options{Dir: dir}); !errors.Is(err, os.ErrExist) {
			t.Errorf("a second recording in the directory: %v", err)
		}
		a := addFeed(t, rec, newSource(t, "u", clips.TeacherAudio))
		closed := addFeed(t, rec, newSource(t, "u", clips.TeacherVideo))
		_ = closed.track.Close()
		if err := closed.track.WriteRTP(&rtp.Packet{}, time.Now()); !errors.Is(err, recorder.ErrTrackClosed) {
			t.Errorf("write to a closed track: %v", err)
		}
		play(t, time.Second, a)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				files, err := rec.Stop(context.Background())
				if err != nil || !slices.Equal(names(files), []string{"u.mkv"}) {
					t.Errorf("Stop: %v, %v", names(files), err)
				}
			})
		}
		all.Wait()
		if err := a.track.WriteRTP(&rtp.Packet{}, time.Now()); !errors.Is(err, recorder.ErrStopped) {
			t.Errorf("write after Stop: %v", err)
		}
		if err := rec.WriteChat(recorder.ChatMessage{Text: "x"}); !errors.Is(err, recorder.ErrStopped) {
			t.Errorf("chat after Stop: %v", err)
		}
		if _, err := rec.AddTrack(a.info); !errors.Is(err, recorder.ErrStopped) {
			t.Errorf("track after Stop: %v", err)
		}
	})
}

func TestRecorder_Check(t *testing.T) {
	t.Parallel()
	r := recorder.New(recorder.Config{FFmpegPath: filepath.Join(t.TempDir(), "no-such-program")})
	for name, tt := range map[string]struct {
		opts recorder.Options
		want error
	}{
		"list mkv":  {recorder.Options{Type: recorder.TypeList}, nil},
		"file webm": {recorder.Options{Type: recorder.TypeFile, Format: recorder.WebM}, nil},
		"mp4":       {recorder.Options{Type: recorder.TypeList, Format: recorder.MP4}, recorder.ErrNeedsFFmpeg},
		"mp3":       {recorder.Options{Type: recorder.TypeMP3}, recorder.ErrNeedsFFmpeg},
		"mix":       {recorder.Options{Type: recorder.TypeMix}, recorder.ErrNeedsFFmpeg},
		"format":    {recorder.Options{Format: 9}, recorder.ErrInvalidOptions},
		"type":      {recorder.Options{Type: -1}, recorder.ErrInvalidOptions},
		"layout":    {recorder.Options{Layout: 2}, recorder.ErrInvalidOptions},
	} {
		if err := r.Check(tt.opts); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if _, err := r.Start(recorder.Options{Dir: t.TempDir(), Type: recorder.TypeMix}); !errors.Is(err, recorder.ErrNeedsFFmpeg) {
		t.Errorf("Start: %v", err)
	}
}

// TestRecording_DiskFull: the recording ends with an error, and what was written plays.
func TestRecording_DiskFull(t *testing.T) {
	for name, left := range map[string]int64{"at once": 0, "in the head": 100, "in media": 200_000, "in the third file": 412_345} {
		virtualRun(t, name, func(t *testing.T) {
			dir := t.TempDir()
			r := recorder.New(recorder.Config{})
			r.SetDisk(&recorder.Disk{Left: left})
			rec := must[*recorder.Recording](t)(r.Start(recorder.Options{Dir: dir, Type: recorder.TypeList, Chat: true}))
			feeds := []*feed{addFeed(t, rec, newSource(t, "t", clips.TeacherVideo)), addFeed(t, rec, newSource(t, "s", clips.StudentVideo))}
			var err error
			for range 30 * 60 {
				for _, f := range feeds {
					packets := f.frame()
					for _, p := range packets {
						if e := f.track.WriteRTP(p, time.Now()); e != nil {
							err = e
						}
					}
				}
				time.Sleep(time.Second / 15)
			}
			if !errors.Is(err, recorder.ErrWrite) || !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("WriteRTP: %v", err)
			}
			files, err := rec.Stop(t.Context())
			if !errors.Is(err, recorder.ErrWrite) || !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("Stop: %v", err)
			}
			if left > 1000 && len(files) == 0 {
				t.Error("nothing was kept")
			}
			for _, f := range files {
				m := demuxLoose(t, in(dir, f))
				if len(m.blocks[1]) == 0 || m.duration() != f.Duration || f.Duration == 0 || int64(len(m.raw)) != f.Size {
					t.Errorf("%+v: %d blocks, duration %v, size %d", f, len(m.blocks[1]), m.duration(), len(m.raw))
				}
			}
			// Asked again, also by another process, it says the same.
			again, err := recorder.New(recorder.Config{}).Recover(t.Context(), dir)
			if !errors.Is(err, recorder.ErrWrite) || !slices.Equal(again, files) {
				t.Errorf("Recover: %v, %v", again, err)
			}
		})
	}
}

// TestRecording_SlowDisk: a disk that stands still costs frames, not memory, and blocks nobody.
func TestRecording_SlowDisk(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := t.TempDir()
		rec := start(t, recorder.Config{QueueBytes: 200_000}, recorder.Options{Dir: dir, Type: recorder.TypeList})
		f := addFeed(t, rec, newSource(t, "u", clips.Bench720p))
		// All of this comes within one interval, more than the queue holds.
		for range 120 {
			packets := f.frame()
			for _, p := range packets {
				f.send(t, p)
			}
		}
		time.Sleep(2 * time.Second)
		if f.asked.Load() == 0 {
			t.Error("no keyframe was asked for")
		}
		play(t, 4*time.Second, f)
		m := demux(t, in(dir, stop(t, rec)[0]))
		if n := len(m.blocks[1]); n < 70 || n > 150 {
			t.Errorf("%d frames", n)
		}
	})
}
