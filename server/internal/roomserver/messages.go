// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// savedMessage is what a room keeps of a message for late joiners.
type savedMessage struct {
	message talkcloud.Message // without data and unknown fields
	raw     json.RawMessage   // all of it, as it was sent
	expires time.Time         // zero = never
}

// publishMessage does pubMsg.
func (p *participant) publishMessage(payload json.RawMessage, ack ackFunc) error {
	m, err := decodeMessage(payload)
	if err != nil {
		return err
	}
	if m.ID == talkcloud.MessageClassBegin && !m.DoNotSave {
		return p.beginClass(m, ack)
	}
	r := p.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.gone {
		return refuse(codeFailure, reasonNotJoined, "no longer in the room")
	}
	return r.publish(p, m, r.now(), ack)
}

// publish stamps a message, keeps it if it is to be kept, and tells the room. The mutex is held.
func (r *room) publish(p *participant, m talkcloud.Message, ts talkcloud.Timestamp, ack ackFunc) error {
	m.FromID, m.TS, m.Seq = p.id, ts, r.seq+1
	raw, err := m.MarshalJSON() // and not json.Marshal, which would change the data
	if err != nil {
		return refuse(codeFailure, reasonPayload, "message is not JSON")
	}
	if !m.DoNotSave {
		if err := r.save(m, raw); err != nil {
			return err
		}
	}
	r.seq++
	answer(ack, ok)
	r.deliver(m.To, p, talkcloud.EventPubMsg, json.RawMessage(raw))
	return nil
}

// save keeps a message in place of an earlier one of its id.
func (r *room) save(m talkcloud.Message, raw json.RawMessage) error {
	cfg := &r.server.cfg
	old := r.saved[m.ID]
	bytes, count := r.savedBytes+len(raw), len(r.saved)+1
	if old != nil {
		bytes, count = bytes-len(old.raw), count-1
	}
	if count > cfg.MaxSavedMessages || bytes > cfg.MaxSavedBytes {
		return r.server.over(limitSavedMessages, "the room keeps %d messages and %d bytes of them at most", cfg.MaxSavedMessages, cfg.MaxSavedBytes)
	}
	s := &savedMessage{message: m, raw: raw, expires: expiry(m, cfg.Now())}
	s.message.Data, s.message.Extra = nil, nil
	if r.saved == nil {
		r.saved = make(map[string]*savedMessage)
	}
	r.saved[m.ID], r.savedBytes = s, bytes
	r.expireBy(s.expires)
	return nil
}

// savedFor lists the saved messages that p is to know of, by seq. A user's own and those to nobody are among them.
func (r *room) savedFor(p *participant) []*savedMessage {
	var list []*savedMessage
	for _, s := range r.saved {
		switch to := s.message.To; to {
		case talkcloud.ToAll, talkcloud.ToAllExceptSender, talkcloud.ToNone:
		case talkcloud.ToAllExceptAuditor:
			if p.role == talkcloud.RoleAuditor {
				continue
			}
		default:
			if to != string(p.id) {
				continue
			}
		}
		list = append(list, s)
	}
	slices.SortFunc(list, bySeq)
	return list
}

func bySeq(a, b *savedMessage) int { return cmp.Compare(a.message.Seq, b.message.Seq) }

// deleteMessage does delMsg.
func (p *participant) deleteMessage(payload json.RawMessage, ack ackFunc) error {
	m, err := decodeMessage(payload)
	if err != nil {
		return err
	}
	r := p.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.gone {
		return refuse(codeFailure, reasonNotJoined, "no longer in the room")
	}
	m.FromID = p.id
	answer(ack, ok)
	switch saved := r.saved[m.ID]; {
	case m.ID == talkcloud.MessageAllAll:
		r.deleted(p, m)
		r.clear(p.id)
	case saved != nil:
		r.forget(saved)
		r.deleted(p, m)
		r.deleteWith(m.ID, p.id)
	case m.ID == talkcloud.MessageClassBegin:
		m.To = string(p.id) // it is over already: whoever waits for the echo gets it, and nobody else
		r.deleted(p, m)
	default:
		r.deleted(p, m)
	}
	return nil
}

