// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// roots trusts the certificate of a server's embedded platform.
func roots(t *testing.T, s *apitest.Server) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(must[[]byte](t)(os.ReadFile(s.Process().RoomCertFile()))) {
		t.Fatal("the room server has no certificate")
	}
	return pool
}

// film publishes a clip with its sound by WHIP, until the test ends.
func film(t *testing.T, s *apitest.Server, room, user string, video, audio func() (*clips.Clip, error)) *publisher.Publisher {
	t.Helper()
	p, err := publisher.PublishWHIP(testContext(t),
		publisher.Config{Video: must[*clips.Clip](t)(video()), Audio: must[*clips.Clip](t)(audio())},
		publisher.WHIP{
			URL:    "https://" + s.Process().RoomAddr().String() + "/whip/" + room + "/" + user,
			Client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots(t, s)}, DisableKeepAlives: true}},
		})
	if err != nil {
		t.Fatalf("publish as %s: %v", user, err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// record records a class of some seconds by the API: two people with cameras, and chat.
func record(t *testing.T, s *apitest.Server, room, options string, teacherVideo func() (*clips.Clip, error)) *classrecv1.Recording {
	t.Helper()
	teacher := film(t, s, room, "teacher", teacherVideo, clips.TeacherAudio)
	film(t, s, room, "student", clips.StudentVideo, clips.StudentAudio)
	platform := must[*talkcloud.Client](t)(talkcloud.New(talkcloud.Config{
		BaseURL: "https://" + s.Process().RoomAddr().String(), RootCAs: roots(t, s),
	}))
	defer func() { _ = platform.Close() }()
	conn := must[*talkcloud.Conn](t)(platform.Join(testContext(t), talkcloud.JoinOptions{Room: talkcloud.RoomID(room), Nickname: "小明"}))
	defer func() { _ = conn.Close() }()

	r := s.Must(t, apitest.Call{Name: apitest.Start, Request: fmt.Sprintf(`{"room": %q, %s}`, room, options)})
	const second = 50 // packets of sound
	before := teacher.Stats().AudioPackets
	played := func(seconds uint64) func() bool {
		return func() bool { return teacher.Stats().AudioPackets >= before+seconds*second }
	}
	eventually(t, "a second of class", played(1))
	if err := conn.SendChat(testContext(t), "大家好 <i>!</i>"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the class", played(4))
	s.Must(t, apitest.Call{Name: apitest.Stop, Request: fmt.Sprintf(`{"name": %q}`, r.GetName())})
	return available(t, s, r.GetName())
}

// TestPlayback records in every format, has ffprobe and ffmpeg check each file, and Chromium play those that browsers can.
func TestPlayback(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	page := openPage(t, "player", "player.html")
	for _, tc := range []struct {
		name, options string
		video         func() (*clips.Clip, error) // of the teacher
		files         map[string][]string         // the streams of each
		plays         map[string][]size           // those that Chromium plays, and what it may show
		chat          bool                        // beside the files
	}{
		{
			"webm file", `"format": "RECORDING_FORMAT_WEBM", "record_type": "RECORD_TYPE_FILE"`, clips.TeacherVideo,
			map[string][]string{"recording.webm": {"vp8", "opus", "vp8", "opus", "webvtt"}},
			map[string][]size{"recording.webm": {{640, 360}, {320, 240}}}, // whoever came first
			true,
		},
		{
			"mp4", `"format": "RECORDING_FORMAT_MP4"`, clips.TeacherVideo, // transcoded
			map[string][]string{"teacher.mp4": {"h264", "aac"}, "student.mp4": {"h264", "aac"}},
			map[string][]size{"teacher.mp4": {{640, 360}}},
			true,
		},
		{
			"mp4 of h264", `"format": "RECORDING_FORMAT_MP4", "record_chat": false`, clips.TeacherH264, // remuxed
			map[string][]string{"teacher.mp4": {"h264", "aac"}, "student.mp4": {"h264", "aac"}},
			map[string][]size{"teacher.mp4": {{640, 360}}},
			false,
		},
		{
			"mkv of h264", `"format": "RECORDING_FORMAT_MKV"`, clips.TeacherH264,
			map[string][]string{"teacher.mkv": {"h264", "opus"}, "student.mkv": {"vp8", "opus"}},
			nil, true,
		},
		{
			"mix", `"record_type": "RECORD_TYPE_MIX", "layout": "RECORDING_LAYOUT_PORTRAIT", "record_chat": false`, clips.TeacherVideo,
			map[string][]string{"recording.mp4": {"h264", "aac"}, "recording.mp3": {"mp3"}},
			map[string][]size{"recording.mp4": {{720, 1280}}, "recording.mp3": {{}}},
			false,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := record(t, s, strings.ReplaceAll(tc.name, " ", "-"), tc.options, tc.video)
			want := len(tc.files)
			captions := ""
			if tc.chat {
				want++
				captions = fileNamed(t, r, "chat.vtt").GetUrl()
			}
			if len(r.GetFiles()) != want {
				t.Errorf("%d files, want %d", len(r.GetFiles()), want)
			}
			for name, codecs := range tc.files {
				f := fileNamed(t, r, name)
				if d := f.GetDuration().AsDuration().Seconds(); d < 3.5 || d > 30 {
					t.Errorf("%s: lasts %v s", name, d)
				}
				checkFile(t, s.HTTP(), f, slices.Clone(codecs)...)
			}
			for name, sizes := range tc.plays {
				p := play(t, page, fileNamed(t, r, name), sizes, captions)
				if tc.chat && (len(p.Cues) != 1 || !strings.Contains(p.Cues[0].Text, "大家好 <i>!</i>") || p.Cues[0].Start < 0.5) {
					t.Errorf("%s: the captions are %+v", name, p.Cues)
				}
			}
		})
	}
}
