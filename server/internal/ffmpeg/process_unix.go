// SPDX-License-Identifier: Apache-2.0

//go:build unix

package ffmpeg

import (
	"os/exec"
	"syscall"
)

// isolate gives the command a process group, which is killed as a whole.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
