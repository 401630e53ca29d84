// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package main

// allTools tells that every tool that the tests use is there: make e2e has
// installed it.
const allTools = true
