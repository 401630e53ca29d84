// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// salvage makes whole the files that a crash left, and says so in the manifest.
func (r *Recorder) salvage(ctx context.Context, dir string, m *manifest) error {
	for i := range m.Outputs {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("recover recording: %w", err)
		}
		if err := r.salvageFile(dir, m, &m.Outputs[i]); err != nil {
			if diskFull(err) {
				err = fmt.Errorf("%w: %w", ErrUnsaved, err)
			}
			return fmt.Errorf("recover %s: %w", m.Outputs[i].Name, err)
		}
	}
	chat, err := salvageChat(dir)
	if err != nil {
		return fmt.Errorf("recover %s: %w", chatName, err)
	}
	m.Chat = chat
	m.State = stateWritten
	if err := m.save(dir); err != nil {
		return fmt.Errorf("recover recording: %w: %w: %w", ErrUnsaved, ErrWrite, err)
	}
	return nil
}

// diskFull tells that there is no room, which may pass.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func (r *Recorder) salvageFile(dir string, m *manifest, mo *manifestOutput) error {
	mo.Frames, mo.Size, mo.Duration, mo.FrameRate = 0, 0, 0, 0
	path := filepath.Join(dir, mo.Name)
	if other := trimExt(path) + ".webm"; mo.DocType == "matroska" {
		// The crash may have come between the manifest's new name and the file's.
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			if err := os.Rename(other, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	in, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the crash came before the file
	}
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // it was only read from
	if len(mo.Streams) == 0 || mo.Room == 0 {
		return nil
	}
	f, err := r.open(path)
	if err != nil {
		return err
	}
	o, err := newOutput(mo.Name, f, fileHead{docType: mo.DocType, begin: m.Begin.Add(mo.Origin), room: mo.Room})
	if err != nil {
		return errors.Join(err, f.Close())
	}
	for _, s := range mo.Streams {
		if _, err := o.addStream(s); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if err := o.rescan(in); err != nil {
		return errors.Join(err, f.Close())
	}
	o.saved.frames, o.saved.end = o.frames, o.end
	if err := o.finish(); err != nil {
		return err
	}
	o.describe(mo)
	return nil
}

// rescan reads the clusters of a file and rebuilds what the output knew of them. It stops at the first thing
// that is not whole: a cluster cut short is closed after its last whole block.
func (o *output) rescan(in io.ReaderAt) error {
	const most = 1 << 62
	for {
		r := bufio.NewReaderSize(io.NewSectionReader(in, o.size, most-o.size), 64<<10)
		id, size, n, err := readElement(r)
		if err != nil || id != idCluster || size > 1<<40 {
			return notEnd(err)
		}
		c := clusterScan{o: o, r: r, at: int64(n), left: size}
		whole, err := c.blocks()
		if err != nil {
			return err
		}
		if whole == 0 {
			return nil
		}
		if whole < int64(n)+size {
			var b [8]byte
			binary.BigEndian.PutUint64(b[:], 1<<56|uint64(whole-int64(n)))
			if _, err := o.file.WriteAt(b[:], o.size+4); err != nil {
				return fmt.Errorf("%w %s: %w", ErrWrite, o.name, err)
			}
			o.size += whole
			return nil
		}
		o.size += whole
	}
}

// notEnd drops the errors that only say that the file ends here.
func notEnd(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errElement) {
		return nil
	}
	return err
}

// clusterScan reads one cluster.
type clusterScan struct {
	o    *output
	r    *bufio.Reader
	at   int64 // from the cluster's start
	left int64
	time int64
}

// blocks returns how many bytes of the cluster are whole; 0 when it has no block.
func (c *clusterScan) blocks() (whole int64, err error) {
	timed := false
	for c.left > 0 {
		id, size, n, err := readElement(c.r)
		if err != nil || int64(n)+size > c.left {
			return whole, notEnd(err)
		}
		start := c.at
		switch {
		case id == idTimestamp && size == 8:
			var b [8]byte
			if _, err := io.ReadFull(c.r, b[:]); err != nil {
				return whole, notEnd(err)
			}
			c.time, timed = int64(binary.BigEndian.Uint64(b[:])), true
			if c.time < 0 || c.time > maxDuration.Milliseconds() {
				return whole, nil
			}
		case id == idSimpleBlock && timed && size >= 4:
			ok, err := c.block(start, size)
			if err != nil || !ok {
				return whole, err
			}
		case id == idBlockGroup && timed && size >= 16:
			ok, err := c.group(start+int64(n)+size, size)
			if err != nil || !ok {
				return whole, err
			}
		default:
			return whole, nil
		}
		c.at += int64(n) + size
		c.left -= int64(n) + size
		if id != idTimestamp {
			whole = c.at
		}
	}
	return whole, nil
}

