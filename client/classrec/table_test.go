// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// On a terminal a list is as wide as that: users are shortened, then columns are
// left out. What names a recording is always whole.
func TestTable_Narrow(t *testing.T) {
	t.Parallel()
	long := begun()
	long.UserId = "老师 of the second year"
	table := func(width int) []string {
		t.Helper()
		var b strings.Builder
		if err := (printer{w: &b, now: clock, width: width}).table([]*classrecv1.Recording{long, failed()}); err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	}
	whole := table(0)
	for width, want := range map[int]string{
		200: "rooms/42/recordings/1795343400  RECORDING  2026-11-22 10:30:00Z  1:05      老师 of the second year  webm    list  0      -",
		112: "rooms/42/recordings/1795343400  RECORDING  2026-11-22 10:30:00Z  1:05      老师 of t…  webm    list  0      -",
		100: "rooms/42/recordings/1795343400  RECORDING  2026-11-22 10:30:00Z  1:05      老师 of the…  0      -",
		90:  "rooms/42/recordings/1795343400  RECORDING  2026-11-22 10:30:00Z  1:05      老师 of …  -",
		80:  "rooms/42/recordings/1795343400  RECORDING  2026-11-22 10:30:00Z  1:05      -",
		75:  "rooms/42/recordings/1795343400  RECORDING  2026-11-22 10:30:00Z  1:05",
		20:  "rooms/42/recordings/1795343400  RECORDING  2026-11-22 10:30:00Z",
	} {
		if got := table(width)[1]; got != want {
			t.Errorf("%d wide:\n%s, want\n%s", width, got, want)
		}
	}
	for width := 70; width < 130; width++ {
		for _, line := range table(width) {
			if places(line) > width {
				t.Errorf("%d wide: %s", width, line)
			}
		}
	}
	if places(whole[1]) >= 130 || strings.Join(table(130), "\n") != strings.Join(whole, "\n") {
		t.Errorf("130 wide:\n%s", strings.Join(table(130), "\n"))
	}
}
