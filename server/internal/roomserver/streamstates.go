// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"encoding/json"

	"github.com/classrec/classrec/server/internal/recorder"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// The values of a participant's property publishstate that say what is muted; the others (none, both) say nothing.
const (
	publishAudio = 1
	publishVideo = 2
	publishMuted = 4
)

// muting is what a publisher has said of a stream by updatestream.
type muting struct{ audio, video bool }

// updated is what is muted after an updatestream. What it does not say stays as it was.
func (m muting) updated(config json.RawMessage) muting {
	var c struct {
		Mute struct {
			Audio talkcloud.Scalar `json:"audio"`
			Video talkcloud.Scalar `json:"video"`
		} `json:"muteStream"`
	}
	if json.Unmarshal(config, &c) != nil {
		return m
	}
	if !c.Mute.Audio.IsZero() {
		m.audio = c.Mute.Audio.String() == "true"
	}
	if !c.Mute.Video.IsZero() {
		m.video = c.Mute.Video.String() == "true"
	}
	return m
}

// noteStream tells the class that goes on what has become of a stream, for the arrangement of a mixed picture. The
// room's mutex is held.
func (r *room) noteStream(st *stream) {
	c := r.class.Load()
	if c == nil || c.manifest.RecordType != talkcloud.RecordTypeMix {
		return
	}
	p := st.owner
	properties := p.shownProperties()
	state := recorder.StreamState{
		Stream: st.id, User: string(p.id), Name: properties.nickname, Teacher: p.role == talkcloud.RoleTeacher,
		Screen: st.publication.shared(), AudioMuted: st.muted.audio, VideoMuted: st.muted.video, Ended: !st.live,
	}
	if !state.Screen { // publishstate is of the camera and its microphone
		switch properties.publishState {
		case publishAudio:
			state.VideoMuted = true
		case publishVideo:
			state.AudioMuted = true
		case publishMuted:
			state.AudioMuted, state.VideoMuted = true, true
		}
	}
	c.rec.StreamChanged(state, r.server.cfg.Now())
}

// noteStreams does so for the streams of a participant, or of all with nil.
func (r *room) noteStreams(p *participant) {
	if c := r.class.Load(); c == nil || c.manifest.RecordType != talkcloud.RecordTypeMix {
		return
	}
	for _, st := range r.liveStreams() {
		if p == nil || st.owner == p {
			r.noteStream(st)
		}
	}
}

// shownProperties are those that say how a participant is shown.
type shownProperties struct {
	nickname     string
	publishState int64
}

func (p *participant) shownProperties() shownProperties {
	var fields struct {
		Nickname     talkcloud.Scalar `json:"nickname"`
		PublishState talkcloud.Scalar `json:"publishstate"`
	}
	if json.Unmarshal(p.properties, &fields) != nil {
		return shownProperties{}
	}
	state, _ := fields.PublishState.Int() // 0 says nothing
	return shownProperties{fields.Nickname.String(), state}
}

// shared reports whether a stream is a shared screen, a file or a film, and not a camera.
func (p publication) shared() bool {
	switch p.source() {
	case "screen", "media", "file":
		return true
	}
	return string(p.Screen) == "true"
}
