// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
)

// configFile gives flags their values where neither the command line nor the
// environment does: flags of all commands at its top, those of one below the
// command's name. Names of files are relative to it.
type configFile struct {
	path   string
	values map[string]any
}

// readConfig reads the file that the command line, the environment or habit
// names. Only a file that was named has to be there.
func readConfig(args []string) (*configFile, error) {
	path, named := configPath(args)
	f := &configFile{path: path}
	if path == "" {
		return f, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	if err := yaml.Unmarshal(text, &f.values); err != nil {
		// The parser's own text repeats lines of the file.
		return nil, fmt.Errorf("--config: %s is not YAML of flags and their values", path)
	}
	return f, nil
}

// configPath looks for --config by itself: the file has to be read before the
// command line can be.
func configPath(args []string) (path string, named bool) {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if value, ok := strings.CutPrefix(arg, "--config="); ok {
			return value, true
		}
		if arg == "--config" && i+1 < len(args) {
			return args[i+1], true
		}
	}
	if path := os.Getenv("CLASSREC_CONFIG"); path != "" {
		return path, true
	}
	dir := os.Getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", false
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "classrec", "config.yaml"), false
}

// Validate is called by kong: the file has nothing that is no flag.
func (f *configFile) Validate(model *kong.Application) error {
	for key, value := range f.values {
		if flagOf(model.Node, key) != nil {
			continue
		}
		command := commandOf(model, key)
		below, ok := value.(map[string]any)
		if command == nil || !ok {
			return fmt.Errorf("%s: there is no flag %s", f.path, key)
		}
		for key := range below {
			if flagOf(command, key) == nil {
				return fmt.Errorf("%s: %s has no flag %s", f.path, command.Name, key)
			}
		}
	}
	return nil
}

func flagOf(node *kong.Node, name string) *kong.Flag {
	i := slices.IndexFunc(node.Flags, func(f *kong.Flag) bool { return f.Name == name })
	if i < 0 || name == "help" || name == "config" || name == "room-password" { // that has a file of its own
		return nil
	}
	return node.Flags[i]
}

func commandOf(model *kong.Application, name string) *kong.Node {
	i := slices.IndexFunc(model.Children, func(n *kong.Node) bool { return n.Name == name })
	if i < 0 {
		return nil
	}
	return model.Children[i]
}

// Resolve is called by kong for each flag that is not on the command line.
func (f *configFile) Resolve(_ *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		if os.Getenv(name) != "" {
			return nil, nil //nolint:nilnil // the environment has it
		}
	}
	values := f.values
	if parent.Command != nil {
		values, _ = values[parent.Command.Name].(map[string]any)
	}
	switch value := values[flag.Name].(type) {
	case nil:
		return nil, nil //nolint:nilnil // the default holds
	case bool:
		return value, nil
	case map[string]any, []any:
		return nil, fmt.Errorf("%s: a single value is needed", f.path)
	default:
		text := fmt.Sprint(value)
		if flag.PlaceHolder == "FILE" || flag.PlaceHolder == "DIR" {
			text = f.locate(text)
		}
		return text, nil
	}
}

func (f *configFile) locate(name string) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(f.path), name)
}
