// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// digestChunk is how much of a file is read at a time.
const digestChunk = 256 << 10

// digest gives files their SHA-256. Of all recordings, one file is read at a time, so that the disk is left to those that
// go on.
func (r *Recorder) digest(ctx context.Context, dir string, files []File) error {
	for i := range files {
		if files[i].SHA256 != "" {
			continue
		}
		select {
		case r.digests <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("digest %s: %w", files[i].Name, ctx.Err())
		}
		sum, err := fileDigest(ctx, filepath.Join(dir, files[i].Name))
		<-r.digests
		if err != nil {
			return fmt.Errorf("digest %s: %w", files[i].Name, err)
		}
		files[i].SHA256 = sum
	}
	return nil
}

func fileDigest(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	hash, buf := sha256.New(), make([]byte, digestChunk)
	for ctx.Err() == nil {
		n, err := f.Read(buf)
		hash.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(hash.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", ctx.Err()
}
