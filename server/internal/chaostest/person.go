// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaostest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Way is how a person publishes.
type Way string

// The ways to publish.
const (
	WHIP   Way = "WHIP"   // RFC 9725
	Vendor Way = "vendor" // as the vendor's SDK does, by messages in the room
)

// Person is somebody in a room with a camera and a microphone, whenever the platform is there: after each interruption
// comes back, and publishes anew.
type Person struct {
	// User is the person's id, unique in the room.
	User string

	node         *Node
	room         string
	way          Way
	video, audio *clips.Clip

	mu       sync.Mutex
	sessions []Session
	failures int // to publish, while the platform was there
}

// Session is a time in which a person published without a break.
type Session struct{ From, To time.Time } // To is zero while it lasts

// NewPerson makes somebody who is not there yet; Run lets them in.
func NewPerson(n *Node, room, user string, way Way, video, audio *clips.Clip) *Person {
	return &Person{User: user, node: n, room: room, way: way, video: video, audio: audio}
}

// Run publishes until ctx ends.
func (p *Person) Run(ctx context.Context) {
	for {
		life, err := p.node.Serving(ctx)
		if err != nil {
			return
		}
		p.publish(ctx, life)
		if !Pause(ctx, 20*time.Millisecond) {
			return
		}
	}
}

// publish publishes within one life of the platform.
func (p *Person) publish(ctx context.Context, life *Life) {
	setup, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	over := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-life.Down():
			cancel()
		case <-over:
		}
	})
	defer waiting.Wait()
	defer close(over)

	media, leave, err := p.enter(setup)
	if err != nil {
		if life.Ended().IsZero() && ctx.Err() == nil {
			p.mu.Lock()
			p.failures++
			p.mu.Unlock()
		}
		return
	}
	p.mu.Lock()
	p.sessions = append(p.sessions, Session{From: time.Now()})
	p.mu.Unlock()
	select {
	case <-life.Down():
	case <-media.Failed():
	case <-ctx.Done():
	}
	now := time.Now()
	p.mu.Lock()
	p.sessions[len(p.sessions)-1].To = minTime(now, life.EndOr(now))
	p.mu.Unlock()
	_ = media.Close() // the server may be gone
	leave()
}

// enter connects; leave is to be called after media is closed.
func (p *Person) enter(ctx context.Context) (media *publisher.Publisher, leave func(), err error) {
	roots, err := p.node.Roots()
	if err != nil {
		return nil, nil, err
	}
	cfg := publisher.Config{Video: p.video, Audio: p.audio, ConnectTimeout: 5 * time.Second}
	if p.way == Vendor {
		v, err := joinVendor(ctx, talkcloud.Config{BaseURL: "https://" + p.node.RoomAddr(), RootCAs: roots},
			talkcloud.JoinOptions{Room: talkcloud.RoomID(p.room), UserID: talkcloud.UserID(p.User), Nickname: p.User})
		if err != nil {
			return nil, nil, err
		}
		media, err := publisher.Publish(ctx, cfg, v.exchange)
		if err != nil {
			v.close()
			return nil, nil, err
		}
		return media, v.close, nil
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	media, err = publisher.PublishWHIP(ctx, cfg, publisher.WHIP{
		URL: "https://" + p.node.RoomAddr() + "/whip/" + p.room + "/" + p.User, Client: &http.Client{Transport: transport},
	})
	return media, func() {}, err
}

// Sessions are the times of publishing so far.
func (p *Person) Sessions() []Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Session(nil), p.sessions...)
}

// Failures is how often publishing failed while the platform was there.
func (p *Person) Failures() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failures
}

// Within returns the last part of the time from begin to end in which the person published; ok is false when there is
// none.
func (p *Person) Within(begin, end time.Time) (s Session, ok bool) {
	for _, each := range p.Sessions() {
		if each.To.IsZero() {
			each.To = end
		}
		from, to := maxTime(each.From, begin), minTime(each.To, end)
		if from.Before(to) {
			s, ok = Session{From: from, To: to}, true
		}
	}
	return s, ok
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Clips are what people publish, by name. They are parsed once and shared.
type Clips struct{ TeacherVP8, TeacherH264, TeacherOpus, StudentVP8, StudentOpus *clips.Clip }

// LoadClips parses them.
func LoadClips(tb testing.TB) *Clips {
	tb.Helper()
	var c Clips
	for _, load := range []struct {
		to   **clips.Clip
		from func() (*clips.Clip, error)
	}{
		{&c.TeacherVP8, clips.TeacherVideo},
		{&c.TeacherH264, clips.TeacherH264},
		{&c.TeacherOpus, clips.TeacherAudio},
		{&c.StudentVP8, clips.StudentVideo},
		{&c.StudentOpus, clips.StudentAudio},
	} {
		clip, err := load.from()
		if err != nil {
			tb.Fatal(err)
		}
		*load.to = clip
	}
	return &c
}

// vendorPeer is a participant who publishes as the vendor's SDK does: publish, then an offer in the room, whose answer
// comes as a message of the media server.
type vendorPeer struct {
	platform *talkcloud.Client
	conn     *talkcloud.Conn
	answers  chan string // the SDP of each answer; a second one that nobody takes is dropped
	reading  sync.WaitGroup
}

func joinVendor(ctx context.Context, cfg talkcloud.Config, opts talkcloud.JoinOptions) (*vendorPeer, error) {
	platform, err := talkcloud.New(cfg)
	if err != nil {
		return nil, err
	}
	conn, err := platform.Join(ctx, opts)
	if err != nil {
		return nil, errors.Join(err, platform.Close())
	}
	v := &vendorPeer{platform: platform, conn: conn, answers: make(chan string, 1)}
	v.reading.Go(v.read)
	return v, nil
}

func (v *vendorPeer) read() {
	for ev := range v.conn.Events() {
		if ev.Name != talkcloud.EventSignalingMessageMediaServer || len(ev.Args) == 0 {
			continue
		}
		var msg struct {
			Mess struct {
				Type string `json:"type"`
				SDP  string `json:"sdp"`
			} `json:"mess"`
		}
		if json.Unmarshal(ev.Args[0], &msg) != nil || msg.Mess.Type != "answer" {
			continue
		}
		select {
		case v.answers <- msg.Mess.SDP:
		default:
		}
	}
}

func (v *vendorPeer) exchange(ctx context.Context, offer string) (string, error) {
	type object = map[string]any
	me := v.conn.UserID()
	ack, err := v.conn.Call(ctx, talkcloud.EventPublish, object{
		"state": "ms", "data": false, "audio": true, "video": true, "screen": false,
		"attributes": object{"type": "video"}, "extensionId": me,
	}, nil)
	if err != nil {
		return "", err
	}
	var code int
	var stream string
	if len(ack) != 2 || json.Unmarshal(ack[0], &code) != nil || code != 0 || json.Unmarshal(ack[1], &stream) != nil {
		return "", errors.New("the platform does not take the stream")
	}
	if err := v.conn.Emit(ctx, talkcloud.EventSignalingMessage, object{"streamId": stream, "msg": object{"type": "offer", "sdp": offer}}, nil); err != nil {
		return "", err
	}
	select {
	case sdp := <-v.answers:
		return sdp, nil
	case <-v.conn.Done():
		return "", fmt.Errorf("out of the room: %w", io.ErrUnexpectedEOF)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (v *vendorPeer) close() {
	_ = v.conn.Close()
	v.reading.Wait()
	_ = v.platform.Close()
}
