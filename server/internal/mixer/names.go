// SPDX-License-Identifier: Apache-2.0

package mixer

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/classrec/classrec/server/internal/ffmpeg"
)

// maxNames bounds the texts that are drawn, and maxNameRunes the characters of a name, beyond which it is cut.
const (
	maxNames     = 1000
	maxNameRunes = 40
)

// lineHeight is the height of a line of text, by the height of its font.
const lineHeight = 1.5

// text is a name in a size.
type text struct {
	name   string
	height int // of the font, in pixels
}

// names are texts as they look.
type names map[text]*mask

// labelHeight is the height of the font of a name at the foot of a picture, and cardHeight that on a card.
func labelHeight(cell image.Rectangle) int { return min(max(even(cell.Dy()/20), 14), 26) }

func cardHeight(cell image.Rectangle) int {
	return min(max(even(min(cell.Dy(), cell.Dx()*9/16)/8), 16), 56)
}

// drawNames lets ffmpeg's ass filter (libass) draw the names, which finds fonts for all scripts that there are fonts
// for. Where it cannot, the mix is made without names, which is told.
func (m *mix) drawNames(ctx context.Context, texts []text) (names, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	if len(texts) > maxNames {
		texts = texts[:maxNames]
	}
	script := filepath.Join(m.Dir, m.Prefix+"names.ass")
	size := image.Pt(1280, even(int(56*lineHeight)))
	if err := os.WriteFile(script, assScript(texts, size), 0o600); err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(script) }() // it is a working file
	drawn, err := m.readNames(ctx, texts, m.Prefix+"names.ass", size)
	if err != nil && ctx.Err() == nil {
		m.warn("The names are not in the picture: ffmpeg cannot draw text here.")
		m.Logger.Warn("recording: names cannot be drawn", "error", err)
		return nil, nil
	}
	return drawn, err
}

// readNames runs ffmpeg, which gives a picture a second, each with one text.
func (m *mix) readNames(ctx context.Context, texts []text, script string, size image.Point) (names, error) {
	d, err := m.FFmpeg.Text(ctx, ffmpeg.Script{Dir: m.Dir, File: script, Width: size.X, Height: size.Y, Frames: len(texts)})
	if err != nil {
		return nil, err
	}
	defer d.Close()
	drawn := names{}
	for _, t := range texts {
		f, err := d.Next(nil)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if ink := cut(f.Data, size); ink != nil {
			drawn[t] = ink
		} else if strings.TrimSpace(t.name) != "" {
			m.Logger.Warn("recording: no font has the characters of a name")
		}
	}
	return drawn, nil
}

// assScript is a script of Advanced SubStation Alpha that shows each text for a second, at the left.
func assScript(texts []text, size image.Point) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "[Script Info]\nScriptType: v4.00+\nWrapStyle: 2\nPlayResX: %d\nPlayResY: %d\n\n", size.X, size.Y)
	b.WriteString("[V4+ Styles]\nFormat: Name, Fontname, Fontsize, PrimaryColour, OutlineColour, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV\n" +
		"Style: Default,sans-serif,20,&H00FFFFFF,&H00000000,1,0,0,4,0,0,0\n\n[Events]\nFormat: Layer, Start, End, Style, Text\n")
	for i, t := range texts {
		at := time.Duration(i) * time.Second
		//nolint:misspell // the format's word
		fmt.Fprintf(&b, "Dialogue: 0,%s,%s,Default,{\\fs%d}%s\n", assTime(at), assTime(at+time.Second), t.height*5/4, assText(t.name))
	}
	return []byte(b.String())
}

func assTime(t time.Duration) string { return time.Time{}.Add(t).Format("15:04:05.00") }

// assText makes a name one line of text, in which nothing is markup: a word joiner, which is not seen, stands between
// a backslash and what it would escape.
func assText(name string) string {
	const joiner = "\u2060"
	var b strings.Builder
	for i, r := range []rune(strings.ToValidUTF8(name, "\ufffd")) {
		if i == maxNameRunes {
			b.WriteRune('…')
			break
		}
		switch {
		case r == '\\':
			b.WriteString(`\` + joiner)
		case r == '{' || r == '}':
			b.WriteString(`\` + string(r))
		case unicode.IsSpace(r) || unicode.IsControl(r):
			b.WriteRune(' ')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// cut takes the part of a grey picture that has ink, nil if none has, with even sides.
func cut(pix []byte, size image.Point) *mask {
	var ink image.Rectangle
	for y := range size.Y {
		for x, v := range pix[y*size.X : (y+1)*size.X] {
			if v > 24 {
				ink = ink.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	if ink.Empty() {
		return nil
	}
	m := &mask{size: image.Pt(roundUp(ink.Dx(), size.X), roundUp(ink.Dy(), size.Y))}
	m.pix = make([]byte, m.size.X*m.size.Y)
	for y := range ink.Dy() {
		for x := range ink.Dx() {
			v := int(pix[(ink.Min.Y+y)*size.X+ink.Min.X+x])
			m.pix[y*m.size.X+x] = byte(min(max(v-16, 0)*255/219, 255))
		}
	}
	return m
}
