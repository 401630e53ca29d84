// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Read reads a file, and the media files that it names. An error begins with the
// file's name and, as a rule, the line.
func Read(path string) (*Scenario, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}

// Parse reads a scenario. Names of files are relative to that of its own.
func Parse(path string, text []byte) (*Scenario, error) {
	l := &loader{path: path, joined: map[string]bool{}}
	s, err := l.scenario(text)
	if err == nil {
		return s, nil
	}
	if at := (*lineError)(nil); errors.As(err, &at) {
		return nil, fmt.Errorf("%s:%d: %w", filepath.Base(path), at.line, at.err)
	}
	return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
}

// loader is the state of reading one file.
type loader struct {
	path   string
	joined map[string]bool // who can be spoken of from here on
	depth  int             // of repetitions
}

// lineError is an error at a line.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

// at gives an error its line, unless it has one.
func at(node ast.Node, err error) error {
	if inner := (*lineError)(nil); err == nil || node == nil || errors.As(err, &inner) {
		return err
	}
	return &lineError{line: lineOf(node), err: err}
}

func lineOf(node ast.Node) int {
	// The token of a map is the colon of its first entry.
	if m, ok := node.(ast.MapNode); ok {
		if entries := m.MapRange(); entries.Next() {
			return entries.Key().GetToken().Position.Line
		}
	}
	return node.GetToken().Position.Line
}

func (l *loader) scenario(text []byte) (*Scenario, error) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		if syntax := yaml.Error(nil); errors.As(err, &syntax) && syntax.GetToken() != nil {
			return nil, &lineError{line: syntax.GetToken().Position.Line, err: fmt.Errorf("is not YAML: %s", syntax.GetMessage())}
		}
		return nil, errors.New("is not YAML")
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, errors.New("is not one YAML document with steps")
	}
	s := &Scenario{name: filepath.Base(l.path), patience: defaultPatience}
	f, err := newFields(file.Docs[0].Body, "")
	if err != nil {
		return nil, err
	}
	if patience := f.duration("patience"); patience > 0 {
		s.patience = patience
	}
	s.steps = l.steps(f, "steps")
	return s, f.end()
}

// maxDepth is how deep repetitions may be in each other.
const maxDepth = 8

// steps reads a list of steps.
func (l *loader) steps(f *fields, key string) []step {
	node := f.need(key)
	if node == nil {
		return nil
	}
	list, ok := node.(*ast.SequenceNode)
	if !ok || len(list.Values) == 0 {
		f.fail(node, errors.New("is not a list of steps"))
		return nil
	}
	var steps []step
	for _, item := range list.Values {
		s, err := l.step(item)
		if err != nil {
			f.fail(item, err)
			return nil
		}
		steps = append(steps, s)
	}
	return steps
}

// step reads one: a map of one key, the verb; or a verb alone.
func (l *loader) step(node ast.Node) (step, error) {
	var verb string
	var of ast.Node
	switch n := node.(type) {
	case ast.MapNode:
		entries := n.MapRange()
		for entries.Next() {
			key, ok := scalar(entries.Key())
			if !ok || verb != "" {
				return step{}, at(entries.Key(), errors.New("a step is one verb: its arguments stand below it, or in {}"))
			}
			verb, of = key, entries.Value()
		}
	default:
		name, ok := scalar(node)
		if !ok {
			return step{}, at(node, errors.New("a step is a verb with its arguments"))
		}
		verb = name
	}
	v, ok := verbNamed(verb)
	if !ok {
		return step{}, at(node, fmt.Errorf("there is no step %q; there are %s", verb, strings.Join(verbNames(), ", ")))
	}
	f, err := newFields(of, v.short)
	if err != nil {
		return step{}, inVerb(node, verb, err)
	}
	s := step{line: lineOf(node)}
	v.read(l, f, &s)
	if err := f.end(); err != nil {
		if inner := (*lineError)(nil); s.do == nil && errors.As(err, &inner) {
			return step{}, err // of a step inside
		}
		return step{}, inVerb(node, verb, err)
	}
	return s, nil
}

// inVerb is an error of the arguments of a verb, at their line where they have
// one.
func inVerb(node ast.Node, verb string, err error) error {
	if inner := (*lineError)(nil); errors.As(err, &inner) {
		return &lineError{line: inner.line, err: fmt.Errorf("%s: %w", verb, inner.err)}
	}
	return at(node, fmt.Errorf("%s: %w", verb, err))
}

// fields are the arguments of a step. What is asked of it is known; what is not
// asked for is refused by end. Its methods keep the first error, and return zero
// values after it.
type fields struct {
	values map[string]ast.Node
	order  []string
	known  []string
	err    error
}

