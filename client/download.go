// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// DownloadOptions tune [Client.Download]. The zero value is ready for use.
type DownloadOptions struct {
	// Dir is where the files go; it is made. "": the working directory.
	Dir string
	// Parallel is how many files are fetched at once. 0: 3.
	Parallel int
	// Overwrite replaces files that are there already under the same names.
	Overwrite bool
	// HTTPClient fetches; give one whose transport adds them where files need
	// credentials. The client's own token is never sent to where files are. Its
	// CheckRedirect is asked after ours. nil: one with the system's roots and
	// limits for connecting, none for the whole.
	HTTPClient *http.Client
	// Silence is how long a transfer may stand still before it is broken off
	// and resumed. 0: 1 min.
	Silence time.Duration
	// Progress, if not nil, is told how far each file is: when it begins, a few
	// times a second, and when it is done. Calls do not overlap.
	Progress func(DownloadProgress)
	// Retrying, if not nil, is told of each cut: of which file, why, and how
	// long until it is asked for again. Calls do not overlap.
	Retrying func(name string, err error, after time.Duration)
}

// DownloadProgress is how far a file is.
type DownloadProgress struct {
	// File is its place in Recording.urls and Recording.files.
	File int
	// Name is what it is called in the directory.
	Name string
	// Size is its size in bytes; 0 while it is not known.
	Size int64
	// Done is how much of it is there, of which Resumed was before. Where a file
	// is begun anew, both go back.
	Done, Resumed int64
	// Complete says that it is whole, and has its name.
	Complete bool
}

// DownloadedFile is a file that is there.
type DownloadedFile struct {
	// Path is the directory of the options and the file's name.
	Path string
	// Size is its size, of which Fetched came over the network now.
	Size, Fetched int64
}

// ErrNotAvailable is for a recording that has no files yet, or never will.
var ErrNotAvailable = errors.New("the recording is not available")

// SizeError is a file that has another size than the service says.
type SizeError struct{ Want, Got int64 }

func (e *SizeError) Error() string {
	return fmt.Sprintf("the file has %d bytes, and should have %d", e.Got, e.Want)
}

// HTTPError is an answer of where the files are that is no file. It matches
// [ErrNotFound] (404, 410) and [ErrPermissionDenied] (401, 403).
type HTTPError struct{ Status int }

func (e *HTTPError) Error() string {
	return fmt.Sprintf("the answer is %d %s", e.Status, http.StatusText(e.Status))
}

// Is matches what the status means.
func (e *HTTPError) Is(target error) bool {
	switch e.Status {
	case http.StatusNotFound, http.StatusGone:
		return target == ErrNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		return target == ErrPermissionDenied
	}
	return false
}

