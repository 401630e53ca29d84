// SPDX-License-Identifier: Apache-2.0

package ffmpeg

import (
	"os"
	"syscall"
)

// setPipeSize is F_SETPIPE_SZ of fcntl(2).
const setPipeSize = 1031

// widen makes a pipe hold a few pictures, so that both ends work at a time. That it fails is no matter.
func widen(f *os.File) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, fd, setPipeSize, pipeBytes)
	})
}
