// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"html"
	"io"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"
)

// maxForeignText bounds what of a foreign text stands in an error, in bytes.
const maxForeignText = 300

// scrubber takes secrets out of texts that we did not write: errors of net/http, which show URLs,
// and messages of the platform, which may repeat what it was sent. A nil scrubber only bounds them.
type scrubber struct{ replacer *strings.Replacer }

// newScrubber knows the secrets in the forms in which they can come back. It is nil for none.
func newScrubber(secrets ...string) *scrubber {
	var forms []string
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		for _, form := range []string{
			secret, url.PathEscape(secret), url.QueryEscape(secret), (&url.URL{Path: secret}).EscapedPath(),
			strings.Trim(string(quote(secret)), `"`), strings.Trim(strconv.Quote(secret), `"`), html.EscapeString(secret),
		} {
			forms = append(forms, form, strings.ToLower(form), strings.ToUpper(form))
		}
	}
	if len(forms) == 0 {
		return nil
	}
	// The longest first, so that a secret that begins with another one goes as a whole.
	slices.SortFunc(forms, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	var pairs []string
	for _, form := range slices.Compact(forms) {
		pairs = append(pairs, form, redacted)
	}
	return &scrubber{strings.NewReplacer(pairs...)}
}

// configuredScrubber knows the secrets that every call of a client may bring back: the key, and the
// parameters of checkroom, which may be tokens.
func configuredScrubber(cfg *Config, more ...string) *scrubber {
	secrets := append([]string{cfg.EnterpriseKey.Reveal()}, more...)
	for _, value := range cfg.CheckroomParams {
		if len(value) >= 8 { // a shorter one would only mutilate messages
			secrets = append(secrets, value)
		}
	}
	return newScrubber(secrets...)
}

// scrubber is [configuredScrubber] with a room's password.
func (c *Client) scrubber(password Secret) *scrubber {
	if password == "" {
		return c.scrub
	}
	return configuredScrubber(c.cfg, password.Reveal())
}

// anyURL finds what may be the URL of a recording, which whoever has it can fetch.
var anyURL = regexp.MustCompile(`(?i)https?:[/\\]+[^\s"'<>]+`)

// text returns a foreign text without secrets and URLs, on one line, and bounded.
func (s *scrubber) text(text string) string {
	if s != nil {
		text = s.replacer.Replace(text) // before it is cut: half a secret would not be found
	}
	text = anyURL.ReplaceAllString(text, "[url]")
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
	if len(text) > maxForeignText {
		cut := maxForeignText
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "…"
	}
	return strings.ToValidUTF8(text, "?")
}

// cause returns an error that can be shown and unwrapped: the text without secrets, and of the
// chain only what callers branch on.
func (s *scrubber) cause(err error) error {
	if plain := contextError(err); plain != nil {
		return plain
	}
	return s.reduce(err, err.Error())
}

// transport is cause for errors of net/http. Those show URLs, and pieces of the answer cut or
// re-encoded so that a secret in them is not found; so only texts of known origin are kept.
func (s *scrubber) transport(err error) error {
	if plain := contextError(err); plain != nil {
		return plain
	}
	var (
		op     *net.OpError
		dns    *net.DNSError
		cert   *tls.CertificateVerificationError
		record tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &cert):
		return s.reduce(err, cert.Error())
	case errors.As(err, &dns):
		return s.reduce(err, dns.Error())
	case errors.As(err, &op):
		return s.reduce(err, op.Error())
	case errors.As(err, &record):
		return s.reduce(err, "the other side does not speak TLS")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return s.reduce(err, "the answer is not valid HTTP")
}

func contextError(err error) error {
	for _, plain := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, plain) {
			return plain
		}
	}
	return nil
}

func (s *scrubber) reduce(err error, text string) error {
	c := &causeError{text: s.text(text)}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		c.errno = errno
	}
	return c
}

// causeError is a foreign error reduced to what may be shown.
type causeError struct {
	text  string
	errno error
}

func (e *causeError) Error() string { return e.text }
func (e *causeError) Unwrap() error { return e.errno }