// Download fetches the files of a recording that is AVAILABLE, several at once,
// and returns them in the recording's order; those that failed have no Path,
// and the error says why, each with its name, never with its URL.
//
// A file is named for the last part of its URL, made harmless: it is in the
// directory itself, and two never share a name ([FileNames]). While it is
// fetched it is NAME.part, with NAME.part.json beside it; it gets its name when
// it is whole and on disk, in one step. A transfer that breaks is resumed where
// it was, in this call or in a later one, as long as the server still has the
// same file by its ETag or Last-Modified; else the file is begun anew. Its size
// must be the one of RecordingFile.size, where that is known, and of the
// server's own Content-Length: else [*SizeError]. A file that is there already
// in its full size is not fetched again; one of another size is an error
// (fs.ErrExist), unless Overwrite is set.
//
// A URL that has expired (401, 403 or 410) is asked for again, by GetRecording.
//
// Redirects are followed within http or within https, never to another scheme.
//
// Errors: [ErrNotAvailable]; [*HTTPError]; [*SizeError]; those of the file
// system, such as syscall.ENOSPC; ctx's. The parts are kept, except for those of
// a wrong size. Two processes must not fetch into one directory.
func (c *Client) Download(ctx context.Context, recording *classrecv1.Recording, opts DownloadOptions) ([]DownloadedFile, error) {
	if recording.GetState() != classrecv1.RecordingState_RECORDING_STATE_AVAILABLE {
		return nil, fmt.Errorf("%w: %s is %s", ErrNotAvailable, recording.GetName(), recording.GetState())
	}
	if opts.Dir == "" {
		opts.Dir = "."
	}
	if opts.Parallel <= 0 {
		opts.Parallel = 3
	}
	if opts.Silence <= 0 {
		opts.Silence = time.Minute
	}
	if err := os.MkdirAll(opts.Dir, 0o777); err != nil { //nolint:gosec // as every program makes directories: the umask decides
		return nil, fmt.Errorf("directory for files: %w", err)
	}
	// Nothing outside can be reached through it, whatever a name is.
	root, err := os.OpenRoot(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("directory for files: %w", err)
	}
	defer func() { _ = root.Close() }()

	web, done := fileClient(opts.HTTPClient)
	defer done()
	d := &download{opts: opts, root: root, web: web, attempts: c.attempts, fresh: func(ctx context.Context) (*classrecv1.Recording, error) {
		ctx, cancel := context.WithTimeout(ctx, renewTimeout)
		defer cancel()
		res, err := c.GetRecording(ctx, &classrecv1.GetRecordingRequest{Name: recording.GetName()})
		return res.GetRecording(), err
	}}
	names := FileNames(recording)
	files := make([]DownloadedFile, len(names))
	errs := make([]error, len(names))
	var g errgroup.Group // one that fails does not end the others
	g.SetLimit(opts.Parallel)
	for i, name := range names {
		f := &remoteFile{index: i, name: name, url: recording.GetUrls()[i]}
		if i < len(recording.GetFiles()) {
			f.size = recording.GetFiles()[i].GetSize()
		}
		g.Go(func() error {
			if files[i], errs[i] = d.fetch(ctx, f); errs[i] != nil {
				files[i], errs[i] = DownloadedFile{}, fmt.Errorf("fetch %s: %w", name, errs[i])
			}
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	return files, errors.Join(errs...)
}

// renewTimeout bounds how long a URL that has expired is asked for.
const renewTimeout = 30 * time.Second

// remoteFile is one file to fetch.
type remoteFile struct {
	index int
	name  string
	url   string
	size  int64 // as the service says; 0: it does not
}

// download is one [Client.Download].
type download struct {
	opts     DownloadOptions
	root     *os.Root
	web      *http.Client
	attempts int
	fresh    func(context.Context) (*classrecv1.Recording, error) // the recording as it is now

	telling sync.Mutex
}

// renew gets a file's URL again, when it does not open the file any more; false
// where there is no other.
func (d *download) renew(ctx context.Context, f *remoteFile, refused error) bool {
	var answer *HTTPError
	if !errors.As(refused, &answer) {
		return false
	}
	switch answer.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusGone:
	default:
		return false
	}
	recording, err := d.fresh(ctx)
	if err != nil {
		return false // what the answer was says more
	}
	for _, other := range recording.GetUrls() {
		if unsigned(other) == unsigned(f.url) && other != f.url {
			f.url = other
			return true
		}
	}
	return false
}

func (d *download) tell(p DownloadProgress) {
	if d.opts.Progress == nil {
		return
	}
	d.telling.Lock()
	defer d.telling.Unlock()
	d.opts.Progress(p)
}

func (d *download) retrying(name string, err error, after time.Duration) {
	if d.opts.Retrying == nil {
		return
	}
	d.telling.Lock()
	defer d.telling.Unlock()
	d.opts.Retrying(name, err, after)
}

// fetch fetches one file, over as many requests as it takes.
func (d *download) fetch(ctx context.Context, f *remoteFile) (_ DownloadedFile, err error) {
	there := int64(-1) // the size of the file that has the name already
	if info, err := d.root.Lstat(f.name); err == nil {
		there = info.Size()
		if !info.Mode().IsRegular() {
			return DownloadedFile{}, fmt.Errorf("it is there, and no file: %w", fs.ErrExist)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return DownloadedFile{}, err
	}
	if d.opts.Overwrite {
		there = -1
	}
	whole := func(size, resumed int64) DownloadedFile {
		d.tell(DownloadProgress{File: f.index, Name: f.name, Size: size, Done: size, Resumed: resumed, Complete: true})
		return DownloadedFile{Path: filepath.Join(d.opts.Dir, f.name), Size: size, Fetched: size - resumed}
	}
	switch {
	case there >= 0 && there == f.size:
		return whole(there, there), nil
	case there >= 0 && f.size > 0:
		return DownloadedFile{}, fmt.Errorf("a file of another size is there: %w", fs.ErrExist)
	}
	p, err := openPart(d.root, f)
	if err != nil {
		return DownloadedFile{}, err
	}
	defer func() {
		if err := p.close(); err != nil {
			d.retrying(f.name, err, 0) // what is on disk is checked when it is resumed
		}
	}()
	t := &transfer{download: d, file: f, part: p, there: there, resumed: p.size}
	if err := t.run(ctx); err != nil {
		return DownloadedFile{}, err
	}
	if t.same {
		return whole(there, there), p.discard()
	}
	if err := p.finish(f.name); err != nil {
		return DownloadedFile{}, err
	}
	return whole(p.size, t.resumed), nil
}

// run makes requests until the part is whole.
func (t *transfer) run(ctx context.Context) error {
	wait := pauses{min: 200 * time.Millisecond, max: 5 * time.Second}
	t.tell(t.progress())
	furthest, renewed := t.part.size, int64(-1)
	for failures := 0; ; {
		err := t.once(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var again *againError
		if !errors.As(err, &again) {
			if t.part.size > renewed && t.renew(ctx, t.file, err) { // once, and again after something came
				renewed = t.part.size
				continue
			}
			return err
		}
		if t.part.size > furthest {
			furthest, failures = t.part.size, 0
			wait.reset()
		}
		if failures++; failures >= t.attempts || again.after > maxRetryAfter {
			return again.err
		}
		pause := wait.take(again.after)
		t.retrying(t.file.name, again.err, pause)
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// againError is a failure that another request may mend.
type againError struct {
	err   error
	after time.Duration // what the server asks for, or 0
}

func (e *againError) Error() string { return e.err.Error() }
func (e *againError) Unwrap() error { return e.err }

func again(err error) error { return &againError{err: err} }

var (
	errChanged    = errors.New("the file has changed meanwhile")
	errEncoded    = errors.New("the file comes encoded, which was not asked for")
	errStill      = errors.New("nothing came for too long")
	errEmpty      = errors.New("the file is empty, and nobody says that it should be")
	errScheme     = errors.New("a URL is neither http nor https")
	errRedirected = errors.New("a redirect to another scheme")
	errRedirects  = errors.New("too many redirects")
)

// fileClient makes a client that is careful with redirects; done releases what
// is ours of it.
func fileClient(given *http.Client) (web *http.Client, done func()) {
	done = func() {}
	if given == nil {
		transport := &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second,
			MaxIdleConnsPerHost:   8,
		}
		given, done = &http.Client{Transport: transport}, transport.CloseIdleConnections
	}
	own := *given
	own.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		switch {
		case req.URL.Scheme != via[0].URL.Scheme:
			return errRedirected
		case given.CheckRedirect != nil:
			return given.CheckRedirect(req, via)
		case len(via) >= 10:
			return errRedirects
		}
		return nil
	}
	return &own, done
}
