// SPDX-License-Identifier: Apache-2.0

//go:build unix

package engineio

import (
	"errors"
	"os"
	"syscall"
)

// rawIO says that network connections can be read and written without waiting.
const rawIO = true

// errWouldBlock: the call would have had to wait.
const errWouldBlock = syscall.EAGAIN

// rawRead reads what there is.
func rawRead(fd uintptr, b []byte) (int, error) {
	return raw("read", func() (int, error) { return syscall.Read(int(fd), b) })
}

// rawWrite writes what there is room for.
func rawWrite(fd uintptr, b []byte) (int, error) {
	return raw("write", func() (int, error) { return syscall.Write(int(fd), b) })
}

func raw(name string, call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err == nil {
			return n, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return 0, os.NewSyscallError(name, err)
		}
	}
}
