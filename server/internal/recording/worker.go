// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// worker is the one goroutine that works a room. Everything below "owned by
// run" belongs to it; what takes time runs in children that hand back a
// function for run to call.
type worker struct {
	s    *Service
	room string
	log  *slog.Logger

	pokes    chan struct{}     // holds at most one: look at the store again
	entering chan enterRequest // from calls; never closed
	taken    chan *store.Entry // from Run: an unfinished recording of the last life
	results  chan func()       // from children; never closed
	children sync.WaitGroup
	holders  int          // calls that need the worker; guarded by Service.mu
	watchers atomic.Int64 // calls that need the room to be joined for as long as they last
	trouble  atomic.Pointer[error]

	// owned by run
	session  *room.Session
	sub      *room.Subscription
	joinedAs talkcloud.UserID // the identity that the session was asked for with
	joining  bool
	retry    retry
	synced   bool               // the session has told what is in the room
	lost     bool               // the room came back without its state
	away     time.Time          // since when the connection is gone; zero when it is there
	class    *talkcloud.Message // ClassBegin as it is in the room; nil when there is none
	sending  bool               // a publish or delete is under way
	sent     string             // the recording for which ClassBegin was last published
	resumed  string             // the recording that was STARTING when the last life ended
	evicted  bool               // the recording's own identity is somebody else's now
	waiting  []enterRequest
	password talkcloud.Secret // of the room, as the last watcher gave it
	polling  map[string]bool  // recordings whose files are being looked for
	idle     time.Time        // since when nothing needs the room; zero when something does
}

// enterRequest asks for the room to be joined.
type enterRequest struct {
	password talkcloud.Secret
	done     chan error // gets one answer; has room for it
}

func newWorker(s *Service, roomID string) *worker {
	return &worker{
		s: s, room: roomID,
		log:      s.cfg.Logger.With("tenant", s.cfg.Tenant, "room", roomID),
		pokes:    make(chan struct{}, 1),
		entering: make(chan enterRequest),
		taken:    make(chan *store.Entry),
		results:  make(chan func()),
		polling:  map[string]bool{},
	}
}

// poke makes the worker look at the store again.
func (w *worker) poke() {
	select {
	case w.pokes <- struct{}{}:
	default:
	}
}

// enter returns once the room is joined and what is in it is stored.
func (w *worker) enter(ctx context.Context, password talkcloud.Secret) error {
	req := enterRequest{password: password, done: make(chan error, 1)}
	select {
	case w.entering <- req:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-req.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settle returns when the worker has done with what it was at.
func (w *worker) settle(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case w.results <- func() { close(done) }:
		<-done
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// takeUp hands over a recording of the last life. The caller holds the worker.
func (w *worker) takeUp(e *store.Entry) {
	select {
	case w.taken <- e:
	case <-w.s.ctx.Done():
	}
}

// lastTrouble returns why the room cannot be worked now, or nil.
func (w *worker) lastTrouble() error {
	if p := w.trouble.Load(); p != nil {
		return *p
	}
	return nil
}

func (w *worker) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		w.leave()
		w.children.Wait()
		w.s.forget(w)
		w.answer(errNotRunning())
	}()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		due, done := w.step(ctx)
		if done {
			return
		}
		timer.Reset(until(due))
		select {
		case <-ctx.Done():
			return
		case <-w.pokes:
		case <-timer.C:
		case req := <-w.entering:
			w.password = req.password
			w.waiting = append(w.waiting, req)
		case e := <-w.taken:
			w.resume(ctx, e)
		case report := <-w.results:
			report()
		case ev, ok := <-w.events():
			if !ok {
				w.resubscribe()
				continue
			}
			w.observe(ctx, ev)
		}
	}
}

// until returns how long to sleep for a time; a zero time is far away.
func until(at time.Time) time.Duration {
	if at.IsZero() {
		return time.Hour
	}
	return max(0, time.Until(at))
}

// child runs work in a goroutine of its own, and what it returns in run.
func (w *worker) child(ctx context.Context, work func() func()) {
	w.children.Add(1)
	go func() {
		defer w.children.Done()
		report := work()
		select {
		case w.results <- report:
		case <-ctx.Done():
		}
	}()
}

