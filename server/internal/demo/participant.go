// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// participant is somebody in a room who publishes the way the vendor's web SDK
// does: publish, an offer by signaling_message, and the answer as
// signaling_message_mediaserver (wire protocol, section 6).
type participant struct {
	platform  *talkcloud.Client // closed with it
	conn      *talkcloud.Conn
	publisher *publisher.Publisher
	reading   sync.WaitGroup

	mu      sync.Mutex
	answers map[string]chan string // by stream id; each gets one answer
}

// join enters a room. The participant takes the platform over.
func join(ctx context.Context, platform *talkcloud.Client, opts talkcloud.JoinOptions) (*participant, error) {
	conn, err := platform.Join(ctx, opts)
	if err != nil {
		return nil, err
	}
	p := &participant{platform: platform, conn: conn, answers: map[string]chan string{}}
	p.reading.Go(p.read)
	return p, nil
}

// read takes the answers out of what the room tells, until the connection ends.
func (p *participant) read() {
	for ev := range p.conn.Events() {
		if ev.Name != talkcloud.EventSignalingMessageMediaServer || len(ev.Args) == 0 {
			continue
		}
		var msg struct {
			StreamID string `json:"streamId"`
			Mess     struct {
				Type string `json:"type"`
				SDP  string `json:"sdp"`
			} `json:"mess"`
		}
		if json.Unmarshal(ev.Args[0], &msg) != nil || msg.Mess.Type != "answer" {
			continue
		}
		select {
		case p.answer(msg.StreamID) <- msg.Mess.SDP:
		default: // a second answer to one offer
		}
	}
}

func (p *participant) answer(stream string) chan string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answers[stream] == nil {
		p.answers[stream] = make(chan string, 1)
	}
	return p.answers[stream]
}

// publish plays a clip into the room, until close.
func (p *participant) publish(ctx context.Context, cfg publisher.Config) (err error) {
	p.publisher, err = publisher.Publish(ctx, cfg, p.exchange)
	return err
}

func (p *participant) exchange(ctx context.Context, offer string) (string, error) {
	type object = map[string]any
	me := p.conn.UserID()
	if err := p.conn.Emit(ctx, talkcloud.EventSetProperty, object{"id": me, "toID": talkcloud.ToAll, "properties": object{"publishstate": 3}}); err != nil {
		return "", err
	}
	ack, err := p.conn.Call(ctx, talkcloud.EventPublish, object{
		"state": "ms", "data": false, "audio": true, "video": true, "screen": false,
		"minVideoBW": 0, "attributes": object{"type": "video"}, "extensionId": me,
	}, nil)
	if err != nil {
		return "", err
	}
	var code int
	var stream string
	if len(ack) != 2 || json.Unmarshal(ack[0], &code) != nil || code != 0 || json.Unmarshal(ack[1], &stream) != nil {
		return "", errors.New("the platform does not take the stream")
	}
	if err := p.conn.Emit(ctx, talkcloud.EventSignalingMessage, object{"streamId": stream, "msg": object{"type": "offer", "sdp": offer}}, nil); err != nil {
		return "", err
	}
	select {
	case sdp := <-p.answer(stream):
		return sdp, nil
	case <-p.conn.Done():
		return "", fmt.Errorf("left the room: %w", p.conn.Err()) //nolint:contextcheck // it tells, and does nothing
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// close stops publishing and leaves the room.
func (p *participant) close() error {
	var err error
	if p.publisher != nil {
		err = p.publisher.Close()
	}
	err = errors.Join(err, p.conn.Close())
	p.reading.Wait()
	return errors.Join(err, p.platform.Close())
}
