// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/auth"
)

// matrix is a server with every kind of credential, two tenants, and in the one
// that most credentials are of: rooms a-seen and a-live, which every credential
// of the tenant sees, and b-hidden and b-live, which those for a-* do not.
type matrix struct {
	*server.Server
	ca, strangers *authority
	seen, hidden  string // names of recordings of user, both with a file
	files         []string
}

const matrixUser = "me"

// The calls of the matrix, in the order of its columns. A space is for the eye.
const matrixCalls = "Start Stop Get List Watch" + // of a room or recording that every credential of the tenant sees
	" Start' Stop' Get' List' Watch'" + // of one that those for a-* do not
	" ListAll WatchAll" + //
	" Admin Explain Explain' Reflection Health" + // over gRPC
	" File File' Head Head' Metrics Debug Pages" + // over HTTP
	" Whip Socket Checkroom" // of a room without a password, at the HTTP port

// What a cell may be.
const (
	cellOK      = '+'
	cellEmpty   = '0' // taken, and nothing is there
	cellUnknown = 'U' // UNAUTHENTICATED
	cellDenied  = 'P' // PERMISSION_DENIED
	cellNone    = 'N' // NOT_FOUND
	cellCut     = '-' // no connection
)

// shown is a credential, and what its bearer gets.
type shown struct {
	name   string
	header string           // Authorization; "" is none
	pair   *tls.Certificate // nil is none
	want   string
}

func TestAuthorizationMatrix(t *testing.T) {
	t.Parallel()
	m, rows := newMatrix(t)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			want := strings.ReplaceAll(row.want, " ", "")
			calls := strings.Fields(matrixCalls)
			if len(want) != len(calls) {
				t.Fatalf("%d cells for %d calls", len(want), len(calls))
			}
			c := m.caller(t, row)
			for i, call := range calls {
				for way, do := range map[string]func(*testing.T, string) (rune, string){"gRPC": c.grpc, "HTTP": c.http} {
					got, said := do(t, call)
					if got != 0 && got != rune(want[i]) {
						t.Errorf("%s over %s is %c, want %c (%s)", call, way, got, want[i], said)
					}
				}
			}
		})
	}
}

