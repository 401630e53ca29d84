// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"sync"
	"syscall"
)

// A Disk is a file system with so many bytes left.
type Disk struct {
	mu   sync.Mutex
	Left int64
}

// SetLeft makes room, while it is written to.
func (d *Disk) SetLeft(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Left = n
}

// SetDisk makes the recorder write to the disk's remaining space.
func (r *Recorder) SetDisk(d *Disk) {
	r.open = func(path string) (mediaFile, error) {
		f, err := openFile(path)
		if err != nil {
			return nil, err
		}
		return &diskFile{mediaFile: f, disk: d}, nil
	}
}

type diskFile struct {
	mediaFile
	disk *Disk
	size int64
}

// WriteAt writes what there is room for, as a full disk does.
func (f *diskFile) WriteAt(p []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	grow := max(at+int64(len(p))-f.size, 0)
	if grow > f.disk.Left {
		n, err := f.mediaFile.WriteAt(p[:max(int64(len(p))-(grow-f.disk.Left), 0)], at)
		f.size = max(f.size, at+int64(n))
		f.disk.Left = 0
		if err == nil {
			err = syscall.ENOSPC
		}
		return n, err
	}
	f.disk.Left -= grow
	f.size += grow
	return f.mediaFile.WriteAt(p, at)
}

// Waiting is how many packets wait for a missing one, and their size.
func (t *Track) Waiting() (packets, bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.jitter.count, t.jitter.bytes
}

// Depacketize feeds payloads to the depacketizer of a codec, as one frame after the other: those of each inner slice. It
// returns the frames that have a picture.
func Depacketize(info TrackInfo, frames [][][]byte) (out [][]byte, err error) {
	_, d, err := newDepacketizer(info)
	if err != nil {
		return nil, err
	}
	for _, payloads := range frames {
		var frame []byte
		for i, p := range payloads {
			if frame, err = d.push(frame, p, i == 0); err != nil {
				return out, err
			}
		}
		frame, got := d.complete(frame)
		if !got.empty && !got.broken {
			out = append(out, frame)
		}
	}
	return out, nil
}
