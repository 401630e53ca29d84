// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"debug/elf"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDist makes what is released for this platform, unpacks the .deb, and runs what is in it: a static program that
// starts with the packaged configuration, and a unit that systemd understands.
func TestDist(t *testing.T) {
	t.Parallel()
	dist, root := t.TempDir(), t.TempDir()
	run(t, repository, "env", "DIST="+dist, "make", "--silent", "dist", "TARGETS=linux/amd64")
	run(t, dist, "sha256sum", "--check", "--quiet", "SHA256SUMS")
	debs := must[[]string](t)(filepath.Glob(filepath.Join(dist, "*.deb")))
	if len(debs) != 1 {
		t.Fatalf("made %q", debs)
	}
	run(t, dist, "dpkg-deb", "-x", debs[0], root)
	for _, name := range []string{"etc/classrec/config.yaml", "usr/share/man/man1/classrecd.1.gz", "usr/lib/sysusers.d/classrec.conf"} {
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	program := filepath.Join(root, "usr", "bin", "classrecd")
	binary := must[*elf.File](t)(elf.Open(program))
	defer func() { _ = binary.Close() }()
	if libraries := must[[]string](t)(binary.ImportedLibraries()); len(libraries) != 0 {
		t.Errorf("it needs %q", libraries)
	}
	if got := run(t, root, program, "--version"); !strings.HasPrefix(got, "classrecd ") {
		t.Errorf("--version prints %q", got)
	}
	unit := must[[]byte](t)(os.ReadFile(filepath.Join(root, "usr", "lib", "systemd", "system", "classrecd.service")))
	here := filepath.Join(root, "classrecd.service")
	text := strings.ReplaceAll(string(unit), "/usr/bin/classrecd", program)
	if err := os.WriteFile(here, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, root, "systemd-analyze", "verify", "--man=no", here)
}