func newMatrix(t *testing.T) (*matrix, []shown) {
	t.Helper()
	m := &matrix{ca: newAuthority(t), strangers: newAuthority(t)}
	m.ca.server(t)
	for _, name := range []string{"known", "unknown"} {
		m.ca.issue(t, name, &x509.Certificate{DNSNames: []string{name + ".example"}})
	}
	m.ca.issue(t, "named", &x509.Certificate{})
	m.strangers.issue(t, "known", &x509.Certificate{DNSNames: []string{"known.example"}})

	platform := apitest.PlatformOnly(t) // the other tenant's
	dir := t.TempDir()
	is := newIssuer(t, "k1", "k2")
	static := newIssuer(t, "s1")
	const secret = "a secret of more than 32 bytes, of an issuer"
	mustWrite(t, filepath.Join(dir, "static.pem"), publicPEM(t, static.keys["s1"].Public()))
	mustWrite(t, filepath.Join(dir, "hs.secret"), secret+"\n")
	mustWrite(t, filepath.Join(dir, "tenants.yaml"), fmt.Sprintf(`
tenants:
  default: {platform: embedded}
  other: {platform: %q, enterprise-key-file: %q}
`, platform.RoomURL(), filepath.Join(platform.Dir(), "enterprise.key")))
	mustWrite(t, filepath.Join(dir, "auth.yaml"), fmt.Sprintf(`
issuers:
  - {issuer: %q, audience: classrec, jwks_url: %q, tenant_claim: tenant, rooms_claim: rooms,
     scopes: [start, stop, list, watch, admin], scopes_claim: scope}
  - {issuer: https://static.example, audience: classrec, key_file: %q, clock_skew: 30s}
  - {issuer: https://hs.example, audience: classrec, key_file: %q, algorithms: [HS256], scopes: [list], tenant: default}
certificates:
  - {name: known.example, scopes: [start, stop, list, watch]}
  - {name: named, scopes: [list], rooms: [a-*]}
`, is.name, is.URL, filepath.Join(dir, "static.pem"), filepath.Join(dir, "hs.secret")))

	cfg := apitest.Config(dir)
	cfg.AdminListen = "127.0.0.1:0"
	cfg.TenantsFile, cfg.AuthFile = filepath.Join(dir, "tenants.yaml"), filepath.Join(dir, "auth.yaml")
	cfg.TLSCertFile, cfg.TLSKeyFile, cfg.TLSClientCAFile = m.ca.file("server.pem"), m.ca.file("server.key"), m.ca.file("ca.pem")
	tokens := auth.TokenFile{Path: filepath.Join(dir, "tokens.json")}
	token := func(name string, change func(*auth.Token)) string {
		made := auth.Token{Name: name, Scopes: auth.Scopes()}
		change(&made)
		_, text, err := tokens.Create(made, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + text
	}
	only := func(scopes ...auth.Scope) func(*auth.Token) { return func(t *auth.Token) { t.Scopes = scopes } }
	all := token("all", func(*auth.Token) {})
	revoked := token("revoked", func(*auth.Token) {})
	expired := token("expired", func(t *auth.Token) { t.Expires = time.Now().Add(10 * time.Millisecond) })
	if _, err := tokens.Revoke("revoked", time.Now()); err != nil {
		t.Fatal(err)
	}
	k1, s1 := is.keys["k1"], static.keys["s1"]
	es := func(change jwt.MapClaims) string {
		return "Bearer " + sign(t, jwt.SigningMethodES256, k1, "k1", is.claims(change))
	}
	stranger := newIssuer(t, "k1")
	const (
		nobody    = "UUUUU UUUUU UU UUUU+ UUUUUU+ PPP"
		everybody = "+++++ +++++ ++ +++++ ++++P++ PPP"
		noAdmin   = "+++++ +++++ ++ PPP++ ++++PP+ PPP"
		foreign   = "+NN0+ +NN0+ 0+ +NN++ NNNNP++ PPP" // Start and Watch are of rooms of its own
		cut       = "----- ----- -- ----- ------- ---"
		some      = "+++++ NNN0N ++ ++N++ +N+NP++ PPP" // of rooms a-*
	)
	rows := []shown{
		{"none", "", nil, nobody},
		{"garbage", "Bearer garbage", nil, nobody},
		{"empty", "Bearer ", nil, nobody},
		{"another scheme", "Basic " + strings.TrimPrefix(all, "Bearer "), nil, nobody},
		{"token without its end", all[:len(all)-1], nil, nobody},
		{"token with another's id", "Bearer crt_aaaaaaaa_" + all[strings.LastIndexByte(all, '_')+1:], nil, nobody},
		{"token", all, nil, everybody},
		{"token expired", expired, nil, nobody},
		{"token revoked", revoked, nil, nobody},
		{"token to start", token("start", only(auth.ScopeStart)), nil, "+PPPP +PPPP PP PPP++ PPPPPP+ PPP"},
		{"token to stop", token("stop", only(auth.ScopeStop)), nil, "P+PPP P+PPP PP PPP++ PPPPPP+ PPP"},
		{"token to list", token("list", only(auth.ScopeList)), nil, "PP++P PP++P +P PPP++ ++++PP+ PPP"},
		{"token to watch", token("watch", only(auth.ScopeWatch)), nil, "PPPP+ PPPP+ P+ PPP++ PPPPPP+ PPP"},
		{"token of an operator", token("admin", only(auth.ScopeAdmin)), nil, "PPPPP PPPPP PP +++++ PPPPP++ PPP"},
		{"token of all tenants", token("operator", func(t *auth.Token) { t.Tenant, t.Scopes = auth.AllTenants, []auth.Scope{auth.ScopeAdmin} }), nil, "PPPPP PPPPP PP +++++ PPPP+++ PPP"},
		{"token of rooms", token("rooms", func(t *auth.Token) { t.Rooms = []string{"a-*"} }), nil, some},
		{"token of another tenant", token("other", func(t *auth.Token) { t.Tenant = "other" }), nil, foreign},
		{"token of no tenant", token("nowhere", func(t *auth.Token) { t.Tenant = "nowhere" }), nil, "PPPPP PPPPP PP +NN++ NNNNP++ PPP"},

		{"JWT", es(nil), nil, everybody},
		{"JWT by another key", "Bearer " + sign(t, jwt.SigningMethodES256, is.keys["k2"], "k2", is.claims(nil)), nil, everybody},
		{"JWT with no key id", "Bearer " + sign(t, jwt.SigningMethodES256, k1, "", is.claims(nil)), nil, everybody},
		{"JWT for many", es(jwt.MapClaims{"aud": []string{"x", "classrec"}}), nil, everybody},
		{"JWT of rooms", es(jwt.MapClaims{"rooms": []string{"a-*"}}), nil, some},
		{"JWT of no rooms", es(jwt.MapClaims{"rooms": []string{}}), nil, "NNN0N NNN0N 0+ +NN++ NNNNP++ PPP"},
		{"JWT to list", es(jwt.MapClaims{"scope": "list"}), nil, "PP++P PP++P +P PPP++ ++++PP+ PPP"},
		{"JWT for nothing", es(jwt.MapClaims{"scope": "openid"}), nil, "PPPPP PPPPP PP PPP++ PPPPPP+ PPP"},
		{"JWT of another tenant", es(jwt.MapClaims{"tenant": "other"}), nil, foreign},
		{"JWT of all tenants", es(jwt.MapClaims{"tenant": "*"}), nil, nobody},
		{"JWT without tenant", es(jwt.MapClaims{"tenant": nil}), nil, nobody},
		{"JWT without rooms", es(jwt.MapClaims{"rooms": nil}), nil, nobody},
		{"JWT without subject", es(jwt.MapClaims{"sub": nil}), nil, nobody},
		{"JWT of another issuer", es(jwt.MapClaims{"iss": "https://elsewhere.example"}), nil, nobody},
		{"JWT of another known issuer", es(jwt.MapClaims{"iss": "https://static.example"}), nil, nobody},
		{"JWT for another", es(jwt.MapClaims{"aud": "elsewhere"}), nil, nobody},
		{"JWT for nobody", es(jwt.MapClaims{"aud": nil}), nil, nobody},
		{"JWT expired", es(jwt.MapClaims{"exp": time.Now().Add(-time.Second).Unix()}), nil, nobody},
		{"JWT for ever", es(jwt.MapClaims{"exp": nil}), nil, nobody},
		{"JWT from tomorrow", es(jwt.MapClaims{"nbf": time.Now().Add(time.Hour).Unix()}), nil, nobody},
		{"JWT of no algorithm", "Bearer " + sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "k1", is.claims(nil)), nil, nobody},
		{"JWT by a stranger's key", "Bearer " + sign(t, jwt.SigningMethodES256, stranger.keys["k1"], "k1", is.claims(nil)), nil, nobody},
		{"JWT by an unknown key", "Bearer " + sign(t, jwt.SigningMethodES256, stranger.keys["k1"], "k9", is.claims(nil)), nil, nobody},
		{"JWT changed", changed(es(nil)), nil, nobody},
		{"JWT by the public key as a secret", "Bearer " + sign(t, jwt.SigningMethodHS256, []byte(publicPEM(t, k1.Public())), "k1", is.claims(nil)), nil, nobody},
		{"JWT by a key file", "Bearer " + sign(t, jwt.SigningMethodES256, s1, "", is.claims(jwt.MapClaims{"iss": "https://static.example"})), nil, noAdmin},
		{"JWT within the clocks' difference", "Bearer " + sign(t, jwt.SigningMethodES256, s1, "", is.claims(jwt.MapClaims{
			"iss": "https://static.example", "nbf": time.Now().Add(20 * time.Second).Unix(),
		})), nil, noAdmin},
		{"JWT by the key file as a secret", "Bearer " + sign(t, jwt.SigningMethodHS256, []byte(publicPEM(t, s1.Public())), "", is.claims(jwt.MapClaims{"iss": "https://static.example"})), nil, nobody},
		{"JWT by a secret", "Bearer " + sign(t, jwt.SigningMethodHS256, []byte(secret), "", is.claims(jwt.MapClaims{"iss": "https://hs.example"})), nil, "PP++P PP++P +P PPP++ ++++PP+ PPP"},
		{"JWT by a key where a secret is due", "Bearer " + sign(t, jwt.SigningMethodES256, k1, "k1", is.claims(jwt.MapClaims{"iss": "https://hs.example"})), nil, nobody},

		{"certificate", "", m.ca.pair(t, "known"), noAdmin},
		{"certificate by its common name, of rooms", "", m.ca.pair(t, "named"), "PP++P PPN0P +P PPP++ +N+NPP+ PPP"},
		{"certificate of nobody", "", m.ca.pair(t, "unknown"), nobody},
		{"certificate of a stranger's authority", "", m.strangers.pair(t, "known"), cut},
		{"certificate and token", all, m.ca.pair(t, "unknown"), everybody},
		{"certificate and garbage", "Bearer garbage", m.ca.pair(t, "known"), nobody},
		{"certificate and a revoked token", revoked, m.ca.pair(t, "known"), nobody},
	}
	m.Server = newSecured(t, cfg)
	m.furnish(t, all)
	return m, rows
}

