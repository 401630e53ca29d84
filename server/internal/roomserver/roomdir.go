// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"strings"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// maxDirBytes is the longest name of a room's directory; file systems take 255.
const maxDirBytes = 200

// roomDir is the name of a room's directory: letters, digits, "-" and "_" as they are, every other byte as "~" and two
// hexadecimal digits, so that different rooms have different directories and the name needs no escaping in a URL. A
// capital letter is escaped too, because not every file system tells it from a small one. What would be too
// long is cut, and told apart by a hash.
func roomDir(id talkcloud.RoomID) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range []byte(id) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'~', digits[c>>4], digits[c&15]})
	}
	name := b.String()
	if len(name) <= maxDirBytes {
		return name
	}
	hash := sha256.Sum256([]byte(id))
	return name[:maxDirBytes-33] + "~~" + hex.EncodeToString(hash[:16])[:31]
}

// roomOfDir is the room of a directory. What had to be cut has none.
func roomOfDir(name string) (talkcloud.RoomID, error) {
	id, err := url.PathUnescape(strings.ReplaceAll(name, "~", "%"))
	if err != nil || roomDir(talkcloud.RoomID(id)) != name {
		return "", errors.New("the directory's name does not tell the room")
	}
	return talkcloud.RoomID(id), checkID(id)
}
