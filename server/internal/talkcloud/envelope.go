// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// Defaults of the address that getconfig gives.
const (
	// DefaultSocketPort is courseserverport where getconfig does not tell it.
	DefaultSocketPort = 8889
	// UnknownSelfIP is selfip in getconfig of a client that did not ask where.html.
	UnknownSelfIP = "0.0.0.0"
)

// ResultOK is the result of an HTTP answer that tells of success.
const ResultOK = 0

// CheckRoomReply is the answer to checkroom.
type CheckRoomReply struct {
	Result   Scalar          `json:"result"`
	Message  Scalar          `json:"msg,omitzero"`
	Nickname Scalar          `json:"nickname,omitzero"`
	RoomRole Scalar          `json:"roomrole,omitzero"`
	ThirdID  Scalar          `json:"thirdid,omitzero"` // overrides the user id unless absent, "" or 0
	Room     RoomDetails     `json:"room,omitzero"`
	PullInfo json.RawMessage `json:"pullinfo,omitempty"`
}

// UserID returns the user id that the platform wants instead of the given one, "" when it has no wish.
func (r CheckRoomReply) UserID() UserID {
	if id := strings.TrimSpace(r.ThirdID.String()); id != "0" {
		return UserID(id)
	}
	return ""
}

// RoomDetails is room in [CheckRoomReply]. Only the serial is essential.
type RoomDetails struct {
	Serial          Scalar `json:"serial,omitzero"`
	RoomName        Scalar `json:"roomname,omitzero"`
	RoomType        Scalar `json:"roomtype,omitzero"`
	MaxVideo        Scalar `json:"maxvideo,omitzero"`
	CompanyID       Scalar `json:"companyid,omitzero"`
	ChairmanControl Scalar `json:"chairmancontrol,omitzero"`
	VideoType       Scalar `json:"videotype,omitzero"`
	VideoFramerate  Scalar `json:"videoframerate,omitzero"`
	VideoWidth      Scalar `json:"videowidth,omitzero"`
	VideoHeight     Scalar `json:"videoheight,omitzero"`
	VCodec          Scalar `json:"vcodec,omitzero"`
}

// UnmarshalJSON never fails on valid JSON: a platform without a room to tell of answers [] or "".
func (d *RoomDetails) UnmarshalJSON(data []byte) error {
	type plain RoomDetails
	var p plain
	if json.Unmarshal(unquote(data), &p) != nil {
		p = plain{}
	}
	*d = RoomDetails(p)
	return nil
}

// ConfigReply is the answer to getconfig: where the signaling socket is. Its result is not looked
// at by the vendor's SDK, and may be missing.
type ConfigReply struct {
	Result           Scalar        `json:"result"`
	Message          Scalar        `json:"msg,omitzero"`
	NewCourseAddr    CourseServers `json:"newcourseaddr,omitempty"` // wins over courseserver
	CourseServer     Scalar        `json:"courseserver,omitzero"`
	CourseServerPort Scalar        `json:"courseserverport,omitzero"`
}

// CourseServer is one of newcourseaddr in [ConfigReply].
type CourseServer struct {
	Name       Scalar          `json:"name,omitzero"` // becomes servername in the participant's properties
	SignalAddr Scalar          `json:"signaladdr,omitzero"`
	SignalPort Scalar          `json:"signalport,omitzero"`
	WebAddr    Scalar          `json:"webaddr,omitzero"`
	DocAddr    json.RawMessage `json:"docaddr,omitempty"`
	Change     json.RawMessage `json:"change,omitempty"`
}

// CourseServers decodes from an array, a single object, a JSON text of either, and anything else
// as none.
type CourseServers []CourseServer

// UnmarshalJSON never fails on valid JSON.
func (c *CourseServers) UnmarshalJSON(data []byte) error {
	raw := unquote(data)
	*c = nil
	if len(raw) == 0 {
		return nil
	}
	var items []json.RawMessage
	if raw[0] != '[' {
		items = append(items, raw)
	} else {
		_ = json.Unmarshal(raw, &items) // cannot fail: it is valid JSON, and an array
	}
	for _, item := range items {
		item = unquote(item)
		var server CourseServer
		if len(item) > 0 && item[0] == '{' && json.Unmarshal(item, &server) == nil {
			*c = append(*c, server)
		}
	}
	return nil
}

// SocketAddress is where a signaling socket may be reached.
type SocketAddress struct {
	Host       string
	Port       int
	ServerName string // of newcourseaddr, else ""
}

