// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package ffmpeg

import "os/exec"

// isolate leaves the command as it is: there are no process groups.
func isolate(*exec.Cmd) {}