// newFields takes a map; or, where there is a short form, a plain value of the
// key short.
func newFields(node ast.Node, short string) (*fields, error) {
	f := &fields{values: map[string]ast.Node{}}
	if node == nil {
		return f, nil
	}
	if _, ok := node.(*ast.NullNode); ok {
		return f, nil
	}
	mapping, ok := node.(ast.MapNode)
	if !ok {
		if _, plain := scalar(node); !plain || short == "" {
			return nil, at(node, errors.New("is not a map of arguments"))
		}
		f.values[short], f.order = node, []string{short}
		return f, nil
	}
	for entries := mapping.MapRange(); entries.Next(); {
		key, ok := scalar(entries.Key())
		if !ok || f.values[key] != nil {
			return nil, at(entries.Key(), errors.New("has a key that is no text, or is there for the second time"))
		}
		f.values[key], f.order = entries.Value(), append(f.order, key)
	}
	return f, nil
}

func (f *fields) fail(node ast.Node, err error) {
	if f.err == nil {
		f.err = at(node, err)
	}
}

// end returns what was wrong.
func (f *fields) end() error {
	if f.err != nil {
		return f.err
	}
	for _, key := range f.order {
		if node := f.values[key]; node != nil {
			err := fmt.Errorf("there is no %q here", key)
			if len(f.known) > 0 {
				err = fmt.Errorf("%w; there are %s", err, strings.Join(f.known, ", "))
			}
			return at(node, err)
		}
	}
	return nil
}

// take returns the value of a key, or nil.
func (f *fields) take(key string) ast.Node {
	f.known = append(f.known, key)
	node := f.values[key]
	f.values[key] = nil
	if f.err != nil {
		return nil
	}
	return node
}

// need is take of what has to be there.
func (f *fields) need(key string) ast.Node {
	node := f.take(key)
	if node == nil && f.err == nil {
		f.err = fmt.Errorf("needs %s", key)
	}
	return node
}

// has tells whether there is a key.
func (f *fields) has(key string) bool { return f.values[key] != nil }

// text is a text of one character at least; "" when there is none.
func (f *fields) text(key string) string {
	node := f.take(key)
	if node == nil {
		return ""
	}
	text, ok := scalar(node)
	if !ok || text == "" {
		f.fail(node, fmt.Errorf("%s is not a text", key))
	}
	return text
}

// needText is text of what has to be there.
func (f *fields) needText(key string) string {
	text := f.text(key)
	if text == "" && f.err == nil {
		f.err = fmt.Errorf("needs %s", key)
	}
	return text
}

// texts is a text or several.
func (f *fields) texts(key string) (texts []string) {
	node := f.take(key)
	if node == nil {
		return nil
	}
	items := []ast.Node{node}
	if list, ok := node.(*ast.SequenceNode); ok {
		items = list.Values
	}
	for _, item := range items {
		text, ok := scalar(item)
		if !ok || text == "" {
			f.fail(item, fmt.Errorf("%s is not a text, nor a list of texts", key))
			return nil
		}
		texts = append(texts, text)
	}
	return texts
}

// duration is a time of more than nothing; 0 when there is none.
func (f *fields) duration(key string) time.Duration {
	node := f.take(key)
	if node == nil {
		return 0
	}
	text, _ := scalar(node)
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		f.fail(node, fmt.Errorf("%s is not a time such as 500ms, 2s or 1h30m", key))
	}
	return d
}

// number is a whole number of 1 and more; 0 when there is none.
func (f *fields) number(key string) int {
	node := f.take(key)
	if node == nil {
		return 0
	}
	text, _ := scalar(node)
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		f.fail(node, fmt.Errorf("%s is not a number of 1 and more", key))
	}
	return n
}

// flag is true or false.
func (f *fields) flag(key string) bool {
	node := f.take(key)
	if node == nil {
		return false
	}
	flag, ok := node.(*ast.BoolNode)
	if !ok {
		f.fail(node, fmt.Errorf("%s is neither true nor false", key))
		return false
	}
	return flag.Value
}

// oneOf is the index of one of some words; the first one when there is none.
func (f *fields) oneOf(key string, words ...string) int {
	node := f.take(key)
	if node == nil {
		return 0
	}
	text, _ := scalar(node)
	for i, word := range words {
		if strings.EqualFold(text, word) {
			return i
		}
	}
	f.fail(node, fmt.Errorf("%s is none of %s", key, strings.Join(words, ", ")))
	return 0
}

// scalar is the text of a plain value, as it is written.
func scalar(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return node.GetToken().Value, true
	}
	return "", false
}
