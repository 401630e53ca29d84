// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// The files of rooms and webhooks hold secrets: what is wrong with them is told
// by its line, and never by repeating what stands there.

// parseYAML reads one document. An error does not repeat the text.
func parseYAML(text []byte) (ast.Node, error) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		var at yaml.Error // its text repeats the lines around
		if errors.As(err, &at) && at.GetToken() != nil {
			return nil, fmt.Errorf("line %d: is not YAML", at.GetToken().Position.Line)
		}
		return nil, errors.New("is not YAML")
	}
	if len(file.Docs) != 1 {
		return nil, errors.New("is not one YAML document")
	}
	return file.Docs[0].Body, nil
}

// lineError is an error that has its line already.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

func atLine(node ast.Node, err error) error {
	if inner := (*lineError)(nil); err == nil || node == nil || errors.As(err, &inner) {
		return err
	}
	return &lineError{line: node.GetToken().Position.Line, err: err}
}

// eachKey calls visit for every entry of a map. Keys are as they are written:
// room 0123 is not room 83.
func eachKey(node ast.Node, visit func(key string, value ast.Node) error) error {
	mapping, ok := node.(ast.MapNode)
	if !ok {
		if node == nil {
			return errors.New("is empty")
		}
		return atLine(node, errors.New("is not a map"))
	}
	seen := map[string]bool{}
	for entries := mapping.MapRange(); entries.Next(); {
		key, err := scalar(entries.Key())
		if err != nil {
			return err
		}
		if seen[key] {
			return atLine(entries.Key(), errors.New("has a key for the second time"))
		}
		seen[key] = true
		if err := visit(key, entries.Value()); err != nil {
			return atLine(entries.Key(), err)
		}
	}
	return nil
}

// eachItem calls visit for every item of a list.
func eachItem(node ast.Node, visit func(item ast.Node) error) error {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		return atLine(node, errors.New("is not a list"))
	}
	for _, item := range list.Values {
		if err := visit(item); err != nil {
			return atLine(item, err)
		}
	}
	return nil
}

// eachScalar calls visit for every text of a list.
func eachScalar(node ast.Node, visit func(text string) error) error {
	return eachItem(node, func(item ast.Node) error {
		text, err := scalar(item)
		if err != nil {
			return err
		}
		return visit(text)
	})
}

// scalar is the text of a plain value, as it is written: a password of digits
// stays as it is.
func scalar(node ast.Node) (string, error) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return node.GetToken().Value, nil
	}
	return "", atLine(node, errors.New("has something that is not a text"))
}

func isNull(node ast.Node) bool {
	_, ok := node.(*ast.NullNode)
	return ok
}

// duration is a time that is more than none.
func duration(node ast.Node) (time.Duration, error) {
	text, err := scalar(node)
	if err != nil {
		return 0, err
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, atLine(node, errors.New("has a time that is not one, as 15s or 24h"))
	}
	return d, nil
}
