// SPDX-License-Identifier: Apache-2.0

//go:build !e2e

package main

// allTools tells that every tool that the tests use is there. Tests skip what
// they cannot do without.
const allTools = false
