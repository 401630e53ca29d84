// SPDX-License-Identifier: Apache-2.0

package client_test

import "syscall"

// mountSmall mounts a file system of 1 MiB at dir; growSmall makes it larger.
func mountSmall(dir string) error {
	return syscall.Mount("none", dir, "tmpfs", 0, "size=1m")
}

func growSmall(dir string) error {
	return syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT, "size=8m")
}

func unmount(dir string) { _ = syscall.Unmount(dir, 0) }
