// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/recording"
)

// visible returns what tells the rooms that exist for the caller; nil when all
// do.
func visible(ctx context.Context) func(room string) bool {
	p, ok := auth.FromContext(ctx)
	switch {
	case !ok:
		return func(string) bool { return false }
	case p.SeesAllRooms():
		return nil
	}
	return p.SeesRoom
}

// rooms returns the rooms that exist for the caller.
func rooms(ctx context.Context) recording.Rooms {
	r := recording.Rooms{Visible: visible(ctx)}
	p, ok := auth.FromContext(ctx)
	if ok && r.Visible != nil && !slices.ContainsFunc(p.Rooms, func(pattern string) bool { return strings.ContainsAny(pattern, "*?[\\") }) {
		r.Only = p.Rooms
	}
	return r
}

// seesRoom returns the error of a room that does not exist, for one that does
// not exist for the caller.
func seesRoom(ctx context.Context, room string) error {
	if sees := visible(ctx); sees != nil && !sees(room) {
		return recording.ErrNoRoom(room)
	}
	return nil
}

// seesRecording is seesRoom for the name of a recording.
func seesRecording(ctx context.Context, name string) error {
	sees := visible(ctx)
	if sees == nil {
		return nil
	}
	if room, _, err := recording.ParseName(name); err != nil || !sees(room) {
		return recording.ErrNoRecording(name)
	}
	return nil
}

// unseen takes out of an error the name of a recording that does not exist for
// the caller: a request_id may have been used in any room.
func unseen(ctx context.Context, err error) error {
	var known *recording.Error
	if err == nil || !errors.As(err, &known) || known.Metadata["recording"] == "" ||
		seesRecording(ctx, known.Metadata["recording"]) == nil {
		return err
	}
	without := *known
	without.Metadata = maps.Clone(known.Metadata)
	delete(without.Metadata, "recording")
	return &without
}
