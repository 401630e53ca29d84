// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/chaostest"
)

// finish waits for the files of a class that has ended, and checks what remains of it.
func (c *class) finish(ctx context.Context, ended time.Time) error {
	k := c.room.k
	deadline := time.Now().Add(2 * chaostest.Patience)
	var rec *classrecv1.Recording
	for {
		var err error
		if rec, err = c.get(ctx); err != nil {
			return err
		}
		state := rec.GetState()
		if state == classrecv1.RecordingState_RECORDING_STATE_AVAILABLE {
			break
		}
		if state != classrecv1.RecordingState_RECORDING_STATE_PROCESSING {
			return fmt.Errorf("is %v after its end: %v", state, rec.GetFailure())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("is still %v, %v after its end", state, time.Since(ended).Round(time.Second))
		}
		if !chaostest.Pause(ctx, 50*time.Millisecond) {
			return ctx.Err()
		}
	}
	k.note(func() { k.listed = append(k.listed, time.Since(ended)) })
	c.mu.Lock()
	c.gaps = len(rec.GetGaps())
	c.mu.Unlock()
	var errs []error
	parts := map[int64]*part{}
	for _, f := range rec.GetFiles() {
		if err := c.read(ctx, f, parts); err != nil {
			errs = append(errs, fmt.Errorf("file of %q: %w", f.GetUserId(), err))
		}
	}
	k.note(func() { k.parts += len(parts) })
	return errors.Join(append(errs, c.checkGaps(rec, parts), c.checkMedia(parts))...)
}

// checkGaps wants one gap for each time that the class has gone on, in order, and from the end of the process that had
// recorded it last.
func (c *class) checkGaps(rec *classrecv1.Recording, parts map[int64]*part) error {
	k := c.room.k
	c.mu.Lock()
	seen := len(c.goesOn)
	c.mu.Unlock()
	lives := k.node.Lives()
	if n := len(rec.GetGaps()); n < seen || n >= len(lives) {
		return fmt.Errorf("%d gaps; it was seen to go on %d times, in %d lives", n, seen, len(lives))
	}
	// By the platform's clock: whole seconds, of which no two in a room are equal, so that they may run ahead of ours.
	last := rec.GetRecordTime().AsTime()
	for i, g := range rec.GetGaps() {
		start, end, before := g.GetStartTime().AsTime(), g.GetEndTime().AsTime(), last
		if g.GetStartTime() == nil || g.GetEndTime() == nil || g.GetReason() == "" {
			return fmt.Errorf("gap %d is not whole: %v", i, g)
		}
		if start.Before(before) || end.Before(start) {
			return fmt.Errorf("gap %d is from %v to %v, the time before was %v", i, start, end, before)
		}
		last = end
		p := parts[before.Unix()]
		if start.Equal(before) || p == nil || p.begin.IsZero() {
			continue // by our clock it began earlier; or it is not known when
		}
		life := k.node.LifeAt(p.begin)
		if life == nil {
			continue // checkMedia tells
		}
		off := start.Sub(life.Ended())
		k.note(func() { k.starts = append(k.starts, off.Abs()) })
		if off > 100*time.Millisecond || off < -maxStartError {
			return fmt.Errorf("gap %d begins at %v; the process that had recorded it ended at %v", i, start, life.Ended())
		}
	}
	return nil
}

// maxStartError is how much earlier than the kill, which nobody alive has seen, a gap may begin.
const maxStartError = 4 * time.Second

// part is what was recorded from one ClassBegin on.
type part struct {
	begin  time.Time // zero for files that do not say
	people map[string][]chaostest.Track
}

// read fetches and reads one file.
func (c *class) read(ctx context.Context, f *classrecv1.RecordingFile, parts map[int64]*part) error {
	k := c.room.k
	at, err := chaostest.ParseFile(f.GetUrl())
	if err != nil {
		return err
	}
	data, err := k.fetch(ctx, f)
	if err != nil {
		return fmt.Errorf("%s of %d: %w", at.Name, at.RecordTS, err)
	}
	var number int
	k.note(func() { k.files++; number = k.files })
	converted := strings.HasSuffix(at.Name, ".mp4")
	var m *chaostest.Media
	if !converted {
		if m, err = chaostest.ReadMedia(data); err != nil {
			return fmt.Errorf("%s of %d: %w", at.Name, at.RecordTS, err)
		}
	}
	every := 20
	if !long {
		every = 4
	}
	if converted || number%every == 0 {
		if m, err = k.decode(ctx, at.Name, data, m); err != nil {
			return fmt.Errorf("%s of %d: %w", at.Name, at.RecordTS, err)
		}
	}
	p := parts[at.RecordTS]
	if p == nil {
		p = &part{people: map[string][]chaostest.Track{}}
		parts[at.RecordTS] = p
	}
	p.begin = m.Begin
	for _, t := range m.Tracks {
		user := f.GetUserId()
		if user == "" {
			user = t.Name
		}
		p.people[user] = append(p.people[user], t)
	}
	return nil
}

// fetch downloads a file, through all interruptions.
func (k *killing) fetch(ctx context.Context, f *classrecv1.RecordingFile) ([]byte, error) {
	for deadline := time.Now().Add(chaostest.Patience); ; {
		data, err := chaostest.Fetch(ctx, k.http, f.GetUrl(), f.GetSize())
		if err == nil {
			return data, nil
		}
		// A process that is there has the file: what is AVAILABLE can be fetched now.
		if answer := (*chaostest.AnswerError)(nil); errors.As(err, &answer) || ctx.Err() != nil || time.Now().After(deadline) {
			return nil, err
		}
		k.note(func() { k.broken++ })
		chaostest.Pause(ctx, chaostest.UpTo(50*time.Millisecond))
	}
}

