// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"context"
	"strings"
	"testing"

	"github.com/classrec/classrec/server/internal/impair"
	"github.com/classrec/classrec/server/internal/ingest"
	"github.com/classrec/classrec/server/internal/publisher"
)

func mustContain(t testing.TB, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("no %q in:\n%s", want, text)
	}
}

// newLink puts a network in front of a server that listens on loopback, until the end of the test.
func newLink(t testing.TB, s *ingest.Server, cfg impair.Config) *impair.Link {
	t.Helper()
	l, err := impair.New(s.Addrs()[0], cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// through offers into s through the link.
func through(l *impair.Link, s *ingest.Server, h ingest.Handler) publisher.Exchange {
	return func(ctx context.Context, offer string) (string, error) {
		_, answer, err := s.Accept(ctx, impair.WithoutCandidates(offer), h)
		return l.Rewrite(answer), err
	}
}

// edit changes the offer on its way.
func edit(x publisher.Exchange, old, with string) publisher.Exchange {
	return func(ctx context.Context, offer string) (string, error) {
		return x(ctx, strings.ReplaceAll(offer, old, with))
	}
}