// block reads a SimpleBlock; false when it is not whole or not ours.
func (c *clusterScan) block(start, size int64) (bool, error) {
	b, err := c.r.Peek(int(min(size, 16)))
	if err != nil {
		return false, notEnd(err)
	}
	number, n := blockTrack(b)
	if n == 0 || len(b) < n+3 || number < 1 || number > len(c.o.slots) {
		return false, nil
	}
	ms := c.time + int64(int16(binary.BigEndian.Uint16(b[n:])))
	key := b[n+2]&0x80 != 0
	s := c.o.slots[number-1]
	if ms < 0 || ms > maxDuration.Milliseconds() || ms <= s.last && s.Type != trackVideo {
		return false, nil
	}
	lasts := time.Duration(0)
	if s.Type == trackAudio {
		lasts = opusLength(b[n+3:])
		if s.Codec != codecOpus {
			lasts = audioLength(s.Codec, make([]byte, size-int64(n)-3))
		}
	}
	if m, err := c.r.Discard(int(size)); err != nil || int64(m) < size {
		return false, notEnd(err)
	}
	c.o.cueAt(s, ms, key, c.o.size, uint32(start-12))
	c.o.advance(s, ms, lasts)
	return true, nil
}

// group reads a line of chat, which ends at end in the cluster; false when it is not whole or not ours.
func (c *clusterScan) group(end, size int64) (bool, error) {
	b, err := c.r.Peek(int(min(size, 16)))
	if err != nil {
		return false, notEnd(err)
	}
	if b[0] != idBlock {
		return false, nil
	}
	b = b[1+vintLen(b[1]):]
	number, n := blockTrack(b)
	if n == 0 || len(b) < n+2 || number < 1 || number > len(c.o.slots) {
		return false, nil
	}
	ms := c.time + int64(int16(binary.BigEndian.Uint16(b[n:])))
	s := c.o.slots[number-1]
	if ms <= s.last || ms > maxDuration.Milliseconds() || s.Type != trackSubtitle {
		return false, nil
	}
	if m, err := c.r.Discard(int(size)); err != nil || int64(m) < size {
		return false, notEnd(err)
	}
	c.o.noteSubtitle(s, ms, c.o.size+end)
	return true, nil
}

func blockTrack(b []byte) (number, n int) {
	switch {
	case len(b) >= 1 && b[0]&0x80 != 0:
		return int(b[0] & 0x7f), 1
	case len(b) >= 2 && b[0]&0x40 != 0:
		return int(b[0]&0x3f)<<8 | int(b[1]), 2
	}
	return 0, 0
}

var errElement = errors.New("no EBML element")

// readElement reads an id and a size; n is their length.
func readElement(r *bufio.Reader) (id uint32, size int64, n int, err error) {
	first, err := r.ReadByte()
	if err != nil {
		return 0, 0, 0, err
	}
	length := vintLen(first)
	if length > 4 {
		return 0, 0, 0, errElement
	}
	id = uint32(first)
	for range length - 1 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, 0, 0, err
		}
		id = id<<8 | uint32(b)
	}
	n = length
	if first, err = r.ReadByte(); err != nil {
		return 0, 0, 0, err
	}
	if length = vintLen(first); length > 8 {
		return 0, 0, 0, errElement
	}
	size = int64(first) & (1<<(8-length) - 1)
	for range length - 1 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, 0, 0, err
		}
		size = size<<8 | int64(b)
	}
	return id, size, n + length, nil
}

// vintLen is the length of a variable-size integer by its first byte; 9 when that is 0.
func vintLen(first byte) int {
	n := 1
	for mask := byte(0x80); mask != 0 && first&mask == 0; mask >>= 1 {
		n++
	}
	return n
}

// salvageChat cuts a half-written cue; false when there is no chat.
func salvageChat(dir string) (bool, error) {
	f, err := os.OpenFile(filepath.Join(dir, chatName), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	info, err := f.Stat()
	if err != nil {
		return false, errors.Join(err, f.Close())
	}
	// A cue is at most some ten KiB, escaped several times that; its end is an empty line.
	from := max(info.Size()-256<<10, 0)
	b := make([]byte, info.Size()-from)
	if _, err := f.ReadAt(b, from); err != nil && !errors.Is(err, io.EOF) {
		return false, errors.Join(err, f.Close())
	}
	for len(b) > 0 && (len(b) < 2 || b[len(b)-1] != '\n' || b[len(b)-2] != '\n') {
		b = b[:len(b)-1]
	}
	if len(b) == 0 {
		return false, errors.Join(f.Close(), os.Remove(f.Name()))
	}
	return true, errors.Join(f.Truncate(from+int64(len(b))), f.Sync(), f.Close())
}
