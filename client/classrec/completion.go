// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

// Help has the examples.
func (completionCommand) Help() string {
	return `Examples:

    source <(classrec completion bash)
    classrec completion zsh > "${fpath[1]}/_classrec"
    classrec completion fish > ~/.config/fish/completions/classrec.fish`
}

// Run prints a script, which needs nothing of this program when it runs.
func (c completionCommand) Run(a *app) error {
	shells := map[string]func(*kong.Application) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	return a.out.line(strings.TrimRight(shells[c.Shell](a.model), "\n"))
}

// candidates are what may follow a flag or stand for an argument.
type candidates int

const (
	nothing candidates = iota // free text
	words                     // of a list
	fileNames
	directories
)

// taken says what a flag's value may be.
func taken(value *kong.Value, placeholder string) (candidates, []string) {
	list := []string{}
	if value.Enum != "" {
		list = slices.DeleteFunc(value.EnumSlice(), func(text string) bool { return text == "" })
	}
	switch {
	case len(list) > 0:
		return words, list
	case placeholder == "FILE":
		return fileNames, nil
	case placeholder == "DIR":
		return directories, nil
	default:
		return nothing, nil
	}
}

// flagsOf are the flags of a node that are shown.
func flagsOf(node *kong.Node) []*kong.Flag {
	return slices.DeleteFunc(slices.Clone(node.Flags), func(f *kong.Flag) bool { return f.Hidden })
}

// spellings are the ways to write a flag, the long one last.
func spellings(f *kong.Flag) []string {
	list := []string{}
	if f.Short != 0 {
		list = append(list, "-"+string(f.Short))
	}
	if f.Tag.Negatable != "" {
		list = append(list, "--no-"+f.Name)
	}
	return append(list, "--"+f.Name)
}

func takesValue(f *kong.Flag) bool { return !f.IsBool() && !f.IsCounter() }

// summary is the first sentence of a help text.
func summary(help string) string {
	first, _, _ := strings.Cut(help, ". ")
	return strings.TrimRight(first, ".")
}

func bashCompletion(model *kong.Application) string {
	var b strings.Builder
	var withValue []string
	values := func(command string, node *kong.Node) {
		for _, f := range flagsOf(node) {
			if !takesValue(f) {
				continue
			}
			var patterns []string
			for _, spelling := range spellings(f) {
				patterns = append(patterns, command+`" `+spelling+`"`)
				withValue = append(withValue, spelling)
			}
			action := ""
			switch kind, list := taken(f.Value, f.PlaceHolder); kind {
			case words:
				action = fmt.Sprintf(`COMPREPLY=($(compgen -W %q -- "$cur"))`, strings.Join(list, " "))
			case fileNames:
				action = `compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur"))`
			case directories:
				action = `compopt -o filenames; COMPREPLY=($(compgen -d -- "$cur"))`
			case nothing:
				action = ":"
			}
			fmt.Fprintf(&b, "    %s) %s; return ;;\n", strings.Join(patterns, "|"), action)
		}
	}
	for _, command := range model.Children {
		values(command.Name, command)
	}
	values("*", model.Node)
	flagValues := b.String()

	b.Reset()
	names := func(node *kong.Node) []string {
		var list []string
		for _, f := range flagsOf(node) {
			list = append(list, spellings(f)...)
		}
		return list
	}
	global := strings.Join(names(model.Node), " ")
	var commands []string
	for _, command := range model.Children {
		commands = append(commands, command.Name)
		choices := names(command)
		for _, arg := range command.Positional {
			_, list := taken(arg, "")
			choices = append(choices, list...)
		}
		fmt.Fprintf(&b, "    %s) words=%q ;;\n", command.Name, strings.Join(choices, " "))
	}
	slices.Sort(withValue)
	return fmt.Sprintf(`# bash completion for classrec
_classrec() {
    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" command="" words="" i
    # Bash takes --flag=value for three words.
    if [[ "$cur" == "=" ]]; then
        cur=""
    elif [[ "$prev" == "=" ]]; then
        prev="${COMP_WORDS[COMP_CWORD-2]}"
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "${COMP_WORDS[i]}" in
        %s) ((i++)); [[ "${COMP_WORDS[i]}" == "=" ]] && ((i++)) ;;
        -*|=) ;;
        *) command="${COMP_WORDS[i]}"; break ;;
        esac
    done
    COMPREPLY=()
    case "$command $prev" in
%s    esac
    case "$command" in
    "") words=%q ;;
%s    esac
    COMPREPLY=($(compgen -W "$words %s" -- "$cur"))
}
complete -F _classrec classrec
`, strings.Join(slices.Compact(withValue), "|"), flagValues, strings.Join(commands, " "), b.String(), global)
}

