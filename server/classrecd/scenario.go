// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/rehearsal"
	"github.com/classrec/classrec/server/internal/scenario"
)

// rehearse reads --scenario and prepares a server for it; nil where there is
// none.
func (f *serverFlags) rehearse(cfg *server.Config) (*scenario.Scenario, error) {
	if f.Scenario == "" {
		return nil, nil
	}
	s, err := scenario.Read(f.Scenario)
	if err != nil {
		return nil, fmt.Errorf("--scenario: %w", err)
	}
	cfg.Rehearsal = rehearsal.New(cfg.Logger.With("part", "rehearsal"))
	// Nobody wants to wait for what is only played.
	cfg.PollMin, cfg.PollMax = 20*time.Millisecond, 250*time.Millisecond
	return s, nil
}

// runScenario runs a server while a scenario is played on it. People leave before
// the server stops.
func runScenario(ctx context.Context, s *server.Server, play *scenario.Scenario, stage scenario.Stage) error {
	g, ctx := errgroup.WithContext(ctx)
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { return s.Run(serving) })
	g.Go(func() error {
		defer stop()
		if err := play.Play(ctx, stage); err != nil {
			return fmt.Errorf("--scenario: %w", err)
		}
		return nil
	})
	return g.Wait()
}
