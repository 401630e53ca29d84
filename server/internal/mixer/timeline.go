// SPDX-License-Identifier: Apache-2.0

package mixer

import (
	"cmp"
	"image"
	"slices"
	"time"
)

// StreamState is what is known of a stream from a time on. Each replaces the one before of the same stream.
type StreamState struct {
	At         time.Duration `json:"at"` // in the class
	Stream     string        `json:"stream"`
	User       string        `json:"user"`
	Name       string        `json:"name,omitempty"`    // shown; the user's id when empty
	Teacher    bool          `json:"teacher,omitempty"` // whose cell is the first
	Screen     bool          `json:"screen,omitempty"`  // a shared screen or film, and not a camera
	AudioMuted bool          `json:"audioMuted,omitempty"`
	VideoMuted bool          `json:"videoMuted,omitempty"`
	Ended      bool          `json:"ended,omitempty"`
}

// person is somebody who publishes at some time.
type person struct {
	user, name string
	teacher    bool
}

// people are all persons of a class, in the order of their cells.
type people struct {
	list  []person
	index map[string]int
}

// newPeople finds them: teachers first, then by when they came.
func newPeople(job Job) *people {
	type known struct {
		person
		came time.Duration
	}
	var all []*known
	of := func(user string, at time.Duration) *known {
		for _, k := range all {
			if k.user == user {
				k.came = min(k.came, at)
				return k
			}
		}
		all = append(all, &known{person{user: user, name: user}, at})
		return all[len(all)-1]
	}
	for _, s := range job.States {
		k := of(s.User, s.At)
		k.teacher = k.teacher || s.Teacher
		if s.Name != "" {
			k.name = s.Name
		}
	}
	for _, in := range job.Inputs {
		k := of(in.User, in.Parts[0].From)
		k.teacher = k.teacher || in.Teacher
		if k.name == k.user && in.Name != "" {
			k.name = in.Name
		}
	}
	slices.SortStableFunc(all, func(a, b *known) int {
		if a.teacher != b.teacher {
			return map[bool]int{true: -1, false: 1}[a.teacher]
		}
		return cmp.Compare(a.came, b.came)
	})
	p := &people{index: map[string]int{}}
	for i, k := range all {
		p.list = append(p.list, k.person)
		p.index[k.user] = i
	}
	return p
}

// speech says who speaks from a time on, by number; -1 for nobody yet.
type speech struct {
	at     time.Duration
	person int
}

// cell is a part of the picture.
type cell struct {
	rect     image.Rectangle
	person   int
	input    int  // the video to show, by number; -1 for a card with the name
	screen   bool // the large part, which is no person's
	speaking bool // with others beside
}

// scene is how the picture is arranged for some time.
type scene struct {
	from, to time.Duration
	cells    []cell
}

// span is one stream's media in a track.
type span struct {
	input    int
	person   int
	stream   string
	from, to time.Duration
}