// Addresses returns the addresses to try, best first: those of newcourseaddr, or else courseserver
// with webHost and [DefaultSocketPort] for what is missing. What is no address is passed over; an
// error tells of it where nothing else is left.
func (r ConfigReply) Addresses(webHost string) ([]SocketAddress, error) {
	var addrs []SocketAddress
	var odd error
	for _, server := range r.NewCourseAddr {
		if server.SignalAddr.String() == "" {
			continue
		}
		addr, err := socketAddress(server.SignalAddr, server.SignalPort)
		if err != nil {
			odd = err
			continue
		}
		addr.ServerName = server.Name.String()
		addrs = append(addrs, addr)
	}
	if len(addrs) > 0 {
		return addrs, nil
	}
	server := r.CourseServer
	if server.String() == "" && odd != nil {
		return nil, odd // the host of the web is no more than a guess
	}
	if server.String() == "" {
		server = Text(webHost)
	}
	addr, err := socketAddress(server, r.CourseServerPort)
	if err != nil {
		return nil, err
	}
	return []SocketAddress{addr}, nil
}

func socketAddress(host, port Scalar) (SocketAddress, error) {
	addr := SocketAddress{Host: strings.Trim(strings.TrimSpace(host.String()), "[]"), Port: DefaultSocketPort}
	if port.String() != "" {
		n, ok := port.Int()
		if !ok || n < 1 || n > 65535 {
			return SocketAddress{}, errors.New("getconfig gave a socket port that is none")
		}
		addr.Port = int(n)
	}
	if u, err := url.Parse("//" + addr.hostPort()); err != nil || u.Hostname() != addr.Host || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return SocketAddress{}, errors.New("getconfig gave a socket host that is none")
	}
	return addr, nil
}

func (a SocketAddress) hostPort() string {
	host := a.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(a.Port)
}

// WhereReply is the answer to where.html. Our client does not ask it; the vendor's does.
type WhereReply struct {
	Name     string `json:"name"`
	SelfIP   string `json:"selfip"`
	IP       string `json:"ip"`
	NoChange Scalar `json:"nochange,omitzero"` // set: the client leaves the addresses in SDP alone
}

// ServerAreaReply is the answer to getserverarea.
type ServerAreaReply struct {
	Result Scalar       `json:"result"`
	Areas  []ServerArea `json:"serverarealist"`
}

// ServerArea is one of serverarealist.
type ServerArea struct {
	Name    string `json:"serverareaname"`
	Chinese string `json:"chinesedesc"`
	English string `json:"englishdesc"`
}

// ResultReply is an answer with a result and nothing else.
type ResultReply struct {
	Result  Scalar `json:"result"`
	Message Scalar `json:"msg,omitzero"`
}

// RecordListReply is the answer to getrecordlist.
type RecordListReply struct {
	Result  Scalar           `json:"result"`
	Message Scalar           `json:"msg,omitzero"`
	Records []RecordListItem `json:"recordlist"`
	Total   Scalar           `json:"total,omitzero"` // of all pages
}

