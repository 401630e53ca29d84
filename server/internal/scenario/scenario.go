// SPDX-License-Identifier: Apache-2.0

// Package scenario plays from a file what people do in rooms and what goes wrong
// with their platform, for tests that are not in Go: docs/scenario.md has the
// format.
//
// A file is read whole before anything is played, and what is wrong with it is
// told by its line. Steps are played one after the other; what a step has done
// has happened in the room when the next one begins, and what is awaited is
// never found twice, so that a scenario does the same each time. It leaves to
// packages cast and rehearsal how things are done, and to classrecd the server.
package scenario

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/classrec/classrec/server/internal/cast"
	"github.com/classrec/classrec/server/internal/rehearsal"
)

// Scenario is what is to be played. It is made by [Read] and not changed.
type Scenario struct {
	name     string // for messages
	patience time.Duration
	steps    []step
}

// defaultPatience is how long a step may wait; it is long, since who is waited
// for may have to be built first.
const defaultPatience = time.Minute

// step is one line of the play.
type step struct {
	line int
	// text says what is done, without secrets.
	text string
	// within is how long it may take; 0 is the scenario's patience.
	within time.Duration
	// do does it within its context; nil for what is repeated.
	do func(ctx context.Context, p *play) error
	// repeat has the steps to repeat, and times how often; 0 is for ever.
	repeat []step
	times  int
}

// Stage is where a scenario is played.
type Stage struct {
	// Rehearsal is the server's.
	Rehearsal *rehearsal.Rehearsal
	// Logger gets a line for each step that is done.
	Logger *slog.Logger
}

// platformURL is the platform's address for people; they reach it without a port.
const platformURL = "http://platform.scenario"

// Play plays all steps, and then leaves everything as it is until ctx ends: the
// people stay in their rooms. It returns nil when ctx ends, or when the scenario
// says stop; or the first error, with its line. When it returns, everybody has
// left, and nothing is wrong with the platform.
func (s *Scenario) Play(ctx context.Context, stage Stage) error {
	p := &play{
		scenario: s, rehearsal: stage.Rehearsal, log: stage.Logger,
		people: map[string]*cast.Person{}, asked: map[rehearsal.Call]int{},
		cast: cast.New(cast.Config{
			BaseURL: platformURL, DialContext: stage.Rehearsal.Dial, Now: stage.Rehearsal.Clock().Now, Logger: stage.Logger,
		}),
	}
	defer func() {
		stage.Rehearsal.Normal() // what is slow would be slow to stop
		_ = p.cast.Close()       // always nil
	}()
	err := p.play(ctx, s.steps)
	switch {
	case errors.Is(err, errStop) || err != nil && ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	p.log.Info("the scenario is over; classrecd goes on")
	<-ctx.Done()
	return nil
}

// errStop ends a scenario in good order.
var errStop = errors.New("stop")

// play is a scenario that is being played.
type play struct {
	scenario  *Scenario
	rehearsal *rehearsal.Rehearsal
	cast      *cast.Cast
	log       *slog.Logger
	people    map[string]*cast.Person
	asked     map[rehearsal.Call]int // how many calls have been awaited
	turn      int                    // which time the innermost repetition is at, from 1
}

func (p *play) play(ctx context.Context, steps []step) error {
	for _, s := range steps {
		if err := p.step(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (p *play) step(ctx context.Context, s step) error {
	if s.do == nil {
		return p.repeat(ctx, s)
	}
	within := s.within
	if within == 0 {
		within = p.scenario.patience
	}
	bounded, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("not within %v", within))
	defer cancel()
	began := time.Now()
	err := s.do(bounded, p)
	text := p.fill(s.text)
	if err != nil && !errors.Is(err, errStop) {
		return fmt.Errorf("%s:%d: %s: %w", p.scenario.name, s.line, text, err)
	}
	p.log.Info(text, slog.Int("line", s.line), slog.Duration("took", time.Since(began).Round(time.Millisecond)))
	return err
}

func (p *play) repeat(ctx context.Context, s step) error {
	outer := p.turn
	defer func() { p.turn = outer }()
	for p.turn = 1; s.times == 0 || p.turn <= s.times; p.turn++ {
		if err := ctx.Err(); err != nil { // where no step waits
			return err
		}
		if err := p.play(ctx, s.repeat); err != nil {
			return err
		}
	}
	return nil
}

// turnMark stands in texts for the number of the repetition.
const turnMark = "{n}"

// fill puts the number of the repetition into a text.
func (p *play) fill(text string) string {
	if p.turn == 0 {
		return text
	}
	return strings.ReplaceAll(text, turnMark, strconv.Itoa(p.turn))
}

// person is somebody who has joined.
func (p *play) person(name string) (*cast.Person, error) {
	name = p.fill(name)
	if person := p.people[name]; person != nil {
		return person, nil
	}
	return nil, fmt.Errorf("nobody of the name %q has joined", name)
}

// beside is a path as the file of a scenario means it.
func beside(file, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}
