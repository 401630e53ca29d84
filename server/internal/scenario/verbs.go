// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/classrec/classrec/server/internal/cast"
	"github.com/classrec/classrec/server/internal/rehearsal"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// verb is one kind of step.
type verb struct {
	name string
	// short is the argument that may stand alone; "" for none.
	short string
	// read makes the step of its arguments.
	read func(l *loader, f *fields, s *step)
}

// verbs are all of them, in the order of docs/scenario.md.
func verbs() []verb {
	return []verb{
		{"join", "", (*loader).join},
		{"publish", "person", (*loader).publish},
		{"mute", "person", (*loader).mute},
		{"unpublish", "person", (*loader).unpublish},
		{"chat", "", (*loader).chat},
		{"begin", "person", (*loader).begin},
		{"end", "person", (*loader).end},
		{"leave", "person", (*loader).leave},
		{"drop", "person", (*loader).drop},
		{"rejoin", "person", (*loader).rejoin},
		{"platform", "is", (*loader).platform},
		{"answer", "", (*loader).answer},
		{"advance", "by", (*loader).advance},
		{"pause", "for", (*loader).pause},
		{"await", "", (*loader).await},
		{"repeat", "", (*loader).repeated},
		{"print", "text", (*loader).printed},
		{"stop", "", (*loader).stop},
	}
}

func verbNames() (names []string) {
	for _, v := range verbs() {
		names = append(names, v.name)
	}
	return names
}

func verbNamed(name string) (verb, bool) {
	all := verbs()
	i := slices.IndexFunc(all, func(v verb) bool { return v.name == name })
	if i < 0 {
		return verb{}, false
	}
	return all[i], true
}

// role is one of the platform's, by its name in a scenario.
type role struct {
	name string
	role int
}

func roles() []role {
	return []role{
		{"teacher", talkcloud.RoleTeacher},
		{"assistant", talkcloud.RoleAssistant},
		{"student", talkcloud.RoleStudent},
		{"auditor", talkcloud.RoleAuditor},
		{"patrol", talkcloud.RolePatrol},
	}
}

func (l *loader) join(f *fields, s *step) {
	as := cast.Entrance{Room: f.needText("room")}
	named := 0
	for _, r := range roles() {
		if name := f.text(r.name); name != "" {
			named++
			as.Name, as.Role = name, cast.Role(r.role)
			s.text = fmt.Sprintf("%s joins room %s as %s", name, as.Room, r.name)
		}
	}
	as.Password = f.text("password")
	if named != 1 && f.err == nil {
		f.err = errors.New("needs one of teacher, assistant, student, auditor, patrol, with a name")
	}
	l.joined[as.Name] = true
	s.do = func(ctx context.Context, p *play) error {
		as := as
		as.Room, as.Name = p.fill(as.Room), p.fill(as.Name)
		person, err := p.cast.Join(ctx, as)
		if err == nil {
			p.people[as.Name] = person
		}
		return err
	}
}

// person reads who does a step. It has to have joined above.
func (l *loader) person(f *fields, s *step, what string, do func(ctx context.Context, p *play, person *cast.Person) error) {
	node := f.values["person"]
	name := f.needText("person")
	if f.err == nil && !l.joined[name] {
		f.fail(node, fmt.Errorf("nobody of the name %q has joined in a step before", name))
	}
	s.text = name + " " + what
	s.do = func(ctx context.Context, p *play) error {
		person, err := p.person(name)
		if err != nil {
			return err
		}
		return do(ctx, p, person)
	}
}

func (l *loader) publish(f *fields, s *step) {
	node := f.values["files"]
	files := f.texts("files")
	what := "publishes the test pattern"
	var media *cast.Media // nil: the pattern
	if len(files) > 0 {
		what = "publishes " + strings.Join(files, ", ")
		var paths []string
		for _, file := range files {
			paths = append(paths, beside(l.path, file))
		}
		m, err := cast.Files(paths...)
		if err != nil {
			f.fail(node, err)
		}
		media = &m
	}
	l.person(f, s, what, func(ctx context.Context, p *play, person *cast.Person) error {
		playing := media
		if playing == nil {
			pattern, err := cast.Pattern(person.Role())
			if err != nil {
				return err
			}
			playing = &pattern
		}
		_, err := person.Publish(ctx, *playing)
		return err
	})
}

func (l *loader) mute(f *fields, s *step) {
	silent := !f.has("sound") && !f.has("pictures") // mute: NAME is what everybody calls so
	sound, pictures := f.flag("sound") || silent, f.flag("pictures")
	what := "sends everything again"
	switch {
	case sound && pictures:
		what = "mutes sound and pictures"
	case sound:
		what = "mutes sound"
	case pictures:
		what = "mutes pictures"
	}
	l.person(f, s, what, func(ctx context.Context, _ *play, person *cast.Person) error {
		return person.Mute(ctx, sound, pictures)
	})
}

