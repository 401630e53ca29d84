// SPDX-License-Identifier: Apache-2.0

//go:build chaos

package chaos_test

// long chooses between the two forms of the tests.
const long = true
