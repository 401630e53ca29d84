// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
)

// yamlFile gives flags that neither the command line nor the environment has.
type yamlFile struct {
	values map[string]any // by the flag's name
}

// loadYAML reads a file of flags: `grpc-listen: 127.0.0.1:9090`, lists for what
// is repeatable, a map for checkroom-param. Underscores do for dashes.
func loadYAML(r io.Reader) (kong.Resolver, error) {
	raw := map[string]any{}
	if err := yaml.NewDecoder(r).Decode(&raw); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read YAML: %w", err)
	}
	file := yamlFile{values: map[string]any{}}
	for key, value := range raw {
		name := strings.ReplaceAll(key, "_", "-")
		if _, ok := file.values[name]; ok {
			return nil, fmt.Errorf("%s is there twice", name)
		}
		text, err := plain(value, true)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		file.values[name] = text
	}
	return file, nil
}

// plain makes a value what the command line would have given: text, or at the
// top a list or map of texts.
func plain(value any, top bool) (any, error) {
	switch v := value.(type) {
	case nil:
		return nil, nil
	case []any:
		list := make([]any, 0, len(v))
		for _, item := range v {
			text, err := plain(item, false)
			if err != nil || !top {
				return nil, errors.Join(err, errNested(top))
			}
			list = append(list, text)
		}
		return list, nil
	case map[string]any:
		texts := make(map[string]any, len(v))
		for key, item := range v {
			text, err := plain(item, false)
			if err != nil || !top {
				return nil, errors.Join(err, errNested(top))
			}
			texts[key] = text
		}
		return texts, nil
	default:
		return fmt.Sprint(v), nil
	}
}

func errNested(top bool) error {
	if top {
		return nil
	}
	return errors.New("is nested too deep")
}

// Validate refuses keys that are no flags.
func (y yamlFile) Validate(app *kong.Application) error {
	known := map[string]bool{}
	for _, flags := range app.AllFlags(true) {
		for _, flag := range flags {
			known[flag.Name] = true
		}
	}
	delete(known, "help")
	delete(known, "config")
	var unknown []string
	for name := range y.values {
		if !known[name] {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("--config: unknown setting %s", strings.Join(unknown, ", "))
	}
	return nil
}

// Resolve gives a flag its value, unless the environment has one.
func (y yamlFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, ok := os.LookupEnv(env); ok {
			return nil, nil
		}
	}
	return y.values[flag.Name], nil
}
