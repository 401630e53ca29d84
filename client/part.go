// SPDX-License-Identifier: Apache-2.0

package client

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// The names of what is not whole yet, and of what is known of it.
const (
	partSuffix = ".part"
	noteSuffix = ".part.json"
)

// part is a file that is being fetched.
type part struct {
	root *os.Root
	name string // of the whole file
	file *os.File
	note note
	size int64 // what is there
}

// note says of which file the part is. The URL itself is a secret.
type note struct {
	URL          string `json:"url_sha256"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
}

// openPart opens what is there of a file, or a new part. A part of which it is
// not known what it is of is begun anew.
func openPart(root *os.Root, f *remoteFile) (_ *part, err error) {
	sum := sha256.Sum256([]byte(unsigned(f.url)))
	p := &part{root: root, name: f.name, note: note{URL: hex.EncodeToString(sum[:])}}
	if info, err := root.Lstat(f.name + partSuffix); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file: %w", f.name+partSuffix, fs.ErrExist)
	}
	if p.file, err = root.OpenFile(f.name+partSuffix, os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return nil, err
	}
	info, err := p.file.Stat()
	if err != nil {
		return nil, errors.Join(err, p.file.Close())
	}
	p.size = info.Size()
	var known note
	text, err := root.ReadFile(f.name + noteSuffix)
	if err != nil || json.Unmarshal(text, &known) != nil || known.URL != p.note.URL {
		return p, p.reset()
	}
	p.note = known
	if p.validator() == "" || f.size > 0 && p.size > f.size {
		return p, p.reset()
	}
	return p, nil
}

// unsigned is a URL without what the service signs it with, which is another
// one each time.
func unsigned(text string) string {
	u, err := url.Parse(text)
	if err != nil || !u.Query().Has("signature") {
		return text
	}
	query := u.Query()
	query.Del("signature")
	query.Del("expires")
	u.RawQuery = query.Encode()
	return u.String()
}

// validator is what If-Range may be asked with (RFC 9110 section 13.1.5).
func (p *part) validator() string {
	if p.note.ETag != "" {
		return p.note.ETag
	}
	return p.note.LastModified
}

// begin begins the part anew, with the file that the header is of.
func (p *part) begin(h http.Header) error {
	if err := p.reset(); err != nil {
		return err
	}
	if etag := h.Get("ETag"); strings.HasPrefix(etag, `"`) { // a weak one does not say that bytes are the same
		p.note.ETag = etag
	}
	p.note.LastModified = strongDate(h)
	text, err := json.Marshal(p.note)
	if err != nil {
		return err
	}
	return p.root.WriteFile(p.name+noteSuffix, text, 0o666)
}

// strongDate is Last-Modified where it says that bytes are the same: when it
// was at least a second old (RFC 9110 section 8.8.2.2).
func strongDate(h http.Header) string {
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		return ""
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil || date.Sub(modified) < time.Second {
		return ""
	}
	return h.Get("Last-Modified")
}

// same says whether an answer is of the file that the part is of, by all that
// it says.
func (p *part) same(h http.Header) bool {
	if etag := h.Get("ETag"); etag != "" && p.note.ETag != "" {
		return etag == p.note.ETag
	}
	modified := h.Get("Last-Modified")
	return modified == "" || p.note.LastModified == "" || modified == p.note.LastModified
}

// reset throws away what is there.
func (p *part) reset() error {
	p.note.ETag, p.note.LastModified = "", ""
	p.size = 0
	return p.file.Truncate(0)
}

func (p *part) write(b []byte) error {
	n, err := p.file.WriteAt(b, p.size)
	p.size += int64(n)
	return err
}

// finish gives the file its name, once it is on disk.
func (p *part) finish(name string) error {
	err := p.file.Sync()
	if err = errors.Join(err, p.close()); err != nil {
		return err
	}
	if err := p.root.Rename(name+partSuffix, name); err != nil {
		return err
	}
	return p.removeNote()
}

// discard removes the part.
func (p *part) discard() error {
	err := p.close()
	if e := p.root.Remove(p.name + partSuffix); e != nil && !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return errors.Join(err, p.removeNote())
}

func (p *part) removeNote() error {
	if err := p.root.Remove(p.name + noteSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// close closes the part, once.
func (p *part) close() error {
	if p.file == nil {
		return nil
	}
	f := p.file
	p.file = nil
	if err := f.Close(); err != nil {
		return fmt.Errorf("close %s: %w", p.name+partSuffix, err)
	}
	return nil
}
