// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
)

const (
	// keyframeRetry is how often a missing keyframe is asked for again.
	keyframeRetry = time.Second
	// keyframeEvery is how old a keyframe may grow before a new one is asked for, so that one can seek.
	keyframeEvery = 10 * time.Second
	// maxFreeze is how long video waits for a keyframe after a loss before it goes on without.
	maxFreeze = 5 * time.Second
	// markerGrace is how long after its marker a frame is held for more packets of the same time.
	markerGrace = 100 * time.Millisecond
	// maxReorder is how far back in time a frame may be shown and be taken for a reordered one.
	maxReorder = 2 * time.Second
	// maxReplay is how long before a recording's beginning something may be that is replayed.
	maxReplay = time.Hour
	// maxDuration bounds every time in a recording; what lies beyond is nonsense.
	maxDuration = 7 * 24 * time.Hour
)

// A Track is one RTP stream on its way into a file. Its methods are safe for concurrent use and never wait for
// the disk.
type Track struct {
	rec    *Recording
	info   TrackInfo
	codec  string
	gone   atomic.Bool // closed, for the writer to see without the lock
	buried int         // flushes since; the writer's
	sender *senderClock
	// What the writer knows: see claim.go.
	claiming          time.Duration // since when a place is sought; 0 before
	claimed, replaced bool
	ignored           bool        // what the track carries is not recorded
	request           atomic.Bool // a keyframe is to be asked for when the lock is released

	mu     sync.Mutex
	jitter jitterBuffer
	outage outage
	clock  *trackClock
	ssrc   uint32
	begun  bool
	ending bool // by Finish: nothing newer is taken
	closed bool

	// video
	depacketizer depacketizer
	frame        []byte // the frame being gathered
	frameTS      uint32
	gathering    bool
	marked       time.Duration // when its marker came; 0 before
	falseMarks   bool          // the source marks packets that do not end their frame
	unsure       bool          // whether the frame's first packet was there is not known
	order        time.Duration // the latest time that a frame was stamped with
	newest       int64         // RTP time, unwrapped, of the frame that is shown last of those that came
	newestAt     time.Duration // and when it is shown
	starved      starvation    // of keyframes
	layers       *layers       // of a simulcast; nil for a picture of one quality
	waitKey      bool          // frames are dropped until a keyframe
	waitSince    time.Duration // of that
	seenKey      bool          // there was a keyframe once
	lastKey      time.Duration // arrival
	lastRequest  time.Duration
	config       *codecConfig
}

func newTrack(rec *Recording, info TrackInfo, codec string, d depacketizer, sender *senderClock) *Track {
	t := &Track{
		rec: rec, info: info, codec: codec, sender: sender,
		clock:        newTrackClock(info.ClockRate, sender),
		depacketizer: d, waitKey: d != nil, lastRequest: -keyframeRetry, unsure: true,
	}
	t.jitter.out, t.jitter.wait = t.ordered, info.Patience
	if d == nil {
		t.config = audioConfig(codec, int(info.Channels))
	}
	return t
}

// kind is the type of the track in a file.
func (t *Track) kind() uint8 {
	if t.info.Kind == Video {
		return trackVideo
	}
	return trackAudio
}

// WriteRTP takes the next packet as it arrived, in any order; p is only read, and not kept. arrival is on the
// clock of Config.Now.
//
// It returns ErrTrackClosed or ErrStopped when there is nothing more to write to, and an error that wraps
// ErrWrite while the disk refuses media: what comes meanwhile is not recorded. The recording tries again by
// itself, and goes on with the packets after that, so the reader should go on too.
// Malformed payloads, losses and a disk that is too slow for a while are no errors: what cannot be written is
// left out, and a keyframe is asked for.
func (t *Track) WriteRTP(p *rtp.Packet, arrival time.Time) error {
	return t.write(p, t.rec.since(arrival))
}

// Replay takes a packet that came before the recording's beginning, as WriteRTP does: those from the last keyframe on, in
// order, before anything else of the track. Their pictures go before the first one of the recording's own time, a
// millisecond each, so that it can be decoded and the file has a picture from its beginning on.
func (t *Track) Replay(p *rtp.Packet, arrival time.Time) error {
	return t.write(p, min(max(arrival.Sub(t.rec.opts.Begin), -maxReplay), maxDuration))
}

