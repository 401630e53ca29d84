// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// transfer is one file on its way into its part.
type transfer struct {
	*download
	file    *remoteFile
	part    *part
	there   int64 // the size of the file that has the name already; -1: none
	resumed int64 // of the part, what was there before
	same    bool  // the file that is there already is the one
	total   int64 // the size of the file; 0: not known yet
	told    time.Time
}

func (t *transfer) progress() DownloadProgress {
	size := t.file.size
	if size == 0 {
		size = t.total
	}
	return DownloadProgress{File: t.file.index, Name: t.file.name, Size: size, Done: t.part.size, Resumed: t.resumed}
}

// once makes one request, for all that is missing, and returns nil when the
// part is whole. An [*againError] may be mended by another request.
func (t *transfer) once(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	still := time.AfterFunc(t.opts.Silence, func() { cancel(errStill) })
	defer still.Stop()

	resp, err := t.request(ctx)
	if err != nil {
		return err
	}
	defer func() {
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // when little is left, the connection can be used again
		_ = resp.Body.Close()
	}()
	total, err := t.answer(resp)
	if err != nil || t.same {
		return err
	}
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return t.check(total) // all of it is here already
	}
	// One byte more than there should be is enough to know.
	var body io.Reader = resp.Body
	if limit := max(total, t.file.size); limit > 0 {
		body = io.LimitReader(body, limit-t.part.size+1)
	}
	if err := t.copy(ctx, body, still); err != nil {
		return err
	}
	return t.check(total)
}

// request asks for the rest of the file, or for the whole.
func (t *transfer) request(ctx context.Context) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.file.url, nil)
	if err != nil || req.URL.Scheme != "http" && req.URL.Scheme != "https" || req.URL.Host == "" {
		return nil, errScheme // the error would repeat the URL
	}
	req.Header.Set("Accept-Encoding", "identity") // bytes are counted
	if t.part.validator() == "" && t.part.size > 0 {
		t.resumed = 0
		if err := t.part.reset(); err != nil {
			return nil, err
		}
	}
	if t.part.size > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", t.part.size))
		req.Header.Set("If-Range", t.part.validator())
	}
	resp, err := t.web.Do(req)
	if err == nil {
		return resp, nil
	}
	if cause := context.Cause(ctx); errors.Is(cause, errStill) {
		return nil, again(cause)
	}
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	if errors.Is(err, errRedirected) || errors.Is(err, errRedirects) {
		return nil, err
	}
	return nil, again(err)
}

// answer reads the header: it returns the size of the whole file (0: not said),
// and leaves the part as the body continues it.
func (t *transfer) answer(resp *http.Response) (total int64, err error) {
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return 0, errEncoded
	}
	switch resp.StatusCode {
	case http.StatusOK:
		total = max(resp.ContentLength, 0)
		if err := t.expect(total); err != nil {
			return 0, err
		}
		if t.there >= 0 {
			if t.same = total > 0 && total == t.there; !t.same {
				return 0, errors.Join(fmt.Errorf("a file of another size is there: %w", fs.ErrExist), t.part.discard())
			}
			return total, nil
		}
		t.resumed = 0
		return total, t.part.begin(resp.Header)
	case http.StatusPartialContent:
		from, size, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || t.part.size == 0 || from != t.part.size || !t.part.same(resp.Header) || t.total > 0 && size > 0 && size != t.total {
			return 0, t.changed()
		}
		return size, t.expect(size)
	case http.StatusRequestedRangeNotSatisfiable:
		size, ok := strings.CutPrefix(resp.Header.Get("Content-Range"), "bytes */")
		if total, err = strconv.ParseInt(size, 10, 64); !ok || err != nil || t.part.size == 0 || total != t.part.size {
			return 0, t.changed()
		}
		return total, nil
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return 0, &againError{err: &HTTPError{resp.StatusCode}, after: retryAfter(resp.Header)}
	default:
		return 0, &HTTPError{resp.StatusCode}
	}
}

// changed gives up what is there of the part: it is of another file.
func (t *transfer) changed() error {
	t.resumed, t.total = 0, 0
	if err := t.part.reset(); err != nil {
		return err
	}
	return again(errChanged)
}

// expect refuses a file of which the server says that it has a wrong size.
func (t *transfer) expect(total int64) error {
	if t.total = total; total > 0 && t.file.size > 0 && total != t.file.size {
		return errors.Join(&SizeError{Want: t.file.size, Got: total}, t.part.discard())
	}
	return nil
}

// check says whether the part is the whole file, now that its end has come.
func (t *transfer) check(total int64) error {
	switch {
	case t.part.size == 0 && t.file.size == 0:
		return again(errEmpty) // the size is unknown, so an empty file cannot be told from a cut one
	case total == 0 && t.part.size < t.file.size:
		return again(io.ErrUnexpectedEOF)
	case t.file.size > 0 && t.part.size != t.file.size && t.part.size >= total:
		return errors.Join(&SizeError{Want: t.file.size, Got: t.part.size}, t.part.discard())
	case total > 0 && t.part.size < total:
		return again(io.ErrUnexpectedEOF)
	case total > 0 && t.part.size > total:
		return errors.Join(&SizeError{Want: total, Got: t.part.size}, t.part.discard())
	}
	return nil
}

// tellEvery is how often progress is told.
const tellEvery = 100 * time.Millisecond

// copy puts the body into the part.
func (t *transfer) copy(ctx context.Context, body io.Reader, still *time.Timer) error {
	buffer := make([]byte, 128<<10)
	for {
		n, err := body.Read(buffer)
		still.Reset(t.opts.Silence)
		if n > 0 {
			if err := t.part.write(buffer[:n]); err != nil {
				return err
			}
			if now := time.Now(); now.Sub(t.told) >= tellEvery {
				t.told = now
				t.tell(t.progress())
			}
		}
		switch cause := context.Cause(ctx); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && errors.Is(cause, errStill):
			return again(cause)
		case err != nil:
			return again(err)
		}
	}
}

// contentRange reads "bytes FROM-TO/SIZE"; size is 0 for "*".
func contentRange(text string) (from, size int64, ok bool) {
	text, ok = strings.CutPrefix(text, "bytes ")
	span, whole, found := strings.Cut(text, "/")
	first, last, dash := strings.Cut(span, "-")
	if !ok || !found || !dash {
		return 0, 0, false
	}
	from, err := strconv.ParseInt(first, 10, 64)
	to, err2 := strconv.ParseInt(last, 10, 64)
	if err != nil || err2 != nil || from < 0 || to < from {
		return 0, 0, false
	}
	if whole == "*" {
		return from, 0, true
	}
	size, err = strconv.ParseInt(whole, 10, 64)
	return from, size, err == nil && size == to+1
}

// retryAfter reads Retry-After, in seconds or as a date.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil && seconds >= 0 && seconds <= 86400 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
