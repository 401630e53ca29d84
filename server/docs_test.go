// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// markdown are the documents, by their paths in the repository.
func markdown(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, root := range []string{"README.md", "CHANGELOG.md", "SECURITY.md", "docs"} {
		err := fs.WalkDir(os.DirFS(".."), root, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == "target") {
				return fs.SkipDir
			}
			if filepath.Ext(name) != ".md" {
				return nil
			}
			text, err := os.ReadFile(filepath.Join("..", name))
			all[name] = string(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// What a document links to in the repository is there; a place in a document too.
func TestDocLinks(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading := regexp.MustCompile(`(?m)^#+ +(.+)$`)
	notInAnchor := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	documents := markdown(t)
	if len(documents) < 10 {
		t.Fatalf("only %d documents found", len(documents))
	}
	for name, text := range documents {
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, ":") {
				continue // elsewhere
			}
			to := name
			if target != "" {
				to = filepath.Join(filepath.Dir(name), target)
			}
			if _, err := os.Stat(filepath.Join("..", to)); err != nil {
				t.Errorf("%s: links to %s, which is not there", name, match[1])
				continue
			}
			if anchor == "" {
				continue
			}
			found := false
			for _, h := range heading.FindAllStringSubmatch(documents[to], -1) {
				place := strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")
				found = found || place == anchor
			}
			if !found {
				t.Errorf("%s: links to %s, and there is no such heading", name, match[1])
			}
		}
	}
}

// Every reason that the code gives to an error is described in docs/errors.md,
// those of the platform in docs/talkcloud.md too; and no other.
func TestDocErrors(t *testing.T) {
	t.Parallel()
	documents := markdown(t)
	text, platform := documents["docs/errors.md"], documents["docs/talkcloud.md"]
	reason := regexp.MustCompile(`(?i)reason\w*\b[^"]*"([A-Z][A-Z_]+)"`)
	given := map[string]bool{}
	for _, file := range goFiles(t, "server") {
		if strings.HasSuffix(file, "_test.go") || strings.Contains(file, "test/") || strings.Contains(file, "internal/rehearsal") {
			continue
		}
		code, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(code)) {
			if match := reason.FindStringSubmatch(line); match != nil && !strings.HasSuffix(match[1], "_") {
				given[match[1]] = true
			}
		}
	}
	if len(given) < 40 {
		t.Errorf("only %d reasons found", len(given))
	}
	for name := range given {
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(text) {
			t.Errorf("the reason %s is not in docs/errors.md", name)
		}
		if strings.HasPrefix(name, "PLATFORM_") && !strings.Contains(platform, name) {
			t.Errorf("the reason %s is not in docs/talkcloud.md", name)
		}
	}
	for _, match := range regexp.MustCompile(`(?m)^\| ([A-Z][A-Z_, ]+) \|`).FindAllStringSubmatch(text, -1) {
		for name := range strings.SplitSeq(match[1], ", ") {
			if !given[name] {
				t.Errorf("docs/errors.md describes %s, which the code does not give", name)
			}
		}
	}
}

// Every flag that is about the platform is explained in docs/talkcloud.md.
func TestDocPlatformFlags(t *testing.T) {
	t.Parallel()
	help, err := os.ReadFile(filepath.Join("classrecd", "testdata", "help.txt"))
	if err != nil {
		t.Fatal(err)
	}
	_, platform, _ := strings.Cut(string(help), "\nPlatform:\n")
	platform, _, _ = strings.Cut(platform, "\n\n")
	flags := regexp.MustCompile(`(?m)^  (--[a-z-]+)`).FindAllStringSubmatch(platform, -1)
	if len(flags) < 8 {
		t.Fatalf("only %d flags found", len(flags))
	}
	text := markdown(t)["docs/talkcloud.md"]
	for _, flag := range flags {
		if !strings.Contains(text, "`"+flag[1]+"`") && !strings.Contains(text, "`"+flag[1]+" ") {
			t.Errorf("%s is not in docs/talkcloud.md", flag[1])
		}
	}
}

// Every test that the documents give as a proof is there. TestX_* stands for all
// whose names begin so, TestX/part for TestX.
func TestDocTests(t *testing.T) {
	t.Parallel()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z]\w*)\(`)
	var tests []string
	for _, file := range goFiles(t, ".") {
		if !strings.HasSuffix(file, "_test.go") {
			continue
		}
		code, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range declared.FindAllStringSubmatch(string(code), -1) {
			tests = append(tests, match[1])
		}
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)(\\*?)(?:/[^`]*)?`")
	found := map[string]int{}
	for name, text := range markdown(t) {
		for _, match := range named.FindAllStringSubmatch(text, -1) {
			found[name]++
			there := slices.ContainsFunc(tests, func(test string) bool {
				return test == match[1] || match[2] == "*" && strings.HasPrefix(test, match[1])
			})
			if !there {
				t.Errorf("%s: the test %s%s is not there", name, match[1], match[2])
			}
		}
	}
	if found["SECURITY.md"] < 30 || found["docs/security.md"] < 10 {
		t.Errorf("only so many tests found: %v", found)
	}
}
