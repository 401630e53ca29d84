// SPDX-License-Identifier: Apache-2.0

package ffmpeg_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/ffmpeg"
)

// matroska is a stream of two pictures of 4x2, as it is written.
func matroska(tb testing.TB) []byte {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "stream")
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	e := ffmpeg.NewEncoder(f)
	for _, err := range []error{
		e.Begin(4, 2, 40*time.Millisecond),
		e.Picture(0, []byte("abcdefghijkl")),
		e.Picture(3*time.Hour+7*time.Millisecond, []byte("ABCDEFGHIJKL")),
		f.Close(),
	} {
		if err != nil {
			tb.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// TestFrames reads what is written.
func TestFrames(t *testing.T) {
	t.Parallel()
	frames, err := ffmpeg.ReadFrames(bytes.NewReader(matroska(t)))
	if !errors.Is(err, io.EOF) || len(frames) != 2 {
		t.Fatalf("%d frames, %v", len(frames), err)
	}
	if f := frames[1]; f.At != 3*time.Hour+7*time.Millisecond || string(f.Data) != "ABCDEFGHIJKL" {
		t.Errorf("the second is %q at %v", f.Data, f.At)
	}
}

// FuzzFrames reads anything: whole frames and an error, in bounded memory.
func FuzzFrames(f *testing.F) {
	data := matroska(f)
	f.Add(data)
	f.Add(data[:len(data)-5])
	f.Add([]byte{0xa3, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		frames, err := ffmpeg.ReadFrames(bytes.NewReader(data))
		if err == nil {
			t.Error("it has no end")
		}
		n := 0
		for _, f := range frames {
			n += len(f.Data)
		}
		if n > len(data) {
			t.Errorf("%d bytes of %d", n, len(data))
		}
	})
}
