// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package client_test

import "errors"

func mountSmall(string) error { return errors.ErrUnsupported }

func growSmall(string) error { return errors.ErrUnsupported }

func unmount(string) {}
