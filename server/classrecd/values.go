// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// byteSize is a number of bytes, with or without a unit: 512MiB, 1GiB, 4096.
type byteSize int64

// UnmarshalText is called by kong.
func (b *byteSize) UnmarshalText(text []byte) error {
	number, shift := strings.TrimSpace(string(text)), 0
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n, ok := strings.CutSuffix(number, unit); ok {
			number, shift = strings.TrimSpace(n), 10*(i+1)
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64>>shift {
		return errors.New("is not a size such as 4096, 512MiB or 1GiB")
	}
	*b = byteSize(n << shift)
	return nil
}

// syncInterval is how often to sync; 0 is always.
type syncInterval time.Duration

// UnmarshalText is called by kong.
func (s *syncInterval) UnmarshalText(text []byte) error {
	if string(text) == "always" {
		*s = 0
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d < time.Millisecond {
		return errors.New("is neither 'always' nor a duration of 1ms or more")
	}
	*s = syncInterval(d)
	return nil
}

// orForever is what the server takes for no bound where a flag says 0.
func orForever[T ~int64 | ~int | ~float64](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

// ratio is between 0 and 1, or -1 for a 0 that was asked for.
type ratio float64

// UnmarshalText is called by kong.
func (r *ratio) UnmarshalText(text []byte) error {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(f >= 0 && f <= 1) {
		return errors.New("is not a number from 0 to 1")
	}
	if *r = ratio(f); f == 0 {
		*r = -1
	}
	return nil
}
