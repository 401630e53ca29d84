// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

type downloadCommand struct {
	Name      string `arg:"" help:"The recording's name."`
	Dir       string `short:"d" default:"." placeholder:"DIR" help:"Where the files go; it is made (${default})."`
	Parallel  int    `default:"3" placeholder:"N" help:"How many files to fetch at once (${default})."`
	Overwrite bool   `help:"Replace files of the same names that are there already."`
	Wait      bool   `help:"Wait until the files are there."`
}

// Help has the examples.
func (downloadCommand) Help() string {
	return `A file is NAME.part until it is whole. What was interrupted goes on where it was when the same command is given again; what is there already in its full size is not fetched again.

Examples:

    classrec download rooms/42/recordings/1795343400 -d lessons
    classrec download "$(classrec stop 42 -o name)" --wait
    classrec download rooms/42/recordings/1795343400 -o name | xargs -d '\n' ffprobe`
}

// Validate is called by kong.
func (c downloadCommand) Validate() error {
	if c.Parallel < 1 {
		return errors.New("--parallel is less than 1")
	}
	return nil
}

// Run fetches the files of a recording and prints where they are.
func (c downloadCommand) Run(a *app) error {
	r, err := c.recording(a)
	if err != nil {
		return err
	}
	web, done, err := a.server.files()
	if err != nil {
		return usageError{err}
	}
	defer done()
	p := a.newProgress(r)
	files, err := a.client.Download(a.ctx, r, client.DownloadOptions{
		Dir: c.Dir, Parallel: c.Parallel, Overwrite: c.Overwrite, HTTPClient: web,
		Progress: p.progress,
		Retrying: func(name string, err error, after time.Duration) {
			p.interrupt(fmt.Sprintf("%s: cut off (%v); again in %s.", name, err, after.Round(100*time.Millisecond)))
		},
	})
	p.end()
	if a.ctx.Err() != nil {
		a.say("Interrupted: the same command goes on from here.")
		return err
	}
	if errors.Is(err, client.ErrNotAvailable) {
		return err
	}
	if printed := a.out.files(files); printed != nil {
		return printed
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		a.say("Hint: --overwrite replaces files that are there")
	case err == nil && len(files) == 0 && a.out.format == "table":
		a.say("The recording has no files.")
	}
	if err != nil {
		return filesError{err}
	}
	return nil
}

func (c downloadCommand) recording(a *app) (*classrecv1.Recording, error) {
	if c.Wait {
		return a.wait(c.Name, nil, 0)
	}
	ctx, cancel := a.call()
	defer cancel()
	r, err := a.client.Get(ctx, c.Name)
	if err == nil && r.GetState() == classrecv1.RecordingState_RECORDING_STATE_FAILED {
		err = &client.FailedError{Recording: r}
	}
	return r, err
}

// files prints where the files are that came.
func (p printer) files(files []client.DownloadedFile) error {
	type file struct {
		Path    string `json:"path" yaml:"path"`
		Size    int64  `json:"size" yaml:"size"`
		Fetched int64  `json:"fetched" yaml:"fetched"`
	}
	list := struct {
		Files []file `json:"files" yaml:"files"`
	}{Files: []file{}}
	for _, f := range files {
		if f.Path != "" {
			list.Files = append(list.Files, file(f))
		}
	}
	switch p.format {
	case "json":
		text, err := json.MarshalIndent(list, "", "  ")
		if err != nil {
			return err
		}
		return p.line(string(text))
	case "yaml":
		text, err := yaml.Marshal(list)
		if err != nil {
			return err
		}
		_, err = p.w.Write(text)
		return err
	case "name":
		for _, f := range list.Files {
			if err := p.line(f.Path); err != nil {
				return err
			}
		}
		return nil
	default:
		if len(list.Files) == 0 {
			return nil
		}
		c := columns{}
		c.add("FILE", "SIZE", "FETCHED")
		for _, f := range list.Files {
			c.add(clean(f.Path), size(f.Size), size(f.Fetched))
		}
		return c.write(p.w)
	}
}

// newProgress shows how far a download is: as a bar on a terminal, as a line
// for each thing that happens elsewhere.
func (a *app) newProgress(r *classrecv1.Recording) *progress {
	p := &progress{w: a.stderr, now: time.Now, files: make([]client.DownloadProgress, len(r.GetUrls()))}
	for i, f := range r.GetFiles() {
		if i < len(p.files) {
			p.files[i].Size = f.GetSize()
		}
	}
	if _, ok := terminal(a.stderr); ok && os.Getenv("TERM") != "dumb" {
		p.bar, p.width = true, func() int { return screen(a.stderr) }
	}
	return p
}
