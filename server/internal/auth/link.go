// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strconv"
	"time"
)

// The query of a signed link.
const (
	linkExpires   = "expires"
	linkSignature = "signature"
)

// Links signs links to files, and proves them: whoever has a link may read the
// file that it is of, and no other, until it expires.
type Links struct {
	// Key is a secret of 32 bytes or more.
	Key []byte
	// TTL is how long a link is good, at least; up to a tenth more, so that links
	// to one file are mostly the same for a while.
	TTL time.Duration
	// Now is the time of day. nil: time.Now.
	Now func() time.Time
}

func (l *Links) now() time.Time {
	if l.Now == nil {
		return time.Now()
	}
	return l.Now()
}

// Sign returns the query that opens a file.
func (l *Links) Sign(file string) url.Values {
	step := max(1, int64(l.TTL/time.Second)/10)
	expires := l.now().Add(l.TTL).Unix()/step*step + step
	text := strconv.FormatInt(expires, 10)
	return url.Values{linkExpires: {text}, linkSignature: {l.signature(file, text)}}
}

// Signed says whether a query is that of a link.
func Signed(query url.Values) bool { return query.Has(linkSignature) }

// Check returns nil for the query of a link to the file that is good now, else
// an [*Error].
func (l *Links) Check(file string, query url.Values) error {
	expires := query.Get(linkExpires)
	if !hmac.Equal([]byte(query.Get(linkSignature)), []byte(l.signature(file, expires))) {
		return &Error{Reason: "LINK_INVALID", Message: "the link is not good for this file", Denied: true}
	}
	if at, err := strconv.ParseInt(expires, 10, 64); err != nil || l.now().Unix() >= at {
		return &Error{Reason: "LINK_EXPIRED", Message: "the link has expired; ask for the recording again", Denied: true}
	}
	return nil
}

func (l *Links) signature(file, expires string) string {
	mac := hmac.New(sha256.New, l.Key)
	mac.Write([]byte("classrec file link\n" + expires + "\n" + file))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
