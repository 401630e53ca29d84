// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package server

// openFilesLimit is how many files the process may have open, 0 when that is not known.
func openFilesLimit() uint64 { return 0 }
