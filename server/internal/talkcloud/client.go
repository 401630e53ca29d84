// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/classrec/classrec/server/internal/netguard"
)

// Config says where the platform is and how to talk to it. BaseURL is required; all else has a
// default.
type Config struct {
	// BaseURL is https://host:port of the platform; http only when it is written so. An https base
	// gives a wss socket.
	BaseURL string
	// RecordListURL is where the record lists are; "" is BaseURL.
	RecordListURL string
	// RichRecordList says that WebAPI/getrecordlist may be called: see [Client.RecordList].
	RichRecordList bool
	// EnterpriseKey is the key of the platform's customer. Only the record lists need it.
	EnterpriseKey Secret
	// CheckroomParams are added to the form of checkroom, over our own fields.
	CheckroomParams map[string]string
	// RootCAs verifies the platform's certificate; nil is the system's roots.
	RootCAs *x509.CertPool
	// DialContext opens connections, for HTTP and for the socket; nil is the net package.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// RequestTimeout bounds one HTTP call, its answer included; default 10 s.
	RequestTimeout time.Duration
	// JoinTimeout bounds dialing the socket and the ack of joinRoom together; default 10 s.
	JoinTimeout time.Duration
	// EchoTimeout bounds the wait for the ack of an event; default 5 s.
	EchoTimeout time.Duration
	// MaxBodyBytes bounds an HTTP answer; default 8 MiB.
	MaxBodyBytes int64
	// MaxHTTPConns bounds the HTTP connections to one host, in use and kept; default 128. Calls
	// beyond it wait, within their timeouts.
	MaxHTTPConns int
	// MaxJoins bounds how many joins are under way at once; default 256. More wait their turn, each as
	// long as its context allows, and their timeouts begin when it comes: when classes begin on the
	// hour, joins then queue up instead of all timing out together.
	MaxJoins int
	// EventQueue bounds the events of one connection that nobody has taken yet; default 128. A
	// connection with more ends.
	EventQueue int
	// EngineIO is the revision of engine.io: 3, the default and the vendor's, or 4.
	EngineIO int
	// Logger gets what is worth knowing, without secrets; nil discards.
	Logger *slog.Logger
}

func (cfg Config) withDefaults() Config {
	cfg.RecordListURL = cmp.Or(cfg.RecordListURL, cfg.BaseURL)
	cfg.RequestTimeout = cmp.Or(cfg.RequestTimeout, 10*time.Second)
	cfg.JoinTimeout = cmp.Or(cfg.JoinTimeout, 10*time.Second)
	cfg.EchoTimeout = cmp.Or(cfg.EchoTimeout, 5*time.Second)
	cfg.MaxBodyBytes = cmp.Or(cfg.MaxBodyBytes, 8<<20)
	cfg.MaxHTTPConns = cmp.Or(cfg.MaxHTTPConns, 128)
	cfg.MaxJoins = cmp.Or(cfg.MaxJoins, 256)
	cfg.EventQueue = cmp.Or(cfg.EventQueue, 128)
	cfg.EngineIO = cmp.Or(cfg.EngineIO, 3)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// Client calls one platform. It is safe for concurrent use. It starts no goroutines of its own
// beyond the HTTP connections that it keeps, which [Client.Close] releases.
type Client struct {
	cfg     *Config // a pointer, so that printing a Client with %+v cannot show the key
	base    *url.URL
	records *url.URL
	tls     *tls.Config
	http    *http.Client
	public  func(netip.Addr) bool // netguard.IsPublic
	files   *http.Client          // the same connections, for what record lists name: other redirects are followed
	scrub   *scrubber             // of the configured secrets
	joins   chan struct{}         // holds one for each join under way
}

// New checks the configuration and makes a client. It does not touch the network. Its errors
// are [*Error] of [SourceConfig] and never show a URL, which may carry credentials.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	base, err := parseBase("base URL", cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	records, err := parseBase("record list URL", cfg.RecordListURL)
	if err != nil {
		return nil, err
	}
	if cfg.EngineIO != 3 && cfg.EngineIO != 4 {
		return nil, configError("engine.io revision %d is neither 3 nor 4", cfg.EngineIO)
	}
	for _, timeout := range []time.Duration{cfg.RequestTimeout, cfg.JoinTimeout, cfg.EchoTimeout} {
		if timeout < 0 {
			return nil, configError("a timeout is negative")
		}
	}
	if cfg.MaxBodyBytes < 0 || min(cfg.MaxHTTPConns, cfg.MaxJoins, cfg.EventQueue) < 0 {
		return nil, configError("a limit is negative")
	}
	c := &Client{
		cfg: &cfg, base: base, records: records, joins: make(chan struct{}, cfg.MaxJoins),
		// The session cache spares the signatures of 2,000 handshakes when classes begin on the hour.
		scrub: configuredScrubber(&cfg),
		tls:   &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(16)},
	}
	c.http = newHTTPClient(&cfg, c.tls)
	c.public = netguard.IsPublic
	c.files = &http.Client{Transport: c.http.Transport, CheckRedirect: checkFileRedirect}
	return c, nil
}

// Close releases the kept HTTP connections. Connections to rooms are closed by their owners.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// EchoTimeout returns how long to wait for the platform's confirmation of an event.
func (c *Client) EchoTimeout() time.Duration { return c.cfg.EchoTimeout }

// Logger returns the configured logger, never nil.
func (c *Client) Logger() *slog.Logger { return c.cfg.Logger }

func parseBase(what, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
		return nil, configError("%s is not http(s)://host:port", what)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, configError("%s has credentials, a query or a fragment", what)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}

func configError(format string, args ...any) *Error {
	return &Error{Op: "configure platform", Source: SourceConfig, Kind: KindInvalidArgument, Message: fmt.Sprintf(format, args...)}
}

// errRedirect is what a redirect that we refuse ends with.
var errRedirect = errors.New("the platform redirects to another host, or away from https, or too often")
