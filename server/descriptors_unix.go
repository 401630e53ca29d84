// SPDX-License-Identifier: Apache-2.0

//go:build unix

package server

import "syscall"

// openFilesLimit is how many files the process may have open, 0 when that is not known.
func openFilesLimit() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return uint64(limit.Cur) //nolint:unconvert // it is signed on some systems
}