// changed is a JWT whose claims are others than those that were signed.
func changed(text string) string {
	parts := strings.Split(text, ".")
	other := "A"
	if parts[1][5] == 'A' {
		other = "B"
	}
	parts[1] = parts[1][:5] + other + parts[1][6:]
	return strings.Join(parts, ".")
}

// newSecured runs a server that newRunning could not call.
func newSecured(t *testing.T, cfg server.Config) *server.Server {
	t.Helper()
	s, err := server.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// furnish makes the recordings.
func (m *matrix) furnish(t *testing.T, header string) {
	t.Helper()
	c := m.caller(t, shown{header: header})
	api, ctx := classrecv1.NewRecordingServiceClient(c.conn), c.context(t)
	chat := func(room string) {
		teacher := apitest.JoinAt(t, "http://"+m.RoomHTTPAddr().String(), room, "teacher")
		teacher.Chat(t, "good morning")
		teacher.Sync(t)
	}
	start := func(room string) string {
		res, err := api.StartRecording(ctx, &classrecv1.StartRecordingRequest{Room: room, UserId: matrixUser, RequestId: room})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetRecording().GetName()
	}
	record := func(room string) (name, file string) {
		name = start(room)
		chat(room)
		if _, err := api.StopRecording(ctx, &classrecv1.StopRecordingRequest{Name: name}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the files", func() bool {
			res, err := api.GetRecording(ctx, &classrecv1.GetRecordingRequest{Name: name})
			if len(res.GetRecording().GetUrls()) > 0 {
				file = res.GetRecording().GetUrls()[0]
			}
			return err == nil && res.GetRecording().GetState() == classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
		})
		return name, file
	}
	m.files = make([]string, 2)
	m.seen, m.files[0] = record("a-seen")
	m.hidden, m.files[1] = record("b-hidden")
	start("a-live")
	start("b-live")
}

