// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// Download downloads a file into dir.
func Download(ctx context.Context, dir string, f *classrecv1.RecordingFile) (string, error) {
	return (&story{cfg: Config{Dir: dir}}).download(ctx, f)
}

// Decode has ffmpeg decode a file.
func Decode(ctx context.Context, ffmpeg, name string) error { return decode(ctx, ffmpeg, name) }
