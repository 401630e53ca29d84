// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/classrec/classrec/server"
)

// tenantsFile writes a file of tenants.
func tenantsFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tenants.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What is wrong with the file is told by its line, and never by what stands
// there.
func TestNew_TenantsRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, want string }{
		"not YAML":            {"tenants: {", "is not YAML"},
		"empty":               {"", "is empty"},
		"no tenant":           {"tenants: {}", "has no tenant"},
		"another key":         {"marked: {}", "line 1: has a key that is not tenants"},
		"a name with a dot":   {"tenants:\n  marked.a: {platform: embedded}", "line 2: has a tenant whose name"},
		"a name of our own":   {"tenants:\n  _marked: {platform: embedded}", "line 2: has a tenant whose name"},
		"two embedded":        {"tenants:\n  a: {platform: embedded}\n  marked: {platform: embedded}", "line 3: has a second tenant whose platform is embedded"},
		"unknown key":         {"tenants:\n  a:\n    platform: embedded\n    marked: 1", "line 4: has a key that is none of platform"},
		"no platform":         {"tenants:\n  marked: {skip-file-check: true}", "line 2: platform: is not https://host:port"},
		"no key":              {"tenants:\n  a: {platform: 'https://marked.example'}", "line 2: enterprise-key-file: needed"},
		"a password in a URL": {"tenants:\n  a: {platform: 'https://me:marked@school.example', enterprise-key-file: k}", "line 2: platform: has a user name in it"},
		"not a truth":         {"tenants:\n  a:\n    platform: embedded\n    skip-file-check: marked", "line 4: has something that is neither true nor false"},
		"not a time":          {"tenants:\n  a:\n    platform: embedded\n    max-duration: marked", "line 4: has a time that is not one"},
		"a limit of nothing":  {"tenants:\n  a:\n    platform: embedded\n    limits:\n      rooms: 0", "line 5: has a limit that is not a whole number above 0"},
		"a limit of calls":    {"tenants:\n  a:\n    platform: embedded\n    limits:\n      calls-per-second: marked", "line 5: has a limit that is not a number above 0"},
		"an unknown limit":    {"tenants:\n  a:\n    platform: embedded\n    limits:\n      marked: 1", "line 5: has a limit that is none of"},
		"another record list": {"tenants:\n  a: {platform: embedded, record-list-url: 'https://marked.example'}", "line 2: record-list-url: the embedded platform has its own"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := anywhere(t.TempDir())
			cfg.TenantsFile = tenantsFile(t, tc.text)
			_, err := server.New(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), "--tenants-file: ") || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "marked") {
				t.Errorf("repeats what is in the file: %v", err)
			}
		})
	}
}

// What each tenant has of its own is not said for all.
func TestNew_TenantsAndFlags(t *testing.T) {
	t.Parallel()
	file := tenantsFile(t, "tenants: {default: {platform: embedded}}")
	for flag, set := range map[string]func(*server.Config){
		"--platform":            func(c *server.Config) { c.Platform = "https://school.example" },
		"--platform-ca-file":    func(c *server.Config) { c.PlatformCAFile = "ca.pem" },
		"--enterprise-key-file": func(c *server.Config) { c.EnterpriseKeyFile = "key" },
		"--record-list-url":     func(c *server.Config) { c.RecordListURL = "https://school.example" },
		"--rich-record-list":    func(c *server.Config) { c.RichRecordList = true },
		"--checkroom-param":     func(c *server.Config) { c.CheckroomParams = map[string]string{"domain": "a"} },
		"--skip-file-check":     func(c *server.Config) { c.SkipFileCheck = true },
		"--tenants-file":        func(c *server.Config) { c.PlatformOnly = true },
	} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			cfg := anywhere(t.TempDir())
			cfg.TenantsFile = file
			set(&cfg)
			if _, err := server.New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), flag+": ") {
				t.Errorf("got %v", err)
			}
		})
	}
}
