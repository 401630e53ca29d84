// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"io/fs"
	"syscall"
)

// inodeOf tells a file from one that has taken its name.
func inodeOf(info fs.FileInfo) any {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ino
	}
	return nil
}
