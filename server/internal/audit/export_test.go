// SPDX-License-Identifier: Apache-2.0

package audit

// Tear writes the first n bytes of lines, as a disk that fills.
func Tear(l *Log, lines []byte, n int) (left []byte, err error) {
	if _, err := l.file.Write(lines[:n]); err != nil {
		return nil, err
	}
	return l.took(lines, n), nil
}

// Put writes lines.
func Put(l *Log, lines []byte) (left []byte, err error) { return l.put(lines) }
