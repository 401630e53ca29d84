// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// tokenCheckEvery is how often the file is looked at, at most: a token that was
// revoked is refused after that.
const tokenCheckEvery = time.Second

// tokenTable is the file of tokens as it was last read.
type tokenTable struct {
	file     TokenFile
	required bool // authentication is on even without the file
	log      *slog.Logger

	mu      sync.Mutex
	byID    map[string]Token
	stamp   fileStamp
	looked  time.Time
	there   bool // the file has been there
	trouble bool // the log knows that it cannot be read
}

// fileStamp changes with a file: it is replaced, never written to.
type fileStamp struct {
	modified time.Time
	size     int64
	inode    any
}

// find returns the token of an id.
func (t *tokenTable) find(id string) (Token, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refresh()
	token, ok := t.byID[id]
	return token, ok
}

// on says whether tokens are asked for: from the first time that there is a
// file. A file that vanishes takes its tokens with it, and opens nothing.
func (t *tokenTable) on() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refresh()
	return t.required || t.there
}

// refresh reads the file if it has changed, and was not looked at just now. A
// file that cannot be read leaves all as it was.
func (t *tokenTable) refresh() {
	now := time.Now()
	if t.file.Path == "" || now.Sub(t.looked) < tokenCheckEvery {
		return
	}
	t.looked = now
	if err := t.load(); err != nil && !t.trouble {
		t.trouble = true
		t.log.Error("the file of tokens cannot be read; those that were known stay", "error", err)
	}
}

func (t *tokenTable) load() error {
	info, err := os.Stat(t.file.Path)
	if errors.Is(err, fs.ErrNotExist) {
		t.byID, t.stamp = nil, fileStamp{}
		return nil
	}
	if err != nil {
		return err
	}
	t.there = true
	stamp := fileStamp{info.ModTime(), info.Size(), inodeOf(info)}
	if stamp == t.stamp {
		return nil
	}
	all, err := t.file.read()
	if err != nil {
		return err
	}
	byID := make(map[string]Token, len(all))
	for _, token := range all {
		byID[token.ID] = token
	}
	t.byID, t.stamp, t.trouble = byID, stamp, false
	return nil
}
