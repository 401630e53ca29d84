// SPDX-License-Identifier: Apache-2.0

package cast

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/mediafile"
	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Media is what is published: one of them may be nil, not both. It is played
// again and again; of sound that is longer than the pictures, the rest is not.
type Media = mediafile.Media

// Pattern is the test pattern of a role: a running clock that flashes, in VP8,
// with a beep a second, in Opus; that of a teacher is larger and lower.
func Pattern(role Role) (Media, error) {
	pictures, sound := clips.StudentVideo, clips.StudentAudio
	if role == talkcloud.RoleTeacher {
		pictures, sound = clips.TeacherVideo, clips.TeacherAudio
	}
	video, err := pictures()
	if err != nil {
		return Media{}, err
	}
	audio, err := sound()
	return Media{Video: video, Audio: audio}, err
}

// Files reads media from files (see package mediafile): the first pictures and
// the first sound that there are.
func Files(paths ...string) (Media, error) {
	var m Media
	for _, path := range paths {
		one, err := mediafile.Read(path)
		if err != nil {
			return Media{}, err
		}
		if m.Video == nil {
			m.Video = one.Video
		}
		if m.Audio == nil {
			m.Audio = one.Audio
		}
	}
	if m.Video == nil && m.Audio == nil {
		return m, errors.New("no file is given")
	}
	return m, nil
}

// Stream is what somebody publishes.
type Stream struct {
	person    *Person
	id        string
	publisher *publisher.Publisher
}

// Publish plays media into the room, by WebRTC in real time, until it is stopped
// or the person goes. It returns when the room has been told of it: from then on
// what is sent is recorded, while a class is on.
func (p *Person) Publish(ctx context.Context, media Media) (*Stream, error) {
	conn, err := p.connection()
	if err != nil {
		return nil, err
	}
	s := &Stream{person: p}
	s.publisher, err = publisher.Publish(ctx, publisher.Config{Video: media.Video, Audio: media.Audio, Logger: p.cast.cfg.Logger},
		func(ctx context.Context, offer string) (string, error) { return s.exchange(ctx, conn, media, offer) })
	if err != nil {
		return nil, err
	}
	ev, err := p.find(ctx, 0, func(_ int, ev Event) bool {
		return ev.Kind == MediaBegun && ev.Text == s.id || ev.Kind == Out && p.conn == conn && !p.in
	})
	if err == nil && ev.Kind == Out {
		err = p.outError()
	}
	if err != nil {
		return nil, errors.Join(err, s.publisher.Close())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streams = append(p.streams, s)
	return s, nil
}

// exchange is what the vendor's web SDK does: publishstate, publish, the offer
// by signaling_message, and the answer as signaling_message_mediaserver.
func (s *Stream) exchange(ctx context.Context, conn *talkcloud.Conn, media Media, offer string) (string, error) {
	type object = map[string]any
	me := conn.UserID()
	if err := conn.Emit(ctx, talkcloud.EventSetProperty, object{"id": me, "toID": talkcloud.ToAll, "properties": object{"publishstate": 3}}); err != nil {
		return "", err
	}
	ack, err := conn.Call(ctx, talkcloud.EventPublish, object{
		"state": "ms", "data": false, "audio": media.Audio != nil, "video": media.Video != nil, "screen": false,
		"minVideoBW": 0, "attributes": object{"type": "video"}, "extensionId": me,
	}, nil)
	if err != nil {
		return "", err
	}
	var code int
	if len(ack) != 2 || json.Unmarshal(ack[0], &code) != nil || code != 0 || json.Unmarshal(ack[1], &s.id) != nil {
		return "", fmt.Errorf("the platform does not take the stream: %s", ack)
	}
	if err := conn.Emit(ctx, talkcloud.EventSignalingMessage, object{"streamId": s.id, "msg": object{"type": "offer", "sdp": offer}}, nil); err != nil {
		return "", err
	}
	p := s.person
	p.mu.Lock()
	answer := p.answer(s.id)
	p.mu.Unlock()
	select {
	case sdp := <-answer:
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.answers, s.id)
		return sdp, nil
	case <-conn.Done():
		return "", p.outError()
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// answer is where the answer of a stream comes. The mutex is held.
func (p *Person) answer(stream string) chan string {
	if p.answers[stream] == nil {
		p.answers[stream] = make(chan string, 1)
	}
	return p.answers[stream]
}

// answered takes an answer of the media server. The mutex is held.
func (p *Person) answered(ev talkcloud.Event) {
	if ev.Name != talkcloud.EventSignalingMessageMediaServer || len(ev.Args) == 0 {
		return
	}
	var msg struct {
		StreamID string `json:"streamId"`
		Mess     struct {
			Type string `json:"type"`
			SDP  string `json:"sdp"`
		} `json:"mess"`
	}
	if json.Unmarshal(ev.Args[0], &msg) != nil || msg.Mess.Type != "answer" {
		return
	}
	select {
	case p.answer(msg.StreamID) <- msg.Mess.SDP:
	default: // a second answer to one offer
	}
}

// Sent is what has been sent so far.
func (s *Stream) Sent() publisher.Stats { return s.publisher.Stats() }

// Mute stops sound, pictures or both, or has them go on.
func (s *Stream) Mute(ctx context.Context, audio, video bool) error {
	return errors.Join(s.publisher.Mute(ctx, publisher.Audio, audio), s.publisher.Mute(ctx, publisher.Video, video))
}

// Mute mutes all streams of the person, as [Stream.Mute].
func (p *Person) Mute(ctx context.Context, audio, video bool) error {
	var errs []error
	for _, s := range p.published() {
		errs = append(errs, s.Mute(ctx, audio, video))
	}
	return errors.Join(errs...)
}

// Unpublish ends all streams of the person, as [Stream.Stop].
func (p *Person) Unpublish() {
	for _, s := range p.published() {
		s.Stop()
	}
}

func (p *Person) published() []*Stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.streams)
}

// Stop ends the stream. What has ended already stays so.
func (s *Stream) Stop() {
	p := s.person
	p.mu.Lock()
	i := slices.Index(p.streams, s)
	if i >= 0 {
		p.streams = slices.Delete(p.streams, i, i+1)
	}
	in, conn := p.in, p.conn
	p.mu.Unlock()
	if i >= 0 && in {
		// When it cannot be said, the connection ends, and the stream with it.
		_ = conn.Emit(context.Background(), talkcloud.EventUnpublish, s.id)
	}
	_ = s.publisher.Close() // nobody is to be told good-bye
}