func (l *loader) unpublish(f *fields, s *step) {
	l.person(f, s, "stops publishing", func(_ context.Context, _ *play, person *cast.Person) error {
		person.Unpublish()
		return nil
	})
}

func (l *loader) chat(f *fields, s *step) {
	text := f.needText("text")
	l.person(f, s, "chats: "+text, func(ctx context.Context, p *play, person *cast.Person) error {
		return person.Chat(ctx, p.fill(text))
	})
}

func (l *loader) begin(f *fields, s *step) {
	class := talkcloud.ClassBegin{
		HasRecordType: true,
		// The words are in the order of the wire's numbers, but for the first, which is the default.
		Convert:    f.oneOf("format", "mkv", "webm", "mp4"),
		RecordType: []int{talkcloud.RecordTypeList, talkcloud.RecordTypeFile, talkcloud.RecordTypeMP3, talkcloud.RecordTypeMix}[f.oneOf("type", "list", "file", "mp3", "mix")],
		Layout:     f.oneOf("layout", "landscape", "portrait"),
		RecordChat: f.flag("chat"),
	}
	l.person(f, s, "begins a class", func(ctx context.Context, _ *play, person *cast.Person) error {
		_, err := person.Begin(ctx, class)
		return err
	})
}

func (l *loader) end(f *fields, s *step) {
	l.person(f, s, "ends the class", func(ctx context.Context, _ *play, person *cast.Person) error {
		_, err := person.End(ctx)
		return err
	})
}

func (l *loader) leave(f *fields, s *step) {
	l.person(f, s, "leaves", func(_ context.Context, _ *play, person *cast.Person) error {
		person.Leave()
		return nil
	})
}

func (l *loader) drop(f *fields, s *step) {
	l.person(f, s, "loses the connection", func(_ context.Context, _ *play, person *cast.Person) error {
		person.Drop()
		return nil
	})
}

func (l *loader) rejoin(f *fields, s *step) {
	l.person(f, s, "joins again", func(ctx context.Context, _ *play, person *cast.Person) error { return person.Rejoin(ctx) })
}

func (l *loader) platform(f *fields, s *step) {
	words := []string{"normal", "absent", "cut"}
	node := f.values["is"]
	slow := f.duration("slow")
	is := words[f.oneOf("is", words...)]
	s.text = "the platform is " + is
	switch {
	case (node != nil) == (slow > 0) && f.err == nil:
		f.err = fmt.Errorf("is one of %s, or {slow: TIME}", strings.Join(words, ", "))
	case slow > 0:
		s.text = fmt.Sprintf("the platform is slow by %v", slow)
	case is == "cut":
		s.text = "the platform's connections are cut"
	}
	s.do = func(_ context.Context, p *play) error {
		switch {
		case slow > 0:
			p.rehearsal.Slow(slow)
		case is == "absent":
			p.rehearsal.Absent()
		case is == "cut":
			p.rehearsal.Drop()
		default:
			p.rehearsal.Normal()
		}
		return nil
	}
}

// call reads one of the calls that the service makes.
func call(f *fields) rehearsal.Call {
	calls := rehearsal.Calls()
	words := make([]string, 0, len(calls))
	for _, c := range calls {
		words = append(words, string(c))
	}
	return calls[f.oneOf("call", words...)]
}

func (l *loader) answer(f *fields, s *step) {
	if !f.has("call") && f.err == nil {
		f.err = errors.New("needs call")
	}
	c := call(f)
	s.text = fmt.Sprintf("%s is answered ", c)
	kinds := []string{"usual", "html", "nothing", "no echo"}
	node := f.values["with"]
	with := kinds[f.oneOf("with", kinds...)]
	code, status, body := f.number("code"), f.number("status"), f.text("body")
	given := 0
	for _, there := range []bool{node != nil, code > 0, status > 0, body != ""} {
		if there {
			given++
		}
	}
	if given != 1 && f.err == nil {
		f.err = fmt.Errorf("needs one of code, status, body, with; the last is %s", strings.Join(kinds, ", "))
	}
	answer := rehearsal.Answer{}
	switch {
	case code > 0:
		answer, s.text = rehearsal.Code(code), s.text+fmt.Sprintf("with code %d", code)
	case status > 0:
		answer, s.text = rehearsal.Status(status), s.text+fmt.Sprintf("with status %d", status)
	case body != "":
		answer, s.text = rehearsal.Body(body), s.text+"with another text"
	case with == "html":
		answer, s.text = rehearsal.HTML(), s.text+"with a web page"
	case with == "nothing":
		answer, s.text = rehearsal.NoAnswer(), string(c)+" is not answered"
	case with == "no echo":
		answer, s.text = rehearsal.NoEcho(), string(c)+" is not echoed"
	default:
		s.text += "as usual"
	}
	if err := rehearsal.Check(c, answer); err != nil && f.err == nil {
		f.err = err
	}
	s.do = func(_ context.Context, p *play) error { return p.rehearsal.Answer(c, answer) }
}