// clear forgets all saved messages, as deleting __AllAll does. The room is told only if a class ends by it.
func (r *room) clear(from talkcloud.UserID) {
	begin := r.saved[talkcloud.MessageClassBegin]
	clear(r.saved)
	r.savedBytes = 0
	if begin != nil {
		r.endClass()
		r.deleted(nil, deletion(begin, from))
	}
}

// deleteSaved deletes a saved message on the server's own account, and what goes with it.
func (r *room) deleteSaved(s *savedMessage, from talkcloud.UserID) {
	r.forget(s)
	r.deleted(nil, deletion(s, from))
	r.deleteWith(s.message.ID, from)
}

// deleteWith deletes what is associated with a message, and what is associated with that.
func (r *room) deleteWith(id string, from talkcloud.UserID) {
	r.deleteWhere(from, func(m *talkcloud.Message) bool { return m.AssociatedMsgID == id })
}

// deleteWhere deletes the saved messages that match, in order.
func (r *room) deleteWhere(from talkcloud.UserID, match func(*talkcloud.Message) bool) {
	var list []*savedMessage
	for _, s := range r.saved {
		if match(&s.message) {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, bySeq)
	for _, s := range list {
		if r.saved[s.message.ID] == s { // another one's deletion may have taken it along
			r.deleteSaved(s, from)
		}
	}
}

// forget takes a message out of what is saved. With ClassBegin the class ends.
func (r *room) forget(s *savedMessage) {
	delete(r.saved, s.message.ID)
	r.savedBytes -= len(s.raw)
	if s.message.ID == talkcloud.MessageClassBegin {
		r.endClass()
	}
}

// deletion is the delMsg of a saved message that nobody deletes by hand.
func deletion(s *savedMessage, from talkcloud.UserID) talkcloud.Message {
	return talkcloud.Message{Name: s.message.Name, ID: s.message.ID, To: s.message.To, FromID: from}
}

// deleted stamps a delMsg and tells the room.
func (r *room) deleted(p *participant, m talkcloud.Message) {
	r.seq++
	m.TS, m.Seq = r.now(), r.seq
	if m.ID == talkcloud.MessageClassBegin {
		m.TS = max(m.TS, talkcloud.Timestamp(r.server.archive.lastBegin(r.id))) // never before the beginning
	}
	r.deliver(m.To, p, talkcloud.EventDelMsg, m)
}

// maxExpiry is how far in the future an expiry is believed; one beyond is none.
const maxExpiry = 366 * 24 * time.Hour

// expiry returns when a message is to be deleted, zero for never.
func expiry(m talkcloud.Message, now time.Time) time.Time {
	var at time.Time
	if t, ok := talkcloud.Timestamp(m.ExpiresAbs).Time(); ok {
		at = t
	}
	if m.Expires > 0 && m.Expires <= int64(maxExpiry/time.Second) {
		if t := now.Add(time.Duration(m.Expires) * time.Second); at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if at.Sub(now) > maxExpiry {
		return time.Time{}
	}
	return at
}

// expireBy makes sure that expire runs by the time that a message expires. It may run when nothing has expired.
func (r *room) expireBy(at time.Time) {
	if at.IsZero() || (!r.nextExpiry.IsZero() && !at.Before(r.nextExpiry)) {
		return
	}
	if r.expiry != nil {
		r.expiry.Stop()
	}
	r.nextExpiry = at
	r.expiry = time.AfterFunc(max(0, at.Sub(r.server.cfg.Now())), r.expire)
}

// expire deletes what has expired.
func (r *room) expire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	now := r.server.cfg.Now()
	r.nextExpiry = time.Time{}
	var due, later []*savedMessage
	for _, s := range r.saved {
		switch {
		case s.expires.IsZero():
		case s.expires.After(now):
			later = append(later, s)
		default:
			due = append(due, s)
		}
	}
	for _, s := range later {
		r.expireBy(s.expires)
	}
	slices.SortFunc(due, bySeq)
	for _, s := range due {
		if r.saved[s.message.ID] == s { // another one's deletion may have taken it along
			r.deleteSaved(s, s.message.FromID)
		}
	}
}
