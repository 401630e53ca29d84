// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/classrec/classrec/server/internal/netguard"
)

const (
	connectTimeout = 10 * time.Second
	// bodyTimeout and maxBodyBytes bound how much of an answer's body is read,
	// which is only so that the connection can be used again.
	bodyTimeout    = time.Second
	maxBodyBytes   = 64 << 10
	maxHeaderBytes = 64 << 10
	// maxRetryAfter bounds what an endpoint may ask for by Retry-After.
	maxRetryAfter = time.Hour
)

// target is where an endpoint's events are posted. Its connections are its own.
type target struct {
	url     string
	origin  string // scheme and host: what may be shown
	timeout time.Duration
	headers map[string]string
	client  *http.Client
}

func newTarget(e Endpoint, parallel int) (target, error) {
	u, err := url.Parse(e.URL)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return target{}, errors.New("the URL is not https://host/path")
	case u.User != nil:
		return target{}, errors.New("the URL has a user name in it; use a header")
	case u.Fragment != "":
		return target{}, errors.New("the URL has a fragment")
	}
	if a := net.ParseIP(u.Hostname()); a != nil { // known now, so say it now
		if err := netguard.New(e.AllowAddresses).Control("", net.JoinHostPort(u.Hostname(), "1"), nil); err != nil {
			return target{}, err
		}
	}
	dialer := &net.Dialer{Timeout: connectTimeout, Control: netguard.New(e.AllowAddresses).Control}
	transport := &http.Transport{
		Proxy:                  nil, // an environment's proxy would dial for us, unchecked
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: e.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    connectTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    parallel,
		MaxResponseHeaderBytes: maxHeaderBytes,
		IdleConnTimeout:        time.Minute,
	}
	return target{
		url: e.URL, origin: u.Scheme + "://" + u.Host, timeout: e.Timeout, headers: e.Headers,
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func (t target) close() { t.client.CloseIdleConnections() }

// answer is what an attempt came to.
type answer struct {
	status     int           // 0 when there was none
	err        string        // why it failed, fit to be shown; "" when it was delivered
	retryAfter time.Duration // that was asked for, at most maxRetryAfter
}

func (a answer) delivered() bool { return a.err == "" }

// post makes one attempt.
func (t target) post(ctx context.Context, secrets []Secret, id string, body []byte, at time.Time) answer {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(body))
	if err != nil {
		return answer{err: "the request could not be made"}
	}
	req.Header.Set("User-Agent", "classrec")
	for name, value := range t.headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/json")
	sign(req.Header, secrets, id, at, body)
	resp, err := t.client.Do(req)
	if err != nil {
		return answer{err: t.describe(err)}
	}
	stop := time.AfterFunc(bodyTimeout, cancel)
	defer stop.Stop()
	_, _ = io.CopyN(io.Discard, resp.Body, maxBodyBytes)
	_ = resp.Body.Close()
	a := answer{status: resp.StatusCode}
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode <= 299:
	case resp.StatusCode >= 300 && resp.StatusCode <= 399:
		a.err = fmt.Sprintf("status %d: redirects are not followed", resp.StatusCode)
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable:
		a.retryAfter = retryAfter(resp.Header.Get("Retry-After"), at)
		fallthrough
	default:
		a.err = strings.TrimSpace(fmt.Sprintf("status %d %s", resp.StatusCode, http.StatusText(resp.StatusCode)))
	}
	return a
}

// retryAfter reads the header of that name: seconds, or a date (RFC 9110
// section 10.2.3).
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if date, err := http.ParseTime(text); err == nil {
		return min(max(date.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// describe says why there was no answer, in words of our own where the library's
// would repeat the URL or what was received.
func (t target) describe(err error) string {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var hostname x509.HostnameError
	var network net.Error
	var errno syscall.Errno
	switch {
	case errors.Is(err, netguard.ErrRefused):
		return netguard.ErrRefused.Error()
	case errors.As(err, &dns) && dns.IsNotFound:
		return "the host is not known"
	case errors.As(err, &dns):
		return "the host could not be looked up"
	case errors.As(err, &hostname):
		return "the certificate is for another host"
	case errors.As(err, &certificate):
		return "the certificate is not trusted"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return fmt.Sprintf("no answer within %v", t.timeout)
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed before an answer came"
	case errors.Is(err, context.Canceled):
		return "broken off"
	}
	return "no answer that is HTTP"
}