func (l *loader) advance(f *fields, s *step) {
	by := f.duration("by")
	if by == 0 && f.err == nil {
		f.err = errors.New("needs a time")
	}
	s.text = fmt.Sprintf("time moves on by %v", by)
	s.do = func(_ context.Context, p *play) error {
		p.rehearsal.Advance(by)
		return nil
	}
}

func (l *loader) pause(f *fields, s *step) {
	d := f.duration("for")
	if d == 0 && f.err == nil {
		f.err = errors.New("needs a time")
	}
	s.text, s.within = fmt.Sprintf("pause of %v", d), d+time.Hour // never too long
	s.do = func(ctx context.Context, _ *play) error { return sleep(ctx, d) }
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *loader) await(f *fields, s *step) {
	s.within = f.duration("within")
	switch {
	case f.has("person"):
		l.awaitEvent(f, s)
	case f.has("room"):
		awaitRecording(f, s)
	case f.has("call"):
		awaitCall(f, s)
	case f.err == nil:
		f.err = errors.New("needs one of person (with sees), room (with recording), call")
	}
}

// kinds are what people can be seen to see.
func kinds() []cast.Kind {
	return []cast.Kind{
		cast.ClassBegun, cast.ClassEnded, cast.Joined, cast.Left, cast.Said, cast.MediaBegun, cast.MediaEnded,
		cast.Published, cast.Deleted, cast.Evicted, cast.Out,
	}
}

func (l *loader) awaitEvent(f *fields, s *step) {
	var words []string
	for _, k := range kinds() {
		words = append(words, string(k))
	}
	if !f.has("sees") && f.err == nil {
		f.err = fmt.Errorf("needs sees: %s", strings.Join(words, ", "))
	}
	kind := kinds()[f.oneOf("sees", words...)]
	from, text := f.text("from"), f.text("text")
	what := "sees: " + string(kind)
	if from != "" {
		what += ", from " + from
	}
	if text != "" {
		what += ", " + text
	}
	l.person(f, s, what, func(ctx context.Context, p *play, person *cast.Person) error {
		_, err := person.Await(ctx, func(ev cast.Event) bool {
			return ev.Kind == kind && (from == "" || ev.From == p.fill(from)) && (text == "" || ev.Text == p.fill(text))
		})
		return err
	})
}

func awaitRecording(f *fields, s *step) {
	room := f.needText("room")
	states := rehearsal.States()
	if !f.has("recording") && f.err == nil {
		f.err = fmt.Errorf("needs recording: %s", strings.Join(states, ", "))
	}
	state := states[f.oneOf("recording", states...)]
	s.text = fmt.Sprintf("a recording of room %s is %s", room, state)
	s.do = func(ctx context.Context, p *play) error { return p.rehearsal.AwaitRecording(ctx, p.fill(room), state) }
}

func awaitCall(f *fields, s *step) {
	c := call(f)
	times := max(f.number("times"), 1)
	s.text = fmt.Sprintf("%s is called", c)
	if times > 1 {
		s.text = fmt.Sprintf("%s is called %d times", c, times)
	}
	s.do = func(ctx context.Context, p *play) error {
		for p.rehearsal.Asked(c) < p.asked[c]+times {
			if err := sleep(ctx, time.Millisecond); err != nil {
				return fmt.Errorf("called %d times: %w", p.rehearsal.Asked(c)-p.asked[c], err)
			}
		}
		p.asked[c] += times
		return nil
	}
}

func (l *loader) repeated(f *fields, s *step) {
	if l.depth++; l.depth > maxDepth && f.err == nil {
		f.err = fmt.Errorf("repetitions are more than %d deep in each other", maxDepth)
		return
	}
	s.times = f.number("times")
	s.repeat = l.steps(f, "steps")
	l.depth--
}

func (l *loader) printed(f *fields, s *step) {
	s.text = f.needText("text")
	s.do = func(context.Context, *play) error { return nil }
}

func (l *loader) stop(_ *fields, s *step) {
	s.text = "stop"
	s.do = func(context.Context, *play) error { return errStop }
}
