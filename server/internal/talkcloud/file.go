// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"sync/atomic"
	"syscall"

	"github.com/classrec/classrec/server/internal/tracing"
)

// CheckFile asks whether a file that a record list names can be fetched now: its server answers
// with success, and the file is not empty. It fetches no more than a byte. nil says that it can.
//
// It asks by HEAD, and where that is refused (403, 405, 501), or does not tell a size, by a GET of
// the first byte. TLS is verified with [Config.RootCAs]. The check as a whole has
// [Config.RequestTimeout].
//
// Files live where the platform says, on any host, and redirects are followed to any other: lists
// name an entrance that sends callers on to a content network. Nothing of ours goes along, neither
// the key nor a Referer. From https to http no redirect is followed, and none from a public address
// to one that is not: whoever serves a file could otherwise have us knock at our own doors.
//
// Errors are [*Error] without the URL: [KindInvalidArgument] for what is not an absolute http(s)
// URL, or has a user name in it; [KindNotFound] for 404, 410 and an empty file;
// [KindPermissionDenied] for 401 and 403; [KindUnavailable] and [KindDeadline] as of every call;
// [KindInternal] for any other answer.
func (c *Client) CheckFile(ctx context.Context, fileURL string) (err error) {
	ctx, end := tracing.Start(ctx, "check file")
	defer func() { end(err) }()
	k := &call{op: "check a file", source: SourceFile, scrub: c.scrub}
	u, err := url.Parse(fileURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return k.errorf(KindInvalidArgument, nil, "it is not an absolute http(s) URL")
	}
	callCtx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	status, size, err := c.probe(callCtx, http.MethodHead, fileURL)
	switch {
	case err != nil:
	case status == http.StatusForbidden, status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented,
		status == http.StatusOK && size < 0:
		status, size, err = c.probe(callCtx, http.MethodGet, fileURL)
	}
	switch {
	case err != nil:
		return c.transportError(ctx, k, err)
	case status == http.StatusRequestedRangeNotSatisfiable, success(status) && size == 0:
		return k.errorf(KindNotFound, nil, "the file is empty")
	case success(status):
		return nil
	case status == http.StatusNotFound, status == http.StatusGone:
		return k.errorf(KindNotFound, nil, "the server of the file answers HTTP status %d", status)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return k.errorf(KindPermissionDenied, nil, "the server of the file answers HTTP status %d", status)
	case status == http.StatusTooManyRequests, status >= 500:
		return k.errorf(KindUnavailable, nil, "the server of the file answers HTTP status %d", status)
	}
	return k.errorf(KindInternal, nil, "the server of the file answers HTTP status %d", status)
}

func success(status int) bool { return status == http.StatusOK || status == http.StatusPartialContent }

// probe asks for a file, of a GET for its first byte. size is the number of bytes that are there,
// as far as it was told: 0 is an empty file, below 0 is not known.
func (c *Client) probe(ctx context.Context, method, fileURL string) (status int, size int64, err error) {
	req, err := http.NewRequestWithContext(ctx, method, fileURL, nil)
	if err != nil {
		return 0, 0, err
	}
	// The size is that of the file, not of what an eager server makes of it on the way.
	req.Header.Set("Accept-Encoding", "identity")
	if method == http.MethodGet {
		req.Header.Set("Range", "bytes=0-0")
	}
	resp, err := c.files.Do(withHops(req, c.public))
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if method == http.MethodHead || !success(resp.StatusCode) {
		return resp.StatusCode, resp.ContentLength, nil
	}
	// What counts is that a byte comes; of a server that does not know ranges, the rest is not read.
	n, err := io.ReadFull(resp.Body, make([]byte, 1))
	switch {
	case n == 1:
		return resp.StatusCode, 1, nil
	case errors.Is(err, io.EOF):
		return resp.StatusCode, 0, nil
	}
	return 0, 0, err
}

// checkFileRedirect lets a file live elsewhere, but never on an open line when the list named a
// closed one.
func checkFileRedirect(req *http.Request, via []*http.Request) error {
	req.Header.Del("Referer") // the URL is a secret to others
	if h := hopsOf(req.Context()); h != nil {
		h.redirected.Store(true)
	}
	if len(via) > maxRedirects || via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return errFileRedirect
	}
	return nil
}

// hops are the way of one request for a file. It is a value of its context, where dialing finds it.
type hops struct {
	public     func(netip.Addr) bool
	began      atomic.Bool // at a public address
	redirected atomic.Bool
}

type hopsKey struct{}

func hopsOf(ctx context.Context) *hops {
	h, _ := ctx.Value(hopsKey{}).(*hops)
	return h
}

// withHops watches the way of a request.
func withHops(req *http.Request, public func(netip.Addr) bool) *http.Request {
	h := &hops{public: public}
	ctx := context.WithValue(req.Context(), hopsKey{}, h)
	return req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if at, err := netip.ParseAddrPort(info.Conn.RemoteAddr().String()); err == nil && !h.redirected.Load() {
			h.began.Store(h.public(at.Addr()))
		}
	}}))
}

// dialFile dials, but for a file that was at a public address not to one that is not.
func dialFile(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	if h := hopsOf(ctx); h != nil && h.redirected.Load() && h.began.Load() {
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			if at, err := netip.ParseAddrPort(address); err != nil || !h.public(at.Addr()) {
				return errFileRedirect
			}
			return nil
		}
	}
	return dialer.DialContext(ctx, network, address)
}

// errFileRedirect is what a redirect of a file that we refuse ends with.
var errFileRedirect = errors.New("the server of the file redirects away from https, to an address that is not public, or too often")
