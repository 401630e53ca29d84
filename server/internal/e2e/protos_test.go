// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"archive/zip"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// unzipProtos gets /protos.zip as a user would and returns the directory with its files.
func unzipProtos(t *testing.T, url string) string {
	t.Helper()
	req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/protos.zip", nil))
	res := must[*http.Response](t)(http.DefaultClient.Do(req))
	defer func() { _ = res.Body.Close() }()
	raw := must[[]byte](t)(io.ReadAll(res.Body))
	archive := must[*zip.Reader](t)(zip.NewReader(bytes.NewReader(raw), int64(len(raw))))
	dir := t.TempDir()
	if err := os.CopyFS(dir, archive); err != nil {
		t.Fatal(err)
	}
	return dir
}

// run runs a program, which must succeed, and returns what it prints.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestProtos_Generate has protoc make code in each language that it knows by itself from nothing but what the server
// hands out and googleapis-common-protos; then a program with the code made for Python calls the server, and one without
// any code by the descriptor set.
func TestProtos_Generate(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	dir := unzipProtos(t, s.URL())
	python := must[string](t)(filepath.Abs(filepath.Join(repository, ".build", "python", "bin", "python")))
	common := strings.TrimSpace(run(t, dir, python, "-c", "import google.rpc, pathlib; print(pathlib.Path(list(google.rpc.__path__)[0]).parents[1])"))
	files := must[[]string](t)(filepath.Glob(filepath.Join(dir, "proto", "classrec", "v1", "*.proto")))
	if len(files) == 0 {
		t.Fatal("/protos.zip has no protos")
	}
	args := append([]string{"-I", filepath.Join(dir, "proto"), "-I", common}, files...)
	run(t, dir, python, append([]string{"-m", "grpc_tools.protoc", "--python_out=.", "--grpc_python_out=."}, args...)...)
	// Debian has google/protobuf in another package than protoc.
	wellKnown := filepath.Join(common, "grpc_tools", "_proto")
	for _, language := range []string{"cpp", "csharp", "java", "kotlin", "objc", "php", "ruby"} {
		out := filepath.Join(dir, language)
		if err := os.MkdirAll(out, 0o750); err != nil {
			t.Fatal(err)
		}
		run(t, dir, "protoc", append([]string{"--" + language + "_out=" + out, "-I", wellKnown}, args...)...)
		if made := must[[]os.DirEntry](t)(os.ReadDir(out)); len(made) == 0 {
			t.Errorf("nothing was made for %s", language)
		}
	}
	address := s.Process().GRPCAddr().String()
	got := run(t, dir, python, "-c", `
import sys, grpc
from classrec.v1 import recording_service_pb2 as pb, recording_service_pb2_grpc as rpc
with grpc.insecure_channel(sys.argv[1]) as channel:
    r = rpc.RecordingServiceStub(channel).StartRecording(pb.StartRecordingRequest(room="protos")).recording
    print(r.name, pb.classrec_dot_v1_dot_recording__pb2.RecordingState.Name(r.state))
`, address)
	name, state, _ := strings.Cut(strings.TrimSpace(got), " ")
	if !strings.HasPrefix(name, "rooms/protos/recordings/") || state != "RECORDING_STATE_RECORDING" {
		t.Errorf("by the code for Python: %s", got)
	}
	script := must[string](t)(filepath.Abs(filepath.Join("testdata", "protoloader", "list.js")))
	if got := run(t, dir, "node", script, "classrec.binpb", address, "protos"); !strings.Contains(got, name) {
		t.Errorf("by the descriptor set, which proto-loader reads: %s", got)
	}
	if got := run(t, dir, filepath.Join(filepath.Dir(python), "..", "..", "grpcurl"), "-plaintext", "-protoset", "classrec.binpb",
		"-d", `{"room": "protos"}`, address, "classrec.v1.RecordingService/StopRecording"); !strings.Contains(got, name) {
		t.Errorf("by the descriptor set, which grpcurl reads: %s", got)
	}
}