// write is WriteRTP at a time since the recording's beginning.
func (t *Track) write(p *rtp.Packet, at time.Duration) error {
	if t.ignored && !t.gone.Load() {
		return nil
	}
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return t.rec.closedError()
	}
	if t.ending && (p.SSRC != t.ssrc || t.jitter.newer(p.SequenceNumber)) {
		t.mu.Unlock()
		return nil
	}
	t.sender.arrived(at)
	if !t.begun || p.SSRC != t.ssrc {
		t.restart(p.SSRC, at)
	}
	if len(p.Payload) > 0 {
		t.clock.observe(p.Timestamp, at)
	}
	t.jitter.push(packet{seq: p.SequenceNumber, marker: p.Marker, ts: p.Timestamp, payload: p.Payload, arrival: at})
	t.checkKeyframe(at)
	t.countLost()
	ended := t.ending && t.jitter.count == 0
	t.mu.Unlock()
	if ended {
		_ = t.Close() // never fails
	}
	t.rec.r.counts.packets.Add(1)
	t.askKeyframe()
	return t.rec.failed()
}

// WriteSenderReport takes an RTCP sender report: at ntp on the sender's clock the stream's RTP clock showed rtp.
// arrival is not needed at present, the packets themselves say how the sender's clock relates to ours.
func (t *Track) WriteSenderReport(ntp time.Time, rtp uint32, arrival time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.clock.report(ntp, rtp)
	}
}

// Finish ends the track as soon as nothing is missing: what is newer than all that came is not taken any more, but
// WriteRTP should be given packets until it returns an error, since those that are missing may still come. Where none is
// missing, or when what is has been given up, it is Close.
func (t *Track) Finish() {
	t.mu.Lock()
	t.ending = true
	whole := t.jitter.count == 0
	t.mu.Unlock()
	if whole {
		_ = t.Close() // never fails
	}
}

// Close ends the track; what waited for missing packets is written. A later track of the same user and codec
// goes on in the same place of the same file. Closing twice is harmless; the error is always nil.
func (t *Track) Close() error {
	t.mu.Lock()
	if !t.closed {
		t.jitter.flush()
		t.finishGathered(t.clock.arrival)
		t.countLost()
		t.closed = true
	}
	t.mu.Unlock()
	t.gone.Store(true)
	t.rec.forget(t)
	return nil
}

// restart begins with a new source of packets.
func (t *Track) restart(ssrc uint32, at time.Duration) {
	if t.begun {
		t.jitter.flush()
		t.finishGathered(at)
		t.countLost()
		t.clock.restart()
		t.outage = outage{}
		t.lose(at)
		t.newest = 0
	} else {
		t.waitSince = at
	}
	t.begun, t.ssrc = true, ssrc
	t.jitter = jitterBuffer{out: t.ordered, wait: t.info.Patience, free: t.jitter.free}
}

// poll does what is due without a packet.
func (t *Track) poll(now time.Duration) {
	t.mu.Lock()
	if !t.closed {
		t.jitter.expire(now)
		if t.marked > 0 && now-t.marked > markerGrace {
			t.finishGathered(now)
		}
		t.countLost()
		t.checkKeyframe(now)
		t.watchKeyframes(now)
	}
	ended := t.ending && !t.closed && t.jitter.count == 0
	t.mu.Unlock()
	if ended {
		_ = t.Close() // never fails
	}
	t.askKeyframe()
}

// countLost counts the packets that were given up.
func (t *Track) countLost() {
	if t.jitter.missing > 0 {
		t.rec.r.counts.lost.Add(t.jitter.missing)
		t.jitter.missing = 0
	}
}

// ordered takes packets in the order of their sequence numbers.
func (t *Track) ordered(p packet, lost bool) {
	t.tellOutage(p)
	if t.depacketizer == nil {
		if len(p.payload) > 0 {
			at := t.clock.at(p.ts)
			t.rec.push(frame{track: t, ts: at, order: at, lasts: audioLength(t.codec, p.payload), key: true, config: t.config}, p.payload)
		}
		return
	}
	if lost {
		if t.gathering && t.marked > 0 && !t.falseMarks {
			t.finish(p.arrival) // it was whole before the loss
		}
		t.lose(p.arrival)
	}
	if len(p.payload) == 0 {
		return // padding
	}
	if t.codec == codecH264 && isMTAP(p.payload) {
		splitMTAP(p, t.gather)
		return
	}
	t.gather(p)
}

