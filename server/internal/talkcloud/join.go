// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/classrec/classrec/server/internal/socketio"
	"github.com/classrec/classrec/server/internal/tracing"
)

// JoinOptions says who joins which room.
type JoinOptions struct {
	Room RoomID // required
	// UserID is the participant's id; "" makes a unique one. The platform may override it: see
	// [Conn.UserID].
	UserID   UserID
	Nickname string
	Password Secret
	// Properties are added to the participant's, over our own (role, nickname, publishstate,
	// hasvideo, hasaudio, udpstate). It may be nil.
	Properties map[string]json.RawMessage
	// Recorder says that the participant is there to record, and not to take part: see [JoinRecorder].
	Recorder bool
}

// NewUserID makes a unique user id, in the form of the vendor's SDK: 8-4-4-4-12 hex digits.
func NewUserID() UserID {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	h := hex.EncodeToString(b[:])
	return UserID(strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-"))
}

// Join enters a room as the vendor's SDK does: checkroom, getconfig, the socket, joinRoom. All
// errors are [*Error], or [*RefusedError] which wraps one. The caller closes the Conn.
func (c *Client) Join(ctx context.Context, opts JoinOptions) (*Conn, error) {
	if opts.UserID == "" {
		opts.UserID = NewUserID()
	}
	if err := c.admit(ctx, opts.Room); err != nil {
		return nil, err
	}
	defer c.dismiss()
	join, err := c.checkRoom(ctx, opts)
	if err != nil {
		return nil, err
	}
	return c.connect(ctx, &membership{opts: opts, room: opts.Room, join: join, password: opts.Password})
}

// Rejoin enters the room of an earlier connection again, with the same identity: getconfig, a new
// socket, joinRoom. Checkroom is repeated only when the platform has forgotten that the password was
// shown. It does not close the earlier connection.
func (c *Client) Rejoin(ctx context.Context, prev *Conn) (*Conn, error) {
	if err := c.admit(ctx, prev.member.room); err != nil {
		return nil, err
	}
	defer c.dismiss()
	conn, err := c.connect(ctx, prev.member)
	var failed *Error
	if !errors.As(err, &failed) || failed.Source != SourceJoin || failed.Code != codePasswordWrong {
		return conn, err
	}
	m := *prev.member
	if m.join, err = c.checkRoom(ctx, m.opts); err != nil {
		return nil, err
	}
	return c.connect(ctx, &m)
}

// codePasswordWrong is the platform's: the password of a room is wrong, or missing.
const codePasswordWrong = 4008

// admit waits for the turn of a join; dismiss ends it.
func (c *Client) admit(ctx context.Context, room RoomID) error {
	select {
	case c.joins <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &Error{Op: "join room " + string(room), Source: SourceJoin, Kind: KindOf(ctx.Err()), Message: "too many joins are under way", Err: ctx.Err()}
	}
}

func (c *Client) dismiss() { <-c.joins }

// Check asks the platform whether Join would be let in, without entering the room.
func (c *Client) Check(ctx context.Context, opts JoinOptions) error {
	_, err := c.checkRoom(ctx, opts)
	return err
}

// membership is what outlives a connection: who is in which room. It is not changed once made.
type membership struct {
	opts     JoinOptions
	room     RoomID
	join     JoinRoom
	password Secret // which the room was entered with: the platform may repeat it
}

func (m *membership) op() string { return "join room " + string(m.room) }

// checkRoom asks whether one may enter, and as whom.
func (c *Client) checkRoom(ctx context.Context, opts JoinOptions) (JoinRoom, error) {
	if opts.Room == "" {
		return JoinRoom{}, &Error{Op: "join room", Source: SourceCheckRoom, Kind: KindInvalidArgument, Message: "no room is given"}
	}
	k := &call{
		op: "join room " + string(opts.Room), source: SourceCheckRoom, url: c.base.JoinPath(PathCheckRoom),
		form: url.Values{
			"serial":     {string(opts.Room)},
			"password":   {opts.Password.Reveal()},
			"nickname":   {opts.Nickname},
			"clientType": {"1"},
		},
	}
	for key, value := range c.cfg.CheckroomParams {
		k.form.Set(key, value)
	}
	k.scrub = c.scrubber(opts.Password)
	body, err := c.do(ctx, k)
	if err != nil {
		return JoinRoom{}, err
	}
	var reply CheckRoomReply
	if err := k.decode(body, &reply); err != nil {
		return JoinRoom{}, err
	}
	if n, ok := reply.Result.Int(); !ok || n != ResultOK {
		return JoinRoom{}, k.refused(reply.Result, reply.Message.String())
	}
	return newJoinRoom(opts, reply), nil
}

// newJoinRoom makes the payload of joinRoom from the answer to checkroom.
func newJoinRoom(opts JoinOptions, reply CheckRoomReply) JoinRoom {
	number := func(s Scalar) Scalar {
		n, ok := s.Int()
		if !ok {
			return Scalar{}
		}
		return Number(n)
	}
	room := reply.Room
	if room.Serial.String() == "" {
		room.Serial = Text(string(opts.Room))
	}
	userID := opts.UserID
	if id := reply.UserID(); id != "" {
		userID = id
	}
	nickname := reply.Nickname.String()
	if nickname == "" {
		nickname = opts.Nickname
	}
	role, _ := number(reply.RoomRole).MarshalJSON() // cannot fail; null when there is none
	properties := map[string]json.RawMessage{
		"role":         role,
		"publishstate": json.RawMessage("0"),
		"hasvideo":     json.RawMessage("false"),
		"hasaudio":     json.RawMessage("false"),
		"udpstate":     json.RawMessage("1"),
	}
	if nickname != "" {
		properties["nickname"] = quote(nickname)
	}
	maps.Copy(properties, opts.Properties)
	var extra map[string]json.RawMessage
	if opts.Recorder {
		extra = map[string]json.RawMessage{JoinRecorder: json.RawMessage("true")}
	}
	return JoinRoom{
		UserID: userID, RoomID: room.Serial,
		MaxVideo: number(room.MaxVideo), VideoFPS: number(room.VideoFramerate),
		VideoWidth: number(room.VideoWidth), VideoHeight: number(room.VideoHeight),
		RoomType: number(room.RoomType), Version: Number(3), VCodec: number(room.VCodec),
		Properties: properties, Extra: extra,
	}
}

// JoinRecorder is an extra field of joinRoom, by which the embedded room server knows a participant that is there to
// record: it is told of every class, is not counted among those whom a class is for, and gets an error for a class that
// cannot be recorded as it asks.
const JoinRecorder = "recorder"

// getConfig asks where the socket is.
func (c *Client) getConfig(ctx context.Context, m *membership) ([]SocketAddress, error) {
	k := &call{
		op: m.op(), source: SourceGetConfig, url: c.base.JoinPath(PathGetConfig),
		form: url.Values{"serial": {m.join.RoomID.String()}, "selfip": {UnknownSelfIP}},
	}
	if role := parseScalar(m.join.Properties["role"]); !role.IsZero() {
		k.form.Set("userrole", role.String())
	}
	k.scrub = c.scrubber(m.password)
	body, err := c.do(ctx, k)
	if err != nil {
		return nil, err
	}
	var reply ConfigReply
	if err := k.decode(body, &reply); err != nil {
		return nil, err
	}
	if n, ok := reply.Result.Int(); ok && n != ResultOK && reply.CourseServer.IsZero() && len(reply.NewCourseAddr) == 0 {
		return nil, k.refused(reply.Result, reply.Message.String())
	}
	addrs, err := reply.Addresses(c.base.Hostname())
	if err != nil {
		return nil, k.errorf(KindInternal, nil, "%s", err.Error())
	}
	return addrs, nil
}

// connect makes one connection of a member to its room.
func (c *Client) connect(ctx context.Context, m *membership) (_ *Conn, err error) {
	addrs, err := c.getConfig(ctx, m)
	if err != nil {
		return nil, err
	}
	ctx, end := tracing.Start(ctx, EventJoinRoom, tracing.Room.String(string(m.room)))
	defer func() { end(err) }()
	joinCtx, cancel := context.WithTimeout(ctx, c.cfg.JoinTimeout)
	defer cancel()
	var sock *socketio.Client
	for _, addr := range addrs { // each in turn: the vendor's SDK measures which is nearest
		sock, err = socketio.Dial(joinCtx, c.dialConfig(addr))
		if err != nil {
			continue
		}
		var conn *Conn
		conn, err = c.joinRoom(ctx, joinCtx, m, sock, addr.ServerName)
		if err != nil {
			_ = sock.Close()
			return nil, err
		}
		return conn, nil
	}
	return nil, c.socketError(ctx, m.op(), err)
}

func (c *Client) dialConfig(addr SocketAddress) socketio.DialConfig {
	u := url.URL{Scheme: "wss", Host: addr.hostPort()}
	cfg := socketio.DialConfig{Revision: c.cfg.EngineIO, NetDialContext: c.cfg.DialContext, EventQueue: c.cfg.EventQueue, Logger: c.cfg.Logger}
	if c.base.Scheme == "http" {
		u.Scheme = "ws"
	} else {
		cfg.TLSClientConfig = c.tls
	}
	cfg.URL = u.String()
	return cfg
}

// joinRoom sends joinRoom and judges the ack.
func (c *Client) joinRoom(ctx, joinCtx context.Context, m *membership, sock *socketio.Client, serverName string) (*Conn, error) {
	join := m.join
	if serverName != "" {
		join.Properties = maps.Clone(join.Properties)
		join.Properties["servername"] = quote(serverName)
	}
	args, err := sock.Call(joinCtx, EventJoinRoom, join)
	switch {
	case err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return nil, &Error{
			Op: m.op(), Source: SourceJoin, Kind: KindDeadline, Err: context.DeadlineExceeded,
			Message: "no ack of joinRoom within " + c.cfg.JoinTimeout.String(),
		}
	case err != nil:
		return nil, c.socketError(ctx, m.op(), err)
	}
	reply, err := parseJoinAck(m.op(), args, c.scrubber(m.password))
	if err != nil {
		return nil, err
	}
	return &Conn{client: c, member: m, sock: sock, reply: reply}, nil
}

// parseJoinAck judges the ack of joinRoom. The code before the body is not looked at, as in the
// vendor's SDK, but a join needs evidence: a body with roominfo or msglist.
func parseJoinAck(op string, args []json.RawMessage, scrub *scrubber) (JoinReply, error) {
	if refusal, refused := refusalOf(args); refused {
		return JoinReply{}, newRefused(op, EventJoinRoom, SourceJoin, refusal, scrub)
	}
	var reply JoinReply
	for i := len(args) - 1; i >= 0; i-- {
		if err := reply.UnmarshalJSON(args[i]); err == nil {
			return reply, nil
		}
	}
	failed := &Error{Op: op, Source: SourceJoin, Kind: KindInternal, Message: "the ack of joinRoom is no evidence of a join"}
	if len(args) == 0 {
		return JoinReply{}, failed
	}
	if n, ok := parseScalar(args[0]).Int(); ok && n != ResultOK {
		failed.Code = clampCode(n)
		failed.Kind, failed.Message = classify(SourceJoin, failed.Code)
		if failed.Message == "" {
			failed.Message = "the room refuses with code " + strconv.Itoa(failed.Code) + ", which is not documented"
		}
		if len(args) > 1 {
			if text := scrub.text(parseScalar(args[1]).String()); text != "" {
				failed.Message += ": " + text
			}
		}
	}
	return JoinReply{}, failed
}

// refusalOf returns x of an ack ["error", x].
func refusalOf(args []json.RawMessage) (json.RawMessage, bool) {
	if len(args) == 0 || parseScalar(args[0]) != Text("error") {
		return nil, false
	}
	if len(args) == 1 {
		return json.RawMessage("null"), true
	}
	return args[1], true
}

// socketError classifies an error of the socket, or of the context with which it was used.
func (c *Client) socketError(ctx context.Context, op string, err error) *Error {
	if ctx.Err() != nil {
		return &Error{Op: op, Source: SourceSocket, Kind: KindOf(ctx.Err()), Err: ctx.Err()}
	}
	e := &Error{
		Op: op, Source: SourceSocket, Code: CodeSocketFailed, Kind: KindUnavailable,
		Message: "the signaling connection failed", Err: c.scrub.cause(err),
	}
	var timeout net.Error // a deadline of the connection may be noticed before that of its context
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		e.Kind, e.Message, e.Err = KindDeadline, "the signaling connection did not answer in time", context.DeadlineExceeded
	}
	return e
}
