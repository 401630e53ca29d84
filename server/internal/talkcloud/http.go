// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/classrec/classrec/server/internal/tracing"
)

const maxRedirects = 3

func newHTTPClient(cfg *Config, tlsConfig *tls.Config) *http.Client {
	dial := cfg.DialContext
	if dial == nil {
		dial = dialFile
	}
	return &http.Client{
		CheckRedirect: checkRedirect,
		Transport: &http.Transport{
			DialContext:     dial,
			TLSClientConfig: tlsConfig.Clone(),
			// HTTP/1.1 only: a bounded pool of connections does for two small calls a join.
			TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{},
			MaxConnsPerHost:        cfg.MaxHTTPConns,
			MaxIdleConnsPerHost:    cfg.MaxHTTPConns,
			IdleConnTimeout:        30 * time.Second,
			TLSHandshakeTimeout:    cfg.RequestTimeout,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			ReadBufferSize:         2 << 10,
			WriteBufferSize:        2 << 10,
		},
	}
}

// checkRedirect refuses to carry the enterprise key, which stands in the path and so in the
// Referer, or a password, to another host or over an open line.
func checkRedirect(req *http.Request, via []*http.Request) error {
	from, to := via[0].URL, req.URL
	upgrade := from.Scheme == "http" && to.Scheme == "https" && strings.EqualFold(from.Hostname(), to.Hostname())
	same := from.Scheme == to.Scheme && strings.EqualFold(from.Host, to.Host)
	if !same && !upgrade || len(via) > maxRedirects {
		return errRedirect
	}
	req.Header.Del("Referer")
	return nil
}

// call is one HTTP call to the platform.
type call struct {
	op     string
	source Source
	url    *url.URL
	form   url.Values // nil is a GET
	scrub  *scrubber
	cut    bool // of an answer that is too large, its beginning is taken

	tooLarge bool // it was
}

// errorf makes an error of this call.
func (k *call) errorf(kind Kind, cause error, format string, args ...any) *Error {
	return &Error{Op: k.op, Source: k.source, Kind: kind, Message: fmt.Sprintf(format, args...), Err: cause}
}

// refused makes the error of a result other than 0.
func (k *call) refused(result Scalar, message string) *Error {
	n, ok := result.Int()
	if !ok || result.kind == scalarText && result.text == "" {
		return k.errorf(KindInternal, nil, "the answer has no result")
	}
	e := &Error{Op: k.op, Source: k.source, Code: clampCode(n)}
	e.Kind, e.Message = classify(k.source, e.Code)
	if e.Message == "" {
		e.Message = "the platform refuses with a code that is not documented"
	}
	if message = k.scrub.text(message); message != "" {
		e.Message += ": " + message
	}
	return e
}

// do makes the call and returns the body of a 200 answer. All errors are [*Error].
func (c *Client) do(ctx context.Context, k *call) (_ []byte, err error) {
	ctx, end := tracing.Start(ctx, string(k.source))
	defer func() { end(err) }()
	callCtx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	req, err := k.request(callCtx)
	if err != nil {
		return nil, k.errorf(KindInvalidArgument, nil, "the request cannot be made")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.transportError(ctx, k, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.cfg.MaxBodyBytes+1))
	if err == nil {
		err = callCtx.Err() // the platform may have ended its answer early because it saw us go
	}
	switch {
	case err != nil:
		return nil, c.transportError(ctx, k, err)
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		return nil, k.errorf(KindUnavailable, nil, "the platform answers HTTP status %d", resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return nil, k.errorf(KindInternal, nil, "the platform answers HTTP status %d", resp.StatusCode)
	case int64(len(body)) > c.cfg.MaxBodyBytes && k.cut:
		body, k.tooLarge = body[:c.cfg.MaxBodyBytes], true
	case int64(len(body)) > c.cfg.MaxBodyBytes:
		return nil, k.errorf(KindInternal, ErrTooLarge, "the answer is larger than %d bytes", c.cfg.MaxBodyBytes)
	}
	return bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))), nil
}

func (k *call) request(ctx context.Context) (*http.Request, error) {
	u := *k.url
	if k.form == nil {
		return http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	}
	u.RawQuery = "ts=" + strconv.FormatInt(time.Now().UnixMilli(), 10)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(k.form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded;charset=utf-8")
	// These calls ask and change nothing, so net/http may repeat them on a new connection when the
	// platform has closed a kept one. An empty value says so and is not sent.
	req.Header["Idempotency-Key"] = []string{}
	return req, nil
}

// transportError classifies an error of net/http, which shows URLs.
func (c *Client) transportError(ctx context.Context, k *call, err error) *Error {
	cause := k.scrub.transport(err)
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		return k.errorf(KindOf(ctx.Err()), ctx.Err(), "")
	case errors.Is(err, errRedirect):
		return k.errorf(KindInternal, errRedirect, "")
	case errors.Is(err, errFileRedirect):
		return k.errorf(KindInternal, errFileRedirect, "")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return k.errorf(KindDeadline, cause, "no answer within %v", c.cfg.RequestTimeout)
	}
	e := k.errorf(KindUnavailable, cause, "the platform is not reached, or broke off")
	switch k.source {
	case SourceFile:
		e.Message = "the server of the file is not reached, or broke off"
	case SourceCheckRoom:
		e.Code = CodeCheckRoomFailed
	case SourceGetConfig:
		e.Code = CodeGetConfigFailed
	case SourceConfig, SourceSocket, SourceJoin, SourceSignaling, SourceEviction, SourceUserRecordList, SourceRecordList:
	}
	return e
}

// decode reads a JSON answer that must be an object.
func (k *call) decode(body []byte, into any) error {
	switch {
	case len(body) == 0:
		return k.errorf(KindInternal, nil, "the answer is empty")
	case body[0] == '<':
		return k.errorf(KindInternal, nil, "the answer is HTML, not JSON")
	case !json.Valid(body):
		return k.errorf(KindInternal, nil, "the answer is not valid JSON (%d bytes)", len(body))
	case body[0] != '{':
		return k.errorf(KindInternal, nil, "the answer is JSON, but not an object")
	}
	if err := json.Unmarshal(body, into); err != nil {
		return k.errorf(KindInternal, nil, "the answer has another shape than expected") // the cause would quote it
	}
	return nil
}
