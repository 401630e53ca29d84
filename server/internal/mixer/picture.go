// SPDX-License-Identifier: Apache-2.0

package mixer

import (
	"context"
	"image"
	"time"

	"github.com/classrec/classrec/server/internal/ffmpeg"
)

// FrameRate is the most pictures in a second; where nothing changes there are fewer.
const FrameRate = 25

const (
	// tick is how often the picture may change.
	tick = time.Second / FrameRate
	// stillEvery is how often a picture is written that does not change.
	stillEvery = time.Second
	// cardGap is what is black between cards.
	cardGap = 4
	// border is the width of the frame around who speaks.
	border = 4
)

// mixPicture writes the MP4, with the sound at path if there is any.
func (m *mix) mixPicture(ctx context.Context, sound string, heard bool) error {
	plan := scenes(m.Job, m.people, m.speakers)
	drawn, err := m.drawNames(ctx, m.texts(plan))
	if err != nil {
		return err
	}
	c := &composer{mix: m, canvas: newPicture(pictureSize(m.Portrait)), videos: videos(m.Job, plan), names: drawn}
	defer c.close()
	encoder, err := m.FFmpeg.Encode(ctx, m.Dir, m.pictureArgs(sound, heard)...)
	if err != nil {
		return err
	}
	err = encoder.Begin(c.canvas.size.X, c.canvas.size.Y, tick)
	if err == nil {
		err = c.compose(ctx, plan, encoder)
	}
	if err != nil {
		return abandon(ctx, encoder, err)
	}
	return encoder.Close()
}

func (m *mix) pictureArgs(sound string, heard bool) []string {
	args := []string{"-y", "-f", "matroska", "-i", "pipe:0"}
	if heard {
		args = append(args, "-i", "file:"+sound, "-map", "0:v", "-map", "1:a", "-c:a", "copy")
	}
	args = append(args, m.FFmpeg.X264()...)
	return append(args, "-pix_fmt", "yuv420p", "-fps_mode", "passthrough", "-enc_time_base:v", "1:1000",
		"-force_key_frames", "expr:gte(t,n_forced*5)", "-movflags", "+faststart", "-f", "mp4", "file:"+m.MP4)
}

// texts lists the names as they are needed.
func (m *mix) texts(plan []scene) []text {
	var list []text
	known := map[text]bool{}
	for _, sc := range plan {
		for _, c := range sc.cells {
			if c.screen {
				continue
			}
			for _, height := range []int{labelHeight(c.rect), cardHeight(c.rect)} {
				t := text{m.people.list[c.person].name, height}
				if !known[t] {
					known[t] = true
					list = append(list, t)
				}
			}
		}
	}
	return list
}

// composer puts pictures together.
type composer struct {
	*mix
	canvas *picture
	videos map[int]*video
	names  names
	cells  []placed
}

// placed is a cell, and what is drawn in it.
type placed struct {
	cell
	drawn    bool
	sequence int             // of the picture; 0 for the card
	area     image.Rectangle // what the picture or the card takes
}

func (c *composer) close() {
	for _, v := range c.videos {
		v.close()
	}
}

// compose writes the pictures of all scenes: whenever one changes, and each second.
func (c *composer) compose(ctx context.Context, plan []scene, out *ffmpeg.Encoder) error {
	written := -stillEvery
	last := max(c.Length-1, 0).Truncate(tick)
	current := -1
	c.canvas.fill(image.Rectangle{Max: c.canvas.size}, black())
	for t := time.Duration(0); t <= last; t += tick {
		changed := t == 0 || t == last
		for current+1 < len(plan) && plan[current+1].from <= t {
			current++
			changed = true
			c.enter(ctx, plan[current].cells, t)
		}
		for i := range c.cells {
			changed = c.update(ctx, &c.cells[i], t) || changed
		}
		if !changed && t-written < stillEvery {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := out.Picture(t, c.canvas.data); err != nil {
			return err
		}
		written = t
	}
	return nil
}

// enter arranges the picture anew. What stays where it is is not drawn again.
func (c *composer) enter(ctx context.Context, cells []cell, t time.Duration) {
	old := c.cells
	c.cells = make([]placed, len(cells))
	same := len(old) == len(cells)
	for i, new := range cells {
		c.cells[i] = placed{cell: new}
		same = same && old[i].rect == new.rect
	}
	if same {
		for i := range cells {
			if old[i].cell == cells[i] {
				c.cells[i] = old[i]
			}
		}
	} else {
		c.canvas.fill(image.Rectangle{Max: c.canvas.size}, black())
	}
	for _, v := range c.videos {
		v.rest(t)
	}
	for _, new := range cells {
		if new.input >= 0 {
			c.videos[new.input].open(ctx, c.mix, t)
		}
	}
}

// update draws a cell if there is something else to see, and reports whether there was.
func (c *composer) update(ctx context.Context, p *placed, t time.Duration) bool {
	var pic *picture
	sequence := 0
	if p.input >= 0 {
		pic, sequence = c.videos[p.input].at(ctx, c.mix, t+tick/2, p.screen)
	}
	if p.drawn && p.sequence == sequence {
		return false
	}
	area := image.Rectangle{}
	switch {
	case pic != nil:
		area = within(fit(pic.size, p.rect.Size()), p.rect)
	case !p.screen:
		area = within(fit(image.Pt(16, 9), p.rect.Size()), p.rect)
	}
	if !p.drawn || area != p.area {
		c.canvas.fill(p.rect, black())
	}
	p.drawn, p.sequence, p.area = true, sequence, area
	switch {
	case pic != nil:
		c.canvas.draw(pic, area)
		c.label(p)
	case !p.screen:
		c.card(p)
	}
	if p.speaking {
		c.canvas.frame(area, border, accent())
	}
	return true
}

// label writes the name at the foot of a picture.
func (c *composer) label(p *placed) {
	if p.screen {
		return
	}
	height := labelHeight(p.rect)
	name := c.names[text{c.people.list[p.person].name, height}]
	if name == nil {
		return
	}
	strip := image.Rect(p.area.Min.X, p.area.Max.Y-even(int(float64(height)*lineHeight)), p.area.Min.X+name.size.X+height, p.area.Max.Y)
	strip = evenly(strip.Intersect(p.area))
	c.canvas.shade(strip)
	at := image.Pt(even(strip.Min.X+height/2), even(strip.Min.Y+(strip.Dy()-name.size.Y)/2))
	c.canvas.write(name, at, strip)
}

// card shows the name in place of a picture.
func (c *composer) card(p *placed) {
	c.canvas.fill(p.area.Inset(cardGap/2), paper())
	name := c.names[text{c.people.list[p.person].name, cardHeight(p.rect)}]
	if name == nil {
		return
	}
	inner := evenly(p.area.Inset(2 * border))
	at := within(name.size, inner).Min
	at.X = max(at.X, inner.Min.X) // what is too long loses its end
	c.canvas.write(name, at, inner)
}

// evenly is the largest rectangle with even coordinates in another.
func evenly(r image.Rectangle) image.Rectangle {
	return image.Rect(r.Min.X+r.Min.X&1, r.Min.Y+r.Min.Y&1, even(r.Max.X), even(r.Max.Y))
}