// gather takes the next payload of a frame. A frame ends with the first packet of another time (RFC 6184 section 5.1: the
// marker is not to be relied on); its marker matters when nothing follows.
func (t *Track) gather(p packet) {
	if t.gathering && p.ts != t.frameTS {
		t.finish(p.arrival)
	}
	begin := !t.gathering
	if begin {
		t.gathering, t.frameTS, t.frame = true, p.ts, t.frame[:0]
	} else if t.marked > 0 {
		t.falseMarks = true
	}
	t.marked = 0
	var err error
	t.frame, err = t.depacketizer.push(t.frame, p.payload, begin)
	if err != nil || len(t.frame) > maxFrameBytes {
		t.lose(p.arrival)
		return
	}
	if p.marker {
		t.marked = max(p.arrival, 1)
	}
}

// finishGathered ends a frame that no further packet ends.
func (t *Track) finishGathered(arrival time.Duration) {
	if t.depacketizer != nil && t.gathering {
		t.finish(arrival)
	}
}

// finish passes on the gathered frame.
func (t *Track) finish(arrival time.Duration) {
	t.gathering, t.marked = false, 0
	data, info := t.depacketizer.complete(t.frame)
	t.frame = data
	if info.broken || info.headless && t.unsure {
		t.lose(arrival)
		t.unsure = false // what follows begins at a frame's beginning
		return
	}
	t.unsure = false
	if info.empty || len(data) == 0 {
		return
	}
	if info.key {
		t.waitKey, t.seenKey, t.lastKey = false, true, arrival
		if c := t.config; c == nil || c.width != info.width || c.height != info.height || !slices.Equal(c.private, info.private) {
			t.config = &codecConfig{codec: t.codec, private: info.private, width: info.width, height: info.height}
		}
	} else if c := t.config; c != nil && info.width*info.height > c.width*c.height { // a further spatial layer has come
		t.config = &codecConfig{codec: t.codec, private: c.private, width: info.width, height: info.height}
	}
	if t.waitKey {
		if !t.seenKey || arrival-t.waitSince < maxFreeze {
			return
		}
		t.waitKey = false
	}
	t.fed(arrival)
	if !t.pass(t.stamp(), info.key, arrival) {
		t.lose(arrival)
	}
}

// stamp gives the gathered frame its times. Frames come in the order of decoding; one that is shown before a frame that
// has come is reordered.
func (t *Track) stamp() frame {
	f := frame{track: t, config: t.config}
	ext := t.clock.unwrap(t.frameTS)
	if before := t.clock.media(t.newest - ext); before > 0 && before < maxReorder {
		f.ts = max(t.newestAt-before, 0)
		f.reordered = f.ts > 0 // before the beginning there are no times to keep
	} else {
		f.ts = t.clock.at(t.frameTS)
		t.newest, t.newestAt = ext, f.ts
	}
	t.order = max(t.order, f.ts)
	f.order = t.order
	return f
}

// pass hands a frame to the writer, or to the layers that it is one of; false when it is lost.
func (t *Track) pass(f frame, key bool, arrival time.Duration) bool {
	f.key = key
	if t.layers != nil && !t.layers.admit(t, &f, arrival) {
		return true // another layer is recorded
	}
	return t.rec.push(f, t.frame)
}

// lose drops the gathered frame. What follows refers to it, so video pauses until a keyframe: every player
// survives a pause, and few survive frames that refer to nothing.
func (t *Track) lose(at time.Duration) {
	if t.depacketizer == nil {
		return
	}
	t.gathering, t.marked, t.frame, t.unsure = false, 0, t.frame[:0], true
	if !t.waitKey {
		t.waitKey, t.waitSince = true, at
	}
}

// interrupt tells that frames that had been taken are lost.
func (t *Track) interrupt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.lose(t.rec.since(time.Time{}))
	}
}

// checkKeyframe decides whether a keyframe is wanted now.
func (t *Track) checkKeyframe(now time.Duration) {
	if t.rec.failed() != nil {
		return // it could not be written
	}
	if t.depacketizer == nil || !t.begun || now-t.lastRequest < keyframeRetry {
		return
	}
	if t.layers != nil && !t.layers.wants(t, now) {
		return
	}
	if t.waitKey || t.layers.climbs(t, now) || now-max(t.lastKey, t.lastRequest) >= keyframeEvery && now-t.clock.arrival < keyframeRetry {
		t.lastRequest = now
		t.request.Store(true)
	}
}

// askKeyframe passes the wish on, outside of the lock.
func (t *Track) askKeyframe() {
	if t.request.Load() && t.request.Swap(false) && t.info.RequestKeyframe != nil {
		t.info.RequestKeyframe()
	}
}
