// SPDX-License-Identifier: Apache-2.0

package ffmpeg

import (
	"bufio"
	"io"
	"os"
)

// NewEncoder writes into a file instead of a process.
func NewEncoder(out *os.File) *Encoder { return &Encoder{in: out} }

// ReadFrames reads a Matroska stream to its end.
func ReadFrames(r io.Reader) (frames []Frame, err error) {
	f := frameReader{r: bufio.NewReader(r)}
	for {
		frame, err := f.next(nil)
		if err != nil {
			return frames, err
		}
		frames = append(frames, frame)
	}
}
