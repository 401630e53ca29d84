// SPDX-License-Identifier: Apache-2.0

// Package chaos is tests of what classrec promises when things break, and nothing else: processes are killed at every
// moment of a recording's life, connections of watchers are cut, and what is there afterwards is held against what the
// callers had been told. The tests print figures.
//
// They carry the build tag e2e in a short form, and chaos in a long one (make chaos), whose length the environment sets:
// see settings_test.go. What they do their damage with is package chaostest.
package chaos
