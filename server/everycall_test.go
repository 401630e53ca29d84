// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/auth"
)

// What each call takes. A call that is not here fails the test: say who may make it.
var callScopes = map[string]auth.Scope{
	"classrec.v1.RecordingService/StartRecording":              auth.ScopeStart,
	"classrec.v1.RecordingService/StopRecording":               auth.ScopeStop,
	"classrec.v1.RecordingService/GetRecording":                auth.ScopeList,
	"classrec.v1.RecordingService/ListRecordings":              auth.ScopeList,
	"classrec.v1.RecordingService/WatchClassBegin":             auth.ScopeWatch,
	"classrec.admin.v1.RoomService/ListRooms":                  auth.ScopeAdmin,
	"classrec.admin.v1.RoomService/ExplainRecording":           auth.ScopeAdmin,
	"classrec.admin.v1.WebhookService/ListWebhookEndpoints":    auth.ScopeAdmin,
	"classrec.admin.v1.WebhookService/ListWebhookDeliveries":   auth.ScopeAdmin,
	"classrec.admin.v1.WebhookService/GetWebhookDelivery":      auth.ScopeAdmin,
	"classrec.admin.v1.WebhookService/RedeliverWebhook":        auth.ScopeAdmin,
	"classrec.admin.v1.WebhookService/RedeliverFailedWebhooks": auth.ScopeAdmin,
}

// openServices are served beside them: health to all, reflection to any credential
// (see the matrix).
var openServices = []string{"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}

// Every method of every service that a server has, and every path that REST gives
// to one, takes exactly its scope: no credential, one that is not known, and one
// with all other scopes are refused; that with the one scope is let in.
func TestAuthorization_EveryCall(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tokens := map[auth.Scope]struct{ only, others string }{}
	for _, scope := range auth.Scopes() {
		_, only := newToken(t, dir, auth.Token{Name: "only-" + string(scope), Scopes: []auth.Scope{scope}})
		_, others := newToken(t, dir, auth.Token{Name: "not-" + string(scope), Scopes: slices.DeleteFunc(auth.Scopes(), func(s auth.Scope) bool { return s == scope })})
		tokens[scope] = struct{ only, others string }{only, others}
	}
	cfg := apitest.Config(dir)
	cfg.AdminListen = "127.0.0.1:0"
	s := newSecured(t, cfg)
	dial := func(address string) *grpc.ClientConn {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	seen := map[string]bool{}
	for _, conn := range []*grpc.ClientConn{dial(s.GRPCAddr().String()), dial(s.AdminAddr().String())} {
		for _, service := range servicesOf(t, conn, tokens[auth.ScopeAdmin].only) {
			if slices.Contains(openServices, service) {
				continue
			}
			found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
			if err != nil {
				t.Fatal(err)
			}
			methods := found.(protoreflect.ServiceDescriptor).Methods()
			for i := range methods.Len() {
				method := methods.Get(i)
				call := service + "/" + string(method.Name())
				scope, ok := callScopes[call]
				if !ok {
					t.Errorf("%s is served, and nothing says who may call it", call)
					continue
				}
				seen[call] = true
				for name, bearer := range map[string]string{"nobody": "", "a stranger": "crt_stranger", "all but " + string(scope): tokens[scope].others, string(scope): tokens[scope].only} {
					want := codes.Unauthenticated
					switch bearer {
					case tokens[scope].others:
						want = codes.PermissionDenied
					case tokens[scope].only:
						want = codes.OK // or what an empty request is answered
					}
					if got := callEmpty(apitest.Context(t), conn, method, bearer); letIn(want) != letIn(got) || !letIn(got) && got != want {
						t.Errorf("%s by %s: %v", call, name, got)
					}
					for _, path := range pathsOf(method) {
						verb, path, _ := strings.Cut(path, " ")
						for _, accept := range []string{"application/json", "text/event-stream"} {
							if got := restEmpty(t, verb, "http://"+s.HTTPAddr().String()+path, accept, bearer); letIn(want) != letIn(got) || !letIn(got) && got != want {
								t.Errorf("%s %s (%s) by %s: %v", verb, path, accept, name, got)
							}
						}
					}
				}
			}
		}
	}
	for call := range maps.Keys(callScopes) {
		if !seen[call] {
			t.Errorf("%s is not served", call)
		}
	}
}

func letIn(c codes.Code) bool { return c != codes.Unauthenticated && c != codes.PermissionDenied }

// servicesOf are the services of a server, as it says itself.
func servicesOf(t *testing.T, conn *grpc.ClientConn, bearer string) (names []string) {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(apitest.Context(t), "authorization", "Bearer "+bearer)
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	res, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range res.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	return names
}

// callEmpty makes a call of any kind, with nothing in its request.
func callEmpty(ctx context.Context, conn *grpc.ClientConn, method protoreflect.MethodDescriptor, bearer string) codes.Code {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if bearer != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+bearer)
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/"+string(method.Parent().FullName())+"/"+string(method.Name()))
	if err != nil {
		return status.Code(err)
	}
	if err := errors.Join(stream.SendMsg(dynamicpb.NewMessage(method.Input())), stream.CloseSend()); err != nil {
		return status.Code(err)
	}
	return status.Code(stream.RecvMsg(dynamicpb.NewMessage(method.Output())))
}

// pathsOf are the verbs and paths of a method in REST, of a room and a recording
// that there are not.
func pathsOf(method protoreflect.MethodDescriptor) (paths []string) {
	rule, ok := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok || rule == nil {
		return nil
	}
	inName := regexp.MustCompile(`\{\w+=([^}]*)\}`)
	inRoom := regexp.MustCompile(`\{\w+\}`)
	for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
		verb, path := http.MethodGet, r.GetGet()
		if r.GetPost() != "" {
			verb, path = http.MethodPost, r.GetPost()
		}
		path = inRoom.ReplaceAllString(inName.ReplaceAllString(path, "$1"), "-") // no room that there can be
		paths = append(paths, verb+" "+strings.ReplaceAll(path, "*", "-"))
	}
	return paths
}

// restEmpty is callEmpty over REST.
func restEmpty(t *testing.T, verb, url, accept, bearer string) codes.Code {
	t.Helper()
	ctx, cancel := context.WithCancel(apitest.Context(t))
	defer cancel()
	var body io.Reader
	if verb == http.MethodPost {
		body = strings.NewReader("{}")
	}
	req, err := http.NewRequestWithContext(ctx, verb, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusOK, http.StatusBadRequest, http.StatusNotFound:
		return codes.OK
	}
	t.Errorf("%s %s: %s", verb, url, resp.Status)
	return codes.Unknown
}
