// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAPIDocument has docs/api.md made again, and it is the same. make checkgenerate compares all that is generated; this
// takes seconds, for grpcurl compiles the protos.
func TestAPIDocument(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// grpcurl writes what the services of the protos need. This one needs all of them.
	var all strings.Builder
	all.WriteString("syntax = \"proto3\";\npackage all;\n")
	protos := exec.CommandContext(t.Context(), "git", "ls-files", "*.proto")
	protos.Dir = filepath.Join(repository, "proto")
	for name := range strings.Lines(string(must[[]byte](t)(protos.Output()))) {
		fmt.Fprintf(&all, "import %q;\n", strings.TrimSpace(name))
	}
	all.WriteString("service All {}\n")
	if err := os.WriteFile(filepath.Join(dir, "all.proto"), []byte(all.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	generate := background(t, "make --silent protodeps && "+
		".build/grpcurl -import-path proto -import-path .build/protodeps -import-path "+dir+" -proto all.proto -protoset-out "+dir+"/proto.binpb describe && "+
		"cd tools/gen && go run ./apidoc "+dir+"/proto.binpb "+dir+"/api.md")
	if err := generate.wait(t); err != nil {
		t.Fatalf("%v\n%s", err, generate.output())
	}
	diff := exec.CommandContext(t.Context(), "diff", "-u", filepath.Join(repository, "docs", "api.md"), filepath.Join(dir, "api.md"))
	if out, err := diff.CombinedOutput(); err != nil {
		t.Errorf("docs/api.md is not what proto/ gives; make generate mends it:\n%s", out)
	}
}