// spans lists the parts of the inputs, in order of beginning.
func spans(job Job, p *people) []span {
	var list []span
	for i, in := range job.Inputs {
		for n, part := range in.Parts {
			to := in.End
			if n+1 < len(in.Parts) {
				to = in.Parts[n+1].From
			}
			list = append(list, span{i, p.index[in.User], part.Stream, part.From, to})
		}
	}
	slices.SortStableFunc(list, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	return list
}

// scenes arranges the picture for the whole length of the class. A stream of which there is no state is taken to be
// there as long as its media are.
func scenes(job Job, p *people, speeches []speech) []scene {
	media := spans(job, p)
	times := []time.Duration{0}
	for _, s := range job.States {
		times = append(times, s.At)
	}
	for _, s := range media {
		times = append(times, s.from, s.to)
	}
	for _, s := range speeches {
		times = append(times, s.at)
	}
	slices.Sort(times)
	times = slices.Compact(times)
	stage := newStage(job, p, media)
	var list []scene
	for i, at := range times {
		to := job.Length
		if i+1 < len(times) {
			to = min(to, times[i+1])
		}
		stage.advance(at, speeches)
		if at >= to {
			continue
		}
		cells := stage.cells(at)
		if n := len(list); n > 0 && slices.Equal(list[n-1].cells, cells) {
			list[n-1].to = to
			continue
		}
		list = append(list, scene{at, to, cells})
	}
	return list
}

// stage is what is known at a time, while time goes on.
type stage struct {
	job      Job
	people   *people
	media    []span
	size     image.Point
	states   map[string]StreamState
	stateful map[string]bool // streams that have a state at some time
	next     int             // state
	order    []string        // streams, as they began
	speech   int             // the next
	speaker  int
}

func newStage(job Job, p *people, media []span) *stage {
	s := &stage{
		job: job, people: p, media: media, size: pictureSize(job.Portrait),
		states: map[string]StreamState{}, stateful: map[string]bool{}, speaker: -1,
	}
	for _, state := range job.States {
		s.stateful[state.Stream] = true
	}
	return s
}

// pictureSize is that of the mixed picture.
func pictureSize(portrait bool) image.Point {
	if portrait {
		return image.Pt(720, 1280)
	}
	return image.Pt(1280, 720)
}

// Size is the width and height of the mixed picture.
func Size(portrait bool) (width, height int) {
	size := pictureSize(portrait)
	return size.X, size.Y
}

// advance takes in what is known by a time.
func (s *stage) advance(at time.Duration, speeches []speech) {
	for ; s.next < len(s.job.States) && s.job.States[s.next].At <= at; s.next++ {
		state := s.job.States[s.next]
		if _, known := s.states[state.Stream]; !known {
			s.order = append(s.order, state.Stream)
		}
		s.states[state.Stream] = state
	}
	for ; s.speech < len(speeches) && speeches[s.speech].at <= at; s.speech++ {
		s.speaker = speeches[s.speech].person
	}
}

// shown is a person at a time: the video of the camera, if it is on.
type shown struct {
	person int
	input  int // -1 without
}

// cells arranges the picture of a time.
func (s *stage) cells(at time.Duration) []cell {
	present, screen := s.look(at)
	speaker := slices.IndexFunc(present, func(p shown) bool { return p.person == s.speaker })
	first := speaker // beside a screen somebody is on top, whoever speaks
	if first < 0 && screen >= 0 && len(present) > 0 {
		first = 0
	}
	a := Arrange(s.size, screen >= 0, len(present), first)
	var cells []cell
	if screen >= 0 {
		cells = append(cells, cell{rect: a.Screen, person: -1, input: screen, screen: true})
	}
	for i, p := range present {
		if !a.Cells[i].Empty() {
			cells = append(cells, cell{
				rect: a.Cells[i], person: p.person, input: p.input, speaking: i == speaker && len(present) > 1,
			})
		}
	}
	return cells
}

// look tells who is there, and the video that is shown large, -1 for none: of several, the one that began last.
func (s *stage) look(at time.Duration) (present []shown, screen int) {
	there := map[int]int{}
	screen = -1
	for _, id := range s.order {
		if state := s.states[id]; !state.Ended && !state.Screen {
			there[s.people.index[state.User]] = -1
		}
	}
	for _, m := range s.media {
		if at < m.from || at >= m.to {
			continue
		}
		state, known := s.states[m.stream]
		switch {
		case !s.stateful[m.stream]:
			state.Screen = s.job.Inputs[m.input].Screen
		case !known, state.Ended:
			continue
		}
		video := s.job.Inputs[m.input].Video && !state.VideoMuted
		switch {
		case !state.Screen:
			if _, is := there[m.person]; !is || video {
				there[m.person] = choose(video, m.input)
			}
		case video:
			screen = m.input
		}
	}
	for i := range s.people.list {
		if input, is := there[i]; is {
			present = append(present, shown{i, input})
		}
	}
	return present, screen
}

func choose(video bool, input int) int {
	if video {
		return input
	}
	return -1
}
