// SPDX-License-Identifier: Apache-2.0

//go:build race

package servertest_test

// slowness is by how much this build is slower than one without the race detector.
const slowness = 8