// step does what the present state asks for. It returns when to look again,
// and whether the worker's work is done.
func (w *worker) step(ctx context.Context) (due time.Time, done bool) {
	live := w.live()
	if live != nil && w.overdue(ctx, live) {
		live = w.live()
	}
	if w.synced {
		w.answer(nil)
	}
	needed := live != nil || len(w.waiting) > 0 || w.watchers.Load() > 0
	if needed {
		w.idle = time.Time{}
		due = sooner(due, w.beInRoom(ctx, live))
	} else {
		if w.idle.IsZero() {
			w.idle = time.Now()
		}
		switch end := w.idle.Add(w.s.cfg.Linger); {
		case w.session == nil && !w.joining && len(w.polling) == 0:
			return due, w.s.retire(w)
		case w.session != nil && !time.Now().Before(end):
			w.leave()
			w.poke()
		case w.session != nil:
			due = sooner(due, end)
		}
	}
	if live != nil {
		due = sooner(due, w.work(ctx, live))
		due = sooner(due, deadline(live))
	}
	return due, false
}

func sooner(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

func deadline(e *store.Entry) time.Time {
	if d := e.Record.GetDeadline(); d != nil {
		return d.AsTime()
	}
	return time.Time{}
}

// overdue moves a recording whose deadline has passed.
func (w *worker) overdue(ctx context.Context, live *store.Entry) bool {
	at := deadline(live)
	if at.IsZero() || time.Now().Before(at) {
		return false
	}
	rec := live.Record
	switch rec.GetRecording().GetState() {
	case starting:
		if rec.GetId() == w.resumed && !w.synced && !w.retry.failed() {
			return false // first see whether it began after all
		}
		w.failStart(ctx, rec.GetId(), errStartTimeout(w.lastTrouble()))
	case recording:
		w.apply(ctx, rec.GetId(), stopAsked{reason: classrecv1.EndReason_END_REASON_MAX_DURATION})
	case stopping:
		w.apply(ctx, rec.GetId(), outOfTime{})
	default:
		return false
	}
	return true
}

// beInRoom sees to it that the room is joined, as whom the recording asks for.
func (w *worker) beInRoom(ctx context.Context, live *store.Entry) (due time.Time) {
	if w.joining {
		return time.Time{}
	}
	as := w.identity(live)
	if w.session != nil {
		fresh := isStarting(live) && as.UserID != w.joinedAs
		if !fresh {
			return time.Time{}
		}
	}
	if at := w.retry.at; time.Now().Before(at) && !w.fresh(live) {
		return at
	}
	w.joining = true
	w.child(ctx, func() func() {
		session, err := w.s.rooms.Acquire(ctx, as)
		return func() { w.joined(ctx, as, session, err) }
	})
	return time.Time{}
}

// fresh tells a start that no join has been tried for: it does not wait for
// the pause after an earlier failure.
func (w *worker) fresh(live *store.Entry) bool {
	return isStarting(live) && w.retry.subject != live.Record.GetId()
}

// identity returns how to join: as the recording was asked for, or as a guest.
func (w *worker) identity(live *store.Entry) talkcloud.JoinOptions {
	as := talkcloud.JoinOptions{Room: talkcloud.RoomID(w.room), Nickname: w.s.cfg.Nickname, Password: w.password}
	if live == nil || live.Record.GetJoin() == nil {
		return as
	}
	join := live.Record.GetJoin()
	if join.GetNickname() != "" {
		as.Nickname = join.GetNickname()
	}
	password, err := w.s.cfg.Key.open(live.Record.GetId(), join.GetSealedPassword())
	if err != nil {
		w.log.Error("the room's password cannot be read; joining without", "recording", live.Record.GetRecording().GetName(), "error", err)
	}
	as.Password = password
	if !w.evicted {
		as.UserID = talkcloud.UserID(join.GetUserId())
	}
	return as
}

// joined takes the outcome of a join.
func (w *worker) joined(ctx context.Context, as talkcloud.JoinOptions, session *room.Session, err error) {
	w.joining = false
	if err == nil {
		w.leave()
		w.session, w.joinedAs = session, as.UserID
		w.sub = session.Subscribe()
		w.retry = retry{}
		w.trouble.Store(nil)
		return
	}
	err = public(err)
	w.trouble.Store(&err)
	w.retry.next()
	w.log.Warn("cannot enter the room", "error", err, "attempt", w.retry.attempt)
	w.answer(err)
	live := w.live()
	switch {
	case live == nil:
	case isStarting(live):
		w.retry.subject = live.Record.GetId()
		w.failStart(ctx, live.Record.GetId(), err)
	case final(err):
		w.apply(ctx, live.Record.GetId(), roomClosed{})
	}
}

// answer settles those who wait for the room to be joined.
func (w *worker) answer(err error) {
	for _, req := range w.waiting {
		req.done <- err
	}
	w.waiting = nil
}

// leave gives the session back.
func (w *worker) leave() {
	if w.session == nil {
		return
	}
	w.sub.Close()
	w.session.Release()
	w.session, w.sub, w.joinedAs = nil, nil, ""
	w.synced, w.lost, w.class, w.away = false, false, nil, time.Time{}
}

// live returns the room's live recording, nil when there is none.
func (w *worker) live() *store.Entry {
	live, _ := w.s.store.Live(w.s.cfg.Tenant, w.room)
	return live
}

// isStarting tells a live recording whose begin is not confirmed.
func isStarting(live *store.Entry) bool { return live != nil && stateOf(live) == starting }

func (w *worker) events() <-chan *room.Event {
	if w.sub == nil {
		return nil
	}
	return w.sub.C
}

// resubscribe follows the session anew: the worker was too slow for it, while
// the store was, say. The first event tells what is in the room.
func (w *worker) resubscribe() {
	if w.session != nil {
		w.sub.Close()
		w.sub = w.session.Subscribe()
	}
}

// observe takes what the session saw.
func (w *worker) observe(ctx context.Context, ev *room.Event) {
	switch ev.Kind {
	case room.Snapshot:
		w.snapshot(ctx, ev)
	case room.Published:
		if ev.Message.Key() == talkcloud.MessageClassBegin {
			w.begun(ctx, ev.Message, ev.InList)
		}
	case room.Deleted:
		switch ev.Message.Key() {
		case talkcloud.MessageClassBegin, talkcloud.MessageAllAll:
			w.ended(ctx, ev.Message, ev.InList)
		}
	case room.Connected:
		w.lost = ev.StateLost
		w.trouble.Store(nil)
	case room.Disconnected:
		w.away = ev.At
		if ev.Err != nil {
			err := public(ev.Err)
			w.trouble.Store(&err)
		}
	case room.Ended:
		w.sessionEnded(ctx, ev.Err)
	}
}

func (w *worker) snapshot(ctx context.Context, ev *room.Event) {
	w.synced = true
	for _, m := range ev.Messages {
		if m.Key() == talkcloud.MessageClassBegin {
			w.begun(ctx, m, true)
			return
		}
	}
	w.lost = ev.Vacant
	w.ended(ctx, talkcloud.Message{}, true)
}

// begun takes a ClassBegin that is in the room.
func (w *worker) begun(ctx context.Context, msg talkcloud.Message, inList bool) {
	w.class = &msg
	if live := w.live(); live != nil {
		rec := live.Record
		switch rec.GetRecording().GetState() {
		case starting:
			if w.own(rec, msg, inList) {
				w.apply(ctx, rec.GetId(), begun{msg: msg, user: w.userID(msg), name: w.freeName(msg), inList: false})
				return
			}
			w.failStart(ctx, rec.GetId(), errAlreadyBegun(w.freeName(msg)))
		default:
			w.apply(ctx, rec.GetId(), begun{msg: msg, inList: inList, gap: w.gap(msg)})
			w.lost, w.away = false, time.Time{}
			return
		}
	}
	w.adopt(ctx, msg, inList)
}

// own tells whether a ClassBegin is the one that this recording published, in
// this life or the last.
func (w *worker) own(rec *storev1.Record, msg talkcloud.Message, inList bool) bool {
	from := string(msg.FromID)
	switch {
	case w.sent == rec.GetId() && !inList:
		return from == "" || from == w.user()
	case w.resumed == rec.GetId():
		return from != "" && from == rec.GetJoin().GetUserId()
	}
	return w.sent == rec.GetId() && from != "" && from == w.user()
}

func (w *worker) user() string {
	if w.session == nil {
		return ""
	}
	return string(w.session.User())
}

func (w *worker) userID(msg talkcloud.Message) string {
	if msg.FromID != "" {
		return string(msg.FromID)
	}
	return w.user()
}

// gap returns what a recording has missed when its ClassBegin had to be
// published again.
func (w *worker) gap(msg talkcloud.Message) *classrecv1.RecordingGap {
	if !w.lost {
		return nil
	}
	gap := &classrecv1.RecordingGap{
		EndTime: timestamppb.New(messageTime(msg, now())),
		Reason:  "the room lost its state; the class was begun again",
	}
	if !w.away.IsZero() {
		gap.StartTime = timestamppb.New(w.away)
	}
	return gap
}

// adopt makes a recording of a class that somebody else began.
func (w *worker) adopt(ctx context.Context, msg talkcloud.Message, inList bool) {
	at := now()
	rec := newRecord(w.s.cfg.Tenant, w.room, at)
	rec.Recording.Origin = classrecv1.RecordingOrigin_RECORDING_ORIGIN_ROOM
	c := change{Record: rec, now: at}
	c.begin(begun{msg: msg, user: string(msg.FromID), name: w.freeName(msg), inList: inList})
	w.persist(ctx, func() error {
		if w.live() != nil {
			return nil // another process was faster
		}
		_, err := w.s.store.Append(ctx, rec, w.s.store.RoomRevision(w.s.cfg.Tenant, w.room))
		return err
	})
}

// freeName returns the name that a class begun by msg gets.
func (w *worker) freeName(msg talkcloud.Message) string {
	ts := messageTime(msg, now()).Unix()
	for n := 1; ; n++ {
		name := Name(w.room, ts, n)
		if _, err := w.s.store.ByName(w.s.cfg.Tenant, name); err != nil {
			return name
		}
	}
}

// ended takes that there is no ClassBegin in the room: deleted just now, or
// gone when we looked.
func (w *worker) ended(ctx context.Context, msg talkcloud.Message, gone bool) {
	w.class = nil
	live := w.live()
	if live == nil {
		return
	}
	r := live.Record.GetRecording()
	if gone && w.lost && r.GetState() == recording && r.GetOrigin() == classrecv1.RecordingOrigin_RECORDING_ORIGIN_API {
		return // nobody ended it: work publishes it again
	}
	w.apply(ctx, live.Record.GetId(), ended{msg: msg, gone: gone})
}

// sessionEnded takes that the platform has put us out.
func (w *worker) sessionEnded(ctx context.Context, err error) {
	var wire *talkcloud.Error
	usurped := errors.As(err, &wire) && wire.Code == talkcloud.EvictedSameUser
	err = public(err)
	w.trouble.Store(&err)
	w.leave()
	w.retry.next()
	switch live := w.live(); {
	case isStarting(live):
		w.failStart(ctx, live.Record.GetId(), err)
	case usurped:
		// Somebody else is that user now; the class goes on. Look on as a guest.
		w.evicted = true
	case live != nil:
		w.apply(ctx, live.Record.GetId(), roomClosed{})
	}
	w.answer(err)
}

// work does what the state of the live recording asks for.
func (w *worker) work(ctx context.Context, live *store.Entry) (due time.Time) {
	rec := live.Record
	id := rec.GetId()
	if !w.synced || w.sending || w.session == nil {
		return time.Time{}
	}
	switch rec.GetRecording().GetState() {
	case starting:
		if w.sent != id && w.joinedAs == talkcloud.UserID(rec.GetJoin().GetUserId()) {
			w.publish(ctx, rec)
		}
	case recording:
		if w.class == nil {
			if time.Now().Before(w.retry.at) {
				return w.retry.at
			}
			w.publish(ctx, rec)
		}
	case stopping:
		if w.class == nil {
			w.apply(ctx, id, ended{gone: true})
			w.poke()
			return time.Time{}
		}
		if time.Now().Before(w.retry.at) {
			return w.retry.at
		}
		w.delete(ctx)
	}
	return time.Time{}
}

// publish sends ClassBegin. That it was echoed comes as an event; only a
// failure is reported.
func (w *worker) publish(ctx context.Context, rec *storev1.Record) {
	id, session := rec.GetId(), w.session
	w.sending, w.sent = true, id
	msg := talkcloud.ClassBegin{}.Message()
	msg.Data = talkcloud.TextData(rec.GetClassBeginData())
	w.child(ctx, func() func() {
		_, err := session.Publish(ctx, msg)
		return func() {
			w.sending = false
			if err == nil || ctx.Err() != nil {
				w.retry = retry{}
				return
			}
			err = public(err)
			w.trouble.Store(&err)
			w.retry.next()
			w.log.Warn("ClassBegin is not confirmed", "error", err)
			w.failStart(ctx, id, err)
		}
	})
}

// delete sends the delete of ClassBegin; see publish.
func (w *worker) delete(ctx context.Context) {
	session := w.session
	w.sending = true
	w.child(ctx, func() func() {
		_, err := session.Delete(ctx, talkcloud.ClassEnd())
		return func() {
			w.sending = false
			if err == nil || ctx.Err() != nil {
				w.retry = retry{}
				return
			}
			err = public(err)
			w.trouble.Store(&err)
			w.retry.next()
			w.log.Warn("the delete of ClassBegin is not confirmed", "error", err)
		}
	})
}

func (w *worker) failStart(ctx context.Context, id string, err error) {
	w.apply(ctx, id, startFailed{status: w.s.cfg.Status(err)})
}

// resume takes up a recording of the last life.
func (w *worker) resume(ctx context.Context, e *store.Entry) {
	switch e.Record.GetRecording().GetState() {
	case starting:
		w.resumed = e.Record.GetId()
	case processing:
		w.poll(ctx, e)
	}
}

// apply changes a recording by what happened, and stores it. It tries until
// the store takes it or ctx ends: what happened is not forgotten because the
// store is slow.
func (w *worker) apply(ctx context.Context, id string, ev event) {
	w.persist(ctx, func() error {
		e, changed, err := w.s.change(ctx, w.room, id, ev)
		if err != nil || !changed {
			return err
		}
		w.log.Info("recording is "+stateWord(e.Record), "recording", e.Record.GetRecording().GetName(), "request_id", e.Record.GetRequestId(), "sequence", e.Revision)
		if stateOf(e) == processing {
			w.evicted = false
			w.poll(ctx, e)
		}
		return nil
	})
}

// persist calls write until it succeeds or ctx ends.
func (w *worker) persist(ctx context.Context, write func() error) {
	var r retry
	for {
		err := write()
		switch {
		case err == nil, ctx.Err() != nil:
			return
		case errors.Is(err, store.ErrConflict):
			continue // somebody else wrote in between: look again
		case errors.Is(err, store.ErrNotFound):
			w.log.Error("recording is not in the store", "error", err)
			return
		}
		r.next()
		w.log.Error("cannot store", "error", err, "attempt", r.attempt)
		select {
		case <-time.After(until(r.at)):
		case <-ctx.Done():
			return
		}
	}
}

// retry is a pause that grows: 0.25 s, doubling to 15 s.
type retry struct {
	at      time.Time // not before
	attempt int
	subject string // the recording for which the last try was made
}

func (r *retry) next() {
	r.at = time.Now().Add(min(15*time.Second, 250*time.Millisecond<<min(r.attempt, 10)))
	r.attempt++
}

func (r *retry) failed() bool { return r.attempt > 0 }
