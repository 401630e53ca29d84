// SPDX-License-Identifier: Apache-2.0

//go:build chaos

package store_test

const damageRounds = 1000
