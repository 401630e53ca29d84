// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package engineio

import "errors"

// rawIO says that network connections can be read and written without waiting.
const rawIO = false

var errWouldBlock = errors.New("operation would block")

func rawRead(uintptr, []byte) (int, error)  { return 0, errors.ErrUnsupported }
func rawWrite(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