// decode has ffmpeg decode a file, and ffprobe tell what is in one that is not read otherwise.
func (k *killing) decode(ctx context.Context, name string, data []byte, m *chaostest.Media) (*chaostest.Media, error) {
	dir, err := os.MkdirTemp("", "classrec-decode")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return nil, err
	}
	if m == nil {
		if m, err = chaostest.Probe(ctx, file); err != nil {
			return nil, err
		}
	}
	if err := chaostest.Decode(ctx, file); err != nil {
		return nil, err
	}
	k.note(func() { k.decoded++ })
	return m, nil
}

// checkMedia holds the files of a class against what was published, life by life: how much is missing at the beginning and
// at the end of each. Where the place in time of its parts is not known, as they were converted, their lengths are.
func (c *class) checkMedia(parts map[int64]*part) error {
	k := c.room.k
	byLife := map[int]*part{}
	for ts, p := range parts {
		if p.begin.IsZero() {
			return c.checkLengths(parts)
		}
		life := k.node.LifeAt(p.begin)
		if life == nil {
			return fmt.Errorf("part %d begins at %v, when there was no process", ts, p.begin)
		}
		if byLife[life.Number] != nil {
			return fmt.Errorf("two parts begin in one life, %d", life.Number)
		}
		byLife[life.Number] = p
	}
	var errs []error
	for _, each := range c.published(byLife) {
		if err := k.weigh(byLife[each.life.Number], each); err != nil {
			errs = append(errs, fmt.Errorf("life %d, %w", each.life.Number, err))
		}
	}
	return errors.Join(errs...)
}

// published is what a person published in one life, of a class that was on.
type published struct {
	user   string
	life   *chaostest.Life
	within chaostest.Session
	killed bool // at its end
}

// published tells what there has to be of a class; byLife are its parts, where their places are known.
func (c *class) published(byLife map[int]*part) (all []published) {
	c.mu.Lock()
	begun, stopped, goesOn := c.begun, c.stopped, c.goesOn
	c.mu.Unlock()
	for _, life := range c.room.k.node.Lives() {
		end := minTime(life.EndOr(time.Now()), stopped)
		from, p := goesOn[life.Number], byLife[life.Number]
		switch {
		case p != nil:
			from = p.begin
		case from.IsZero() && begun.After(life.Began):
			from = begun // it began in this life
		case from.IsZero():
			continue // nobody has seen it go on, and it has not
		}
		for _, person := range c.room.people {
			if s, ok := person.Within(from, end); ok {
				all = append(all, published{user: person.User, life: life, within: s, killed: end.Equal(life.Ended())})
			}
		}
	}
	return all
}

// weigh compares what a person published in a part with what is recorded of it.
func (k *killing) weigh(p *part, is published) error {
	var tracks []chaostest.Track
	if p != nil {
		tracks = p.people[is.user]
	}
	s := is.within
	of := s.To.Sub(s.From)
	var errs []error
	say := func(codec, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: of %v of %s, "+format,
			append([]any{is.user, of.Round(time.Millisecond), codec}, args...)...))
	}
	for _, codec := range []string{"V_", "A_"} {
		first, last := s.To, s.From
		for _, t := range tracks {
			if !strings.HasPrefix(t.Codec, codec) {
				continue
			}
			begin, end := p.begin.Add(t.First), p.begin.Add(t.End)
			last = maxTime(last, end)
			if end.After(s.From) { // else it is of a time before, when they published too
				first = minTime(first, begin)
			}
			k.note(func() {
				k.back = append(k.back, max(begin.Sub(s.From), 0))
				k.holes = append(k.holes, t.Hole)
			})
			if t.Hole > bound(maxHole) {
				say(codec, "nothing came for %v", t.Hole.Round(time.Millisecond))
			}
		}
		if late := first.Sub(s.From); late > bound(maxBack) {
			say(codec, "the first %v are lost", late.Round(time.Millisecond))
		}
		lost := s.To.Sub(last)
		if is.killed {
			k.note(func() { k.losses = append(k.losses, loss{lost: max(lost, 0), of: of}) })
		}
		if lost > bound(maxLoss) {
			say(codec, "the last %v are lost", lost.Round(time.Millisecond))
		}
	}
	return errors.Join(errs...)
}

// checkLengths wants the files of a class to be as long together as what was published, less what may be lost of each
// life.
func (c *class) checkLengths(parts map[int64]*part) error {
	type track struct{ user, codec string }
	want := map[track]time.Duration{}
	for _, each := range c.published(nil) {
		for _, codec := range []string{"V_", "A_"} {
			want[track{each.user, codec}] += max(each.within.To.Sub(each.within.From)-bound(maxLoss), 0)
		}
	}
	var errs []error
	for of, least := range want {
		var length time.Duration
		for _, p := range parts {
			for _, t := range p.people[of.user] {
				if strings.HasPrefix(t.Codec, of.codec) {
					length += t.End - t.First
				}
			}
		}
		if length < least {
			errs = append(errs, fmt.Errorf("%s: its files have %v of %s, and at least %v were published that may not be lost",
				of.user, length.Round(time.Millisecond), of.codec, least.Round(time.Millisecond)))
		}
		if least > 0 {
			c.room.k.note(func() { c.room.k.lengths++ })
		}
	}
	return errors.Join(errs...)
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