// UnmarshalJSON fails when the JSON is no object, or recordlist no list of objects.
func (r *RecordListReply) UnmarshalJSON(data []byte) error {
	var p struct {
		Result  Scalar          `json:"result"`
		Message Scalar          `json:"msg"`
		Records json.RawMessage `json:"recordlist"`
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	*r = RecordListReply{Result: p.Result, Message: p.Message}
	switch raw := unquote(p.Records); {
	case len(raw) == 0, string(raw) == "null":
		return nil
	case raw[0] == '[':
		r.Records = []RecordListItem{}
		return json.Unmarshal(raw, &r.Records)
	default:
		return errors.New("recordlist is not an array")
	}
}

// RecordListItem is one recording of [RecordListReply].
type RecordListItem struct {
	RecordID         Scalar `json:"recordid,omitzero"`
	Serial           Scalar `json:"serial,omitzero"`
	RoomName         Scalar `json:"roomname,omitzero"`
	Type             Scalar `json:"type,omitzero"`        // 0, 5 and 8 have their duration in milliseconds
	RecordTitle      Scalar `json:"recordtitle,omitzero"` // Unix milliseconds
	StartTime        Scalar `json:"starttime,omitzero"`   // Unix seconds
	DurationMS       Scalar `json:"duration_ms,omitzero"` // milliseconds
	Duration         Scalar `json:"duration,omitzero"`    // milliseconds; of an mp4, in older versions, seconds
	Size             Scalar `json:"size,omitzero"`        // bytes
	WebHost          Scalar `json:"webhost,omitzero"`
	RecordPath       Scalar `json:"recordpath,omitzero"`
	PlayPath         Scalar `json:"playpath,omitzero"`
	HTTPSPlayPath    Scalar `json:"https_playpath,omitzero"`
	PlayPathMP4      Scalar `json:"playpath_mp4,omitzero"`
	HTTPSPlayPathMP4 Scalar `json:"https_playpath_mp4,omitzero"`
	PlayPathM4A      Scalar `json:"playpath_m4a,omitzero"`
	HTTPSPlayPathM4A Scalar `json:"https_playpath_m4a,omitzero"`
	PlaybackMP4      Scalar `json:"videoplayback_mp4,omitzero"`
	PlaybackM4A      Scalar `json:"videoplayback_m4a,omitzero"`
	// What follows is an extension of the embedded room server; TalkCloud does not send it.
	// Files not nil, maybe empty, says that this is all: the recording is finished.
	Files    RecordFiles    `json:"files,omitzero"`
	Gaps     RecordGaps     `json:"gaps,omitempty"`
	Warnings RecordWarnings `json:"warnings,omitempty"`
}

// paths are the fields with the address of a file, https before http, best first.
func (r *RecordListItem) paths() []*Scalar {
	return []*Scalar{
		&r.HTTPSPlayPathMP4, &r.PlayPathMP4, &r.HTTPSPlayPath, &r.PlayPath, &r.HTTPSPlayPathM4A, &r.PlayPathM4A,
		&r.PlaybackMP4, &r.PlaybackM4A,
	}
}

// URLs returns the addresses of the files: those of Files, or else one of each kind of play path, by
// https where there is one.
func (r *RecordListItem) URLs() []string {
	var urls []string
	for _, f := range r.Files {
		urls = append(urls, f.URL)
	}
	if len(urls) > 0 {
		return urls
	}
	for _, paths := range [][]Scalar{
		{r.HTTPSPlayPathMP4, r.PlayPathMP4, r.PlaybackMP4},
		{r.HTTPSPlayPath, r.PlayPath},
		{r.HTTPSPlayPathM4A, r.PlayPathM4A, r.PlaybackM4A},
	} {
		for _, path := range paths {
			if u := path.String(); u != "" {
				urls = append(urls, u)
				break
			}
		}
	}
	return urls
}

// RecordFiles decodes from an array of files, and anything else as none.
type RecordFiles []RecordFile

// UnmarshalJSON never fails on valid JSON.
func (f *RecordFiles) UnmarshalJSON(data []byte) error {
	var files []RecordFile
	if json.Unmarshal(data, &files) != nil {
		files = nil
	}
	*f = files
	return nil
}

// RecordGaps decodes from an array of gaps, and anything else as none.
type RecordGaps []RecordGap

// UnmarshalJSON never fails on valid JSON.
func (g *RecordGaps) UnmarshalJSON(data []byte) error {
	var gaps []RecordGap
	if json.Unmarshal(data, &gaps) != nil {
		gaps = nil
	}
	*g = gaps
	return nil
}

// RecordWarnings decodes from an array of sentences, and anything else as none.
type RecordWarnings []string

// UnmarshalJSON never fails on valid JSON.
func (w *RecordWarnings) UnmarshalJSON(data []byte) error {
	var warnings []string
	if json.Unmarshal(data, &warnings) != nil {
		warnings = nil
	}
	*w = warnings
	return nil
}

// RecordFile is one file of a recording, as the embedded room server tells of it.
type RecordFile struct {
	URL        string `json:"url"`
	UserID     UserID `json:"userid,omitempty"` // "" for a file of the whole room
	Size       int64  `json:"size"`             // bytes
	DurationMS int64  `json:"duration_ms"`
	MediaType  string `json:"mediatype,omitempty"`

	Nickname      string  `json:"nickname,omitempty"`
	Role          *int    `json:"role,omitempty"`
	StartOffsetMS *int64  `json:"start_offset_ms,omitempty"` // from starttime to the file's time 0
	VideoCodec    string  `json:"video_codec,omitempty"`     // as an RTP media subtype, "VP8"
	AudioCodec    string  `json:"audio_codec,omitempty"`     // "opus", "AAC", "MP3"
	Width         int32   `json:"width,omitempty"`
	Height        int32   `json:"height,omitempty"`
	FrameRate     float64 `json:"frame_rate,omitempty"` // on average
	SampleRate    int32   `json:"sample_rate,omitempty"`
	SHA256        string  `json:"sha256,omitempty"` // lower-case hexadecimal digits
}

// Values of [RecordGap.Kind].
const (
	KindAudio = "audio"
	KindVideo = "video"
)

// RecordGap is a time in which media of a person was not recorded, as the embedded room server tells of it.
type RecordGap struct {
	UserID  UserID `json:"userid,omitempty"` // "" for everybody
	Kind    string `json:"kind,omitempty"`   // [KindAudio] or [KindVideo]; "" for both
	StartMS int64  `json:"start_ms"`         // Unix milliseconds
	EndMS   int64  `json:"end_ms"`
	Reason  string `json:"reason"`
}