func zshCompletion(model *kong.Application) string {
	escape := strings.NewReplacer(`'`, `'\''`, `[`, `\[`, `]`, `\]`, `:`, `\:`, "`", "\\`", `$`, `\$`)
	argument := func(value *kong.Value, placeholder string) string {
		switch kind, list := taken(value, placeholder); kind {
		case words:
			return "(" + strings.Join(list, " ") + ")"
		case fileNames:
			return "_files"
		case directories:
			return "_files -/"
		case nothing:
		}
		return " "
	}
	flags := func(node *kong.Node, indent string) string {
		var b strings.Builder
		for _, f := range flagsOf(node) {
			all := spellings(f)
			for _, spelling := range all {
				spec := spelling
				if takesValue(f) {
					if strings.HasPrefix(spelling, "--") {
						spec += "="
					} else {
						spec += "+"
					}
				}
				spec = "(" + strings.Join(all, " ") + ")" + spec + "[" + escape.Replace(summary(f.Help)) + "]"
				if takesValue(f) {
					spec += ":" + escape.Replace(f.PlaceHolder) + ":" + argument(f.Value, f.PlaceHolder)
				}
				fmt.Fprintf(&b, "%s'%s' \\\n", indent, spec)
			}
		}
		return b.String()
	}
	var commands, cases strings.Builder
	for _, command := range model.Children {
		fmt.Fprintf(&commands, "      '%s:%s'\n", command.Name, escape.Replace(summary(command.Help)))
		fmt.Fprintf(&cases, "    %s)\n      _arguments \\\n%s", command.Name, flags(command, "        "))
		cases.WriteString(flags(model.Node, "        "))
		for i, arg := range command.Positional {
			fmt.Fprintf(&cases, "        '%d:%s:%s' \\\n", i+1, escape.Replace(arg.Name), argument(arg, ""))
		}
		cases.WriteString("        && return 0 ;;\n")
	}
	return fmt.Sprintf(`#compdef classrec
_classrec() {
  local curcontext="$curcontext" state line
  typeset -A opt_args
  _arguments -C \
%s    '1: :->command' \
    '*:: :->argument' && return 0
  case "$state" in
  command)
    local -a commands
    commands=(
%s    )
    _describe command commands ;;
  argument)
    case "$words[1]" in
%s    esac ;;
  esac
}
if [[ "$funcstack[1]" == _classrec ]]; then
  _classrec "$@"
else
  compdef _classrec classrec
fi
`, flags(model.Node, "    "), commands.String(), cases.String())
}

func fishCompletion(model *kong.Application) string {
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var b strings.Builder
	b.WriteString("# fish completion for classrec\ncomplete -c classrec -f\n")
	flags := func(node *kong.Node, condition string) {
		for _, f := range flagsOf(node) {
			for _, spelling := range spellings(f) {
				if spelling == "--"+f.Name && f.Short != 0 {
					continue // with the short one
				}
				b.WriteString("complete -c classrec" + condition)
				if f.Short != 0 {
					fmt.Fprintf(&b, " -s %c -l %s", f.Short, f.Name)
				} else {
					b.WriteString(" -l " + strings.TrimPrefix(spelling, "--"))
				}
				if takesValue(f) {
					switch kind, list := taken(f.Value, f.PlaceHolder); kind {
					case words:
						fmt.Fprintf(&b, " -x -a '%s'", strings.Join(list, " "))
					case fileNames:
						b.WriteString(" -r -F")
					case directories:
						b.WriteString(" -x -a '(__fish_complete_directories)'")
					case nothing:
						b.WriteString(" -x")
					}
				}
				fmt.Fprintf(&b, " -d '%s'\n", escape.Replace(summary(f.Help)))
			}
		}
	}
	flags(model.Node, "")
	for _, command := range model.Children {
		fmt.Fprintf(&b, "complete -c classrec -n __fish_use_subcommand -a %s -d '%s'\n", command.Name, escape.Replace(summary(command.Help)))
		condition := " -n '__fish_seen_subcommand_from " + command.Name + "'"
		flags(command, condition)
		for _, arg := range command.Positional {
			if _, list := taken(arg, ""); len(list) > 0 {
				fmt.Fprintf(&b, "complete -c classrec%s -a '%s'\n", condition, strings.Join(list, " "))
			}
		}
	}
	return b.String()
}