// matrixCaller makes the calls of the matrix with one credential.
type matrixCaller struct {
	*matrix
	shown
	conn, admin *grpc.ClientConn
	web         *http.Client
	trust       *tls.Config
}

func (m *matrix) caller(t *testing.T, with shown) *matrixCaller {
	t.Helper()
	trust := m.ca.trust(with.pair)
	dial := func(address string) *grpc.ClientConn {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(trust)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	transport := &http.Transport{TLSClientConfig: trust}
	t.Cleanup(transport.CloseIdleConnections)
	return &matrixCaller{
		matrix: m, shown: with,
		conn: dial(m.GRPCAddr().String()), admin: dial(m.AdminAddr().String()),
		web: &http.Client{Transport: transport}, trust: m.ca.trust(with.pair),
	}
}

func (c *matrixCaller) context(t *testing.T) context.Context {
	t.Helper()
	ctx := apitest.Context(t)
	if c.header != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", c.header)
	}
	return ctx
}

// target is of which room and recording a call is.
func (c *matrixCaller) target(call string) (name, room, recording string) {
	if name, other := strings.CutSuffix(call, "'"); other {
		return name, "b-live", c.hidden
	}
	return call, "a-live", c.seen
}

// grpc makes a call; 0 is for one that is not over gRPC.
func (c *matrixCaller) grpc(t *testing.T, call string) (cell rune, said string) {
	t.Helper()
	name, room, recording := c.target(call)
	api, ctx := classrecv1.NewRecordingServiceClient(c.conn), c.context(t)
	var err error
	empty := false
	switch name {
	case "Start":
		_, err = api.StartRecording(ctx, &classrecv1.StartRecordingRequest{Room: room, UserId: matrixUser, RequestId: room})
	case "Stop":
		_, err = api.StopRecording(ctx, &classrecv1.StopRecordingRequest{Name: recording})
	case "Get":
		_, err = api.GetRecording(ctx, &classrecv1.GetRecordingRequest{Name: recording})
	case "List":
		var res *classrecv1.ListRecordingsResponse
		res, err = api.ListRecordings(ctx, &classrecv1.ListRecordingsRequest{Room: strings.Split(recording, "/")[1]})
		empty = len(res.GetRecordings()) == 0
	case "ListAll":
		empty, err = c.listAll(ctx, api)
	case "Watch":
		err = watchFirst(ctx, api, room, c.sees)
	case "WatchAll":
		err = watchFirst(ctx, api, "-", c.sees)
	case "Admin":
		_, err = adminv1.NewWebhookServiceClient(c.admin).ListWebhookEndpoints(ctx, &adminv1.ListWebhookEndpointsRequest{})
	case "Explain":
		_, err = adminv1.NewRoomServiceClient(c.admin).ExplainRecording(ctx, &adminv1.ExplainRecordingRequest{Name: recording})
	case "Reflection":
		var stream grpc.BidiStreamingClient[reflectionv1.ServerReflectionRequest, reflectionv1.ServerReflectionResponse]
		if stream, err = reflectionv1.NewServerReflectionClient(c.conn).ServerReflectionInfo(ctx); err != nil {
			break
		}
		_ = stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
		_ = stream.CloseSend()
		for err == nil {
			_, err = stream.Recv()
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	case "Health":
		_, err = healthv1.NewHealthClient(c.conn).Check(ctx, &healthv1.HealthCheckRequest{})
	default:
		return 0, ""
	}
	return cellOf(status.Convert(err), empty)
}

// sees says whether the credential is told of a room, by its row.
func (c *matrixCaller) sees(room string) bool {
	want := strings.ReplaceAll(c.want, " ", "")
	if want == "" {
		return true
	}
	start, get := want[0], want[2]
	if strings.HasPrefix(room, "b-") {
		start, get = want[5], want[7]
	}
	return start != cellNone || get != cellNone // another tenant has its own rooms of these names
}

// listAll lists over all rooms, in pages of one.
func (c *matrixCaller) listAll(ctx context.Context, api classrecv1.RecordingServiceClient) (empty bool, err error) {
	found := map[string]bool{}
	req := &classrecv1.ListRecordingsRequest{UserId: matrixUser, PageSize: 1}
	for {
		res, err := api.ListRecordings(ctx, req)
		if err != nil {
			return false, err
		}
		for _, r := range res.GetRecordings() {
			found[r.GetName()] = true
		}
		if req.PageToken = res.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	want := strings.ReplaceAll(c.want, " ", "")
	for name, cell := range map[string]byte{c.seen: want[2], c.hidden: want[7]} {
		if found[name] != (cell == cellOK) {
			return false, fmt.Errorf("listed: %v, of which %s is %c", found, name, cell)
		}
	}
	return !found[c.seen] && !found[c.hidden], nil
}

// watchFirst reads a watch until it is synced.
func watchFirst(ctx context.Context, api classrecv1.RecordingServiceClient, room string, sees func(string) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := api.WatchClassBegin(ctx, &classrecv1.WatchClassBeginRequest{Room: room})
	for err == nil {
		var res *classrecv1.WatchClassBeginResponse
		if res, err = stream.Recv(); res.GetSynced() != nil {
			return nil
		}
		if told := res.GetEvent().GetRoom(); told != "" && !sees(told) {
			return fmt.Errorf("told of %s", told)
		}
	}
	return err
}

func cellOf(st *status.Status, empty bool) (cell rune, said string) {
	switch st.Code() {
	case codes.OK:
		if empty {
			return cellEmpty, ""
		}
		return cellOK, ""
	case codes.Unauthenticated:
		return cellUnknown, st.Message()
	case codes.PermissionDenied:
		return cellDenied, st.Message()
	case codes.NotFound:
		return cellNone, st.Message()
	default:
		if st.Code() == codes.Unavailable && len(st.Details()) == 0 { // gRPC's own: ours say why
			return cellCut, st.Message()
		}
	}
	return '?', st.String()
}

// http makes a call; 0 is for one that is not over HTTP.
func (c *matrixCaller) http(t *testing.T, call string) (cell rune, said string) {
	t.Helper()
	name, room, recording := c.target(call)
	file := c.files[0]
	if strings.HasSuffix(call, "'") {
		file = c.files[1]
	}
	file, _, _ = strings.Cut(strings.TrimPrefix(file, "https://"+c.HTTPAddr().String()), "?")
	method, body := http.MethodGet, ""
	var path string
	switch name {
	case "Start":
		method, path = http.MethodPost, "/v1/rooms/"+room+"/recordings"
		body = fmt.Sprintf(`{"userId":%q,"requestId":%q}`, matrixUser, room)
	case "Stop":
		method, path = http.MethodPost, "/v1/"+recording+":stop"
	case "Get":
		path = "/v1/" + recording
	case "List":
		path = "/v1/rooms/" + strings.Split(recording, "/")[1] + "/recordings"
	case "ListAll":
		path = "/v1/recordings?user_id=" + matrixUser
	case "Watch":
		path = "/v1/rooms/" + room + "/classBegin:watch"
	case "WatchAll":
		path = "/v1/rooms/-/classBegin:watch"
	case "File":
		path = file
	case "Head":
		method, path = http.MethodHead, file
	case "Metrics":
		path = "/metrics"
	case "Debug":
		return c.debugRooms(t)
	case "Whip", "Socket", "Checkroom":
		return c.classroom(t, name, room)
	case "Pages":
		for _, path := range []string{"/", "/docs", "/openapi.json", "/healthz"} {
			if cell, said := c.get(t, http.MethodGet, path, ""); cell != cellOK {
				return cell, path + ": " + said
			}
		}
		return cellOK, ""
	default:
		return 0, ""
	}
	cell, said = c.get(t, method, path, body)
	if cell == cellOK && strings.HasPrefix(name, "List") {
		var page struct{ Recordings []struct{ Name string } }
		if err := json.Unmarshal([]byte(said), &page); err != nil {
			return '?', err.Error()
		}
		for _, r := range page.Recordings {
			if r.Name == c.seen || r.Name == c.hidden {
				return cellOK, ""
			}
		}
		return cellEmpty, ""
	}
	return cell, said
}

// debugRooms asks for what is done in rooms, which has those that the credential
// may ask about.
func (c *matrixCaller) debugRooms(t *testing.T) (cell rune, said string) {
	t.Helper()
	cell, said = c.get(t, http.MethodGet, "/debug/rooms", "")
	if cell != cellOK {
		return cell, said
	}
	want, calls := strings.ReplaceAll(c.want, " ", ""), strings.Fields(matrixCalls)
	for room, call := range map[string]string{"a-live": "Explain", "b-live": "Explain'"} {
		told := strings.Contains(said, fmt.Sprintf("room %q of tenant default", room))
		if told != (want[slices.Index(calls, call)] == cellOK) {
			return '?', fmt.Sprintf("tells of %s: %v", room, told)
		}
	}
	return cell, said
}

// classroom tries a door of the room server, with the credential as far as one can
// be shown there.
func (c *matrixCaller) classroom(t *testing.T, door, room string) (cell rune, said string) {
	t.Helper()
	base := "https://" + c.HTTPAddr().String()
	switch door {
	case "Whip":
		_, token, _ := strings.Cut(c.header, " ")
		said = offerAt(t, c.web, base, room, token)
	case "Socket":
		said = joinRoomAt(t, base, room, c.trust)
	case "Checkroom":
		said = checkRoomAt(t, c.web, base, room, "")
	}
	switch said {
	case "403", "4008":
		return cellDenied, ""
	case "0", "400": // 400: the offer is none
		return cellOK, ""
	}
	if cutOff(said) {
		return cellCut, said
	}
	return '?', said
}

// cutOff tells what an error of a connection that is refused says.
func cutOff(said string) bool {
	return strings.Contains(said, "tls: ") || strings.Contains(said, "connection reset") || strings.Contains(said, "broken pipe")
}

// get makes an HTTP request, and reads its answer, of a stream the first line.
func (c *matrixCaller) get(t *testing.T, method, path, body string) (cell rune, said string) {
	t.Helper()
	ctx, cancel := context.WithCancel(apitest.Context(t))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "https://"+c.HTTPAddr().String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if c.header != "" {
		req.Header.Set("Authorization", c.header)
	}
	resp, err := c.web.Do(req)
	if err != nil {
		if cutOff(err.Error()) {
			return cellCut, err.Error()
		}
		return '?', err.Error()
	}
	defer resp.Body.Close()
	var text []byte
	if resp.Header.Get("Content-Type") == "application/x-ndjson" {
		line := make([]byte, 4096)
		n, _ := resp.Body.Read(line)
		text = line[:n]
	} else if text, err = io.ReadAll(resp.Body); err != nil {
		return '?', err.Error()
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return cellOK, string(text)
	case http.StatusUnauthorized:
		if !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer") {
			return '?', "401 without WWW-Authenticate"
		}
		return cellUnknown, string(text)
	case http.StatusForbidden:
		return cellDenied, string(text)
	case http.StatusNotFound:
		return cellNone, string(text)
	}
	return '?', fmt.Sprintf("%s: %s", resp.Status, text)
}

// What the gateway tells the gRPC server of its callers, nobody else can tell.
func TestForwarded_CannotBeForged(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.server(t)
	ca.issue(t, "known", &x509.Certificate{DNSNames: []string{"known.example"}})
	dir := t.TempDir()
	cfg := apitest.Config(dir)
	cfg.AdminListen = "127.0.0.1:0"
	cfg.AuthFile = filepath.Join(dir, "auth.yaml")
	mustWrite(t, cfg.AuthFile, "certificates:\n  - {name: known.example, scopes: [list]}\n")
	cfg.TLSCertFile, cfg.TLSKeyFile, cfg.TLSClientCAFile = ca.file("server.pem"), ca.file("server.key"), ca.file("ca.pem")
	m := &matrix{Server: newSecured(t, cfg), ca: ca, seen: "rooms/a/recordings/1", files: make([]string, 2)}
	der := ca.pair(t, "known").Certificate[0]

	c := m.caller(t, shown{})
	api := classrecv1.NewRecordingServiceClient(c.conn)
	list := &classrecv1.ListRecordingsRequest{Room: "a"}
	forged := metadata.AppendToOutgoingContext(apitest.Context(t), "classrec-client-certificate-bin", string(der), "classrec-remote-addr", "127.0.0.1:1")
	if _, err := api.ListRecordings(forged, list); status.Code(err) != codes.Unauthenticated {
		t.Errorf("forged over gRPC: %v", err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+m.HTTPAddr().String()+"/v1/rooms/a/recordings", nil)
	if err != nil {
		t.Fatal(err)
	}
	encoded := base64.StdEncoding.EncodeToString(der)
	for _, name := range []string{"Classrec-Client-Certificate-Bin", "Grpc-Metadata-Classrec-Client-Certificate-Bin", "Grpcgateway-Classrec-Client-Certificate-Bin"} {
		req.Header.Set(name, encoded)
	}
	resp, err := c.web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("forged over HTTP: %s", resp.Status)
	}
	c = m.caller(t, shown{pair: ca.pair(t, "known")})
	if _, err := classrecv1.NewRecordingServiceClient(c.conn).ListRecordings(apitest.Context(t), list); err != nil {
		t.Errorf("shown over gRPC: %v", err)
	}
	if cell, said := c.http(t, "List"); cell != cellEmpty {
		t.Errorf("shown over HTTP: %c %s", cell, said)
	}
}
