// SPDX-License-Identifier: Apache-2.0

package server

import "syscall"

// disk is the file system of a directory, in bytes.
type disk struct{ size, free uint64 }

// diskOf asks for it. What is free for us may be less than what is free at all.
func diskOf(dir string) (disk, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return disk{}, err
	}
	block := uint64(st.Bsize) //nolint:gosec // it is positive
	return disk{size: st.Blocks * block, free: st.Bavail * block}, nil
}
