// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package gateway_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/classrec/classrec/gen/openapi"
)

// An independent validator finds no fault with the document, and each example in it is of its schema.
func TestOpenAPI_Valid(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "openapi.json")
	if err := os.WriteFile(file, []byte(openapi.Document()), 0o600); err != nil {
		t.Fatal(err)
	}
	// It exits with 1 for an error; warnings are errors here (redocly.yaml).
	cmd := exec.CommandContext(t.Context(), filepath.Join("testdata", "node", "node_modules", ".bin", "redocly"),
		"lint", "--config", filepath.Join("testdata", "node", "redocly.yaml"), file)
	cmd.Env = append(os.Environ(), "REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v (make setup-e2e installs the validator)\n%s", err, out)
	}
}
