// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/classrec/classrec/client/internal/clienttest"
)

// The printed grpcurl does what the command would have done.
func TestDryRun_Grpcurl(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-modfile=tools/grpcurl/go.mod", "-o", bin, "github.com/fullstorydev/grpcurl/cmd/grpcurl")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build grpcurl: %v: %s", err, out)
	}
	dir := t.TempDir()
	rooms := filepath.Join(dir, "rooms.yaml")
	write(t, rooms, `rooms: {"locked room": {passwords: {teacher: se'cret}}}`)
	secret := filepath.Join(dir, "pass word")
	write(t, secret, "se'cret\n")
	cfg := clienttest.Config(filepath.Join(dir, "data"))
	cfg.RoomsFile = rooms
	s := clienttest.New(t, cfg)
	for room, args := range map[string][]string{
		"42":          {"--format=webm", "--no-chat", "--max-duration=90m", "--nickname=老师 $HOME `id`"},
		"数 学?#%":      {},
		"locked room": {"--room-password-file", secret},
	} {
		printed := must(t, append([]string{"start", room, "--dry-run", "-s", s.GRPC()}, args...)...)
		line, _, _ := strings.Cut(printed, "\n")
		program := exec.CommandContext(clienttest.Context(t), "bash", "-c", line)
		program.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
		out, err := program.CombinedOutput()
		var answer struct{ Recording struct{ Room, State string } }
		if err != nil || json.Unmarshal(out, &answer) != nil || answer.Recording.State != "RECORDING_STATE_RECORDING" || answer.Recording.Room != room {
			t.Errorf("%s: %v: %s", room, err, out)
		}
	}
}
