// SPDX-License-Identifier: Apache-2.0

//go:build !e2e

package store_test

// syncRounds is how often a change is read at another replica.
const syncRounds = 200
