// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaostest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// Protocol is a way to call WatchClassBegin.
type Protocol string

// The ways to watch.
const (
	GRPC   Protocol = "gRPC"
	NDJSON Protocol = "NDJSON"
	SSE    Protocol = "SSE" // resumes by Last-Event-ID
)

// window is how much a stream over gRPC may send ahead of its reader: the least that there is.
const window = 64 << 10

// stream is one watch, on a connection of its own that can be cut. All but cut belongs to one goroutine.
type stream struct {
	node     *Node
	protocol Protocol
	recv     func() (*classrecv1.WatchClassBeginResponse, error)
	closers  []func()

	mu   sync.Mutex
	conn net.Conn
}

func newStream(n *Node, protocol Protocol) *stream { return &stream{node: n, protocol: protocol} }

// close ends the stream.
func (s *stream) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}

// cut resets the connection.
func (s *stream) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		reset(s.conn)
	}
}

func (s *stream) dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err == nil {
		s.mu.Lock()
		s.conn = conn
		s.mu.Unlock()
	}
	return conn, err
}

func (s *stream) open(ctx context.Context, room string, after uint64) error {
	if s.protocol == GRPC {
		return s.openGRPC(ctx, room, after)
	}
	return s.openHTTP(ctx, room, after)
}

func (s *stream) openGRPC(ctx context.Context, room string, after uint64) error {
	conn, err := dial("passthrough:///"+s.node.GRPCAddr(), grpc.WithContextDialer(s.dial),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window))
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func() { _ = conn.Close() })
	watch, err := classrecv1.NewRecordingServiceClient(conn).WatchClassBegin(ctx,
		&classrecv1.WatchClassBeginRequest{Room: room, AfterSequence: after})
	if err != nil {
		return err
	}
	s.recv = watch.Recv
	return nil
}

func (s *stream) openHTTP(ctx context.Context, room string, after uint64) error {
	where := url.URL{Scheme: "http", Host: s.node.HTTPAddr(), Path: "/v1/rooms/" + room + "/classBegin:watch"}
	if s.protocol == NDJSON {
		where.RawQuery = "after_sequence=" + strconv.FormatUint(after, 10)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), http.NoBody)
	if err != nil {
		return err
	}
	if s.protocol == SSE {
		req.Header.Set("Accept", "text/event-stream")
		req.Header.Set("Last-Event-ID", strconv.FormatUint(after, 10))
	}
	transport := &http.Transport{
		DialContext:       func(ctx context.Context, _, addr string) (net.Conn, error) { return s.dial(ctx, addr) },
		DisableKeepAlives: true,
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		return failure(body)
	}
	lines := bufio.NewReader(resp.Body)
	s.recv = func() (*classrecv1.WatchClassBeginResponse, error) { return readLine(lines) }
	if s.protocol == SSE {
		s.recv = func() (*classrecv1.WatchClassBeginResponse, error) { return readSSE(lines) }
	}
	return nil
}

// readLine reads a message of NDJSON.
func readLine(r *bufio.Reader) (*classrecv1.WatchClassBeginResponse, error) {
	text, err := r.ReadBytes('\n')
	if err != nil {
		return nil, cutShort(err)
	}
	var line struct{ Result, Error json.RawMessage }
	if err := json.Unmarshal(text, &line); err != nil {
		return nil, err
	}
	if line.Error != nil {
		return nil, failure(line.Error)
	}
	m := new(classrecv1.WatchClassBeginResponse)
	return m, protojson.Unmarshal(line.Result, m)
}

// readSSE reads a Server-Sent Event; its id has to be the sequence of what it holds.
func readSSE(r *bufio.Reader) (*classrecv1.WatchClassBeginResponse, error) {
	fields := map[string]string{}
	for {
		text, err := r.ReadString('\n')
		if err != nil {
			return nil, cutShort(err)
		}
		if text = strings.TrimSuffix(text, "\n"); text == "" {
			break
		}
		key, value, _ := strings.Cut(text, ": ")
		fields[key] += value
	}
	if fields["event"] == "error" {
		return nil, failure([]byte(fields["data"]))
	}
	m := new(classrecv1.WatchClassBeginResponse)
	if err := protojson.Unmarshal([]byte(fields["data"]), m); err != nil {
		return nil, err
	}
	sequence := max(m.GetEvent().GetSequence(), m.GetSynced().GetSequence(), m.GetHeartbeat().GetSequence())
	if want := strconv.FormatUint(sequence, 10); fields["id"] != want {
		return nil, fmt.Errorf("event %s has id %q", want, fields["id"])
	}
	return m, nil
}

// cutShort makes the end of a stream that never ends by itself an error of the connection.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// failure reads an error as REST has it.
func failure(body []byte) error {
	var st statuspb.Status
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, &st); err != nil {
		return err
	}
	return status.ErrorProto(&st)
}
