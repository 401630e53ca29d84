// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/classrec/classrec"

// mayImport is the shape of the code: which of our packages each one may
// import. Generated code is open to all that deal in messages.
var mayImport = map[string][]string{
	"client":                          {"gen"},
	"client/classrec":                 {"client", "gen"},
	"server":                          {"gen", "internal/audit", "internal/gateway", "internal/callback", "internal/service", "internal/recording", "internal/store", "internal/room", "internal/talkcloud", "internal/roomserver", "internal/webhook", "internal/admin", "internal/admission", "internal/auth", "internal/rehearsal", "internal/tracing"},
	"server/classrecd":                {"server", "internal/demo", "internal/auth", "internal/scenario", "internal/rehearsal"},
	"server/internal/gateway":         {"internal/gateway/console", "internal/auth", "internal/tracing", "gen"},
	"server/internal/service":         {"internal/recording", "internal/auth", "internal/tracing", "gen"},
	"server/internal/callback":        {"internal/talkcloud"},
	"server/internal/webhook":         {"internal/netguard", "internal/store", "gen"},
	"server/internal/admin":           {"internal/auth", "internal/webhook", "internal/recording", "internal/store", "gen"},
	"server/internal/recording":       {"internal/admission", "internal/clock", "internal/store", "internal/room", "internal/talkcloud", "internal/tracing", "gen"},
	"server/internal/store":           {"gen"},
	"server/internal/room":            {"internal/talkcloud", "internal/tracing"},
	"server/internal/talkcloud":       {"internal/netguard", "internal/socketio", "internal/tracing"},
	"server/internal/roomserver":      {"internal/talkcloud", "internal/socketio", "internal/ingest", "internal/recorder"},
	"server/internal/socketio":        {"internal/engineio"},
	"server/internal/auth":            {},
	"server/internal/admission":       {},
	"server/internal/audit":           {},
	"server/internal/tracing":         {},
	"server/internal/clock":           {},
	"server/internal/netguard":        {},
	"server/internal/cast":            {"internal/talkcloud", "internal/publisher", "internal/clips", "internal/mediafile"},
	"server/internal/mediafile":       {"internal/clips"},
	"server/internal/rehearsal":       {"internal/clock", "internal/talkcloud", "internal/socketio", "internal/engineio"},
	"server/internal/scenario":        {"internal/cast", "internal/rehearsal", "internal/talkcloud"},
	"server/internal/engineio":        {},
	"server/internal/ingest":          {"internal/transport"},
	"server/internal/transport":       {},
	"server/internal/recorder":        {"internal/mixer", "internal/ffmpeg"},
	"server/internal/mixer":           {"internal/ffmpeg"},
	"server/internal/ffmpeg":          {},
	"server/internal/clips":           {},
	"server/internal/publisher":       {"internal/clips"},
	"server/internal/demo":            {"client", "server", "internal/publisher", "internal/clips", "internal/talkcloud", "internal/recorder", "gen"},
	"server/internal/gateway/console": {},
	"server/internal/chaos":           {},
	"server/internal/conformance":     {},
	"server/internal/e2e":             {},
	"server/internal/hostile":         {},
	"server/internal/impair":          {},
}

// onlyImporters are the packages that may import a module or a part of it, so
// that it can be replaced by changing these alone. The longest name counts.
var onlyImporters = map[string][]string{
	"github.com/grpc-ecosystem/grpc-gateway":               {"server/internal/gateway"},
	"connectrpc.com/connect":                               {"server/internal/gateway"},
	"github.com/grpc-ecosystem/go-grpc-middleware":         {"server/internal/service", "server"},
	"buf.build/go/protovalidate":                           {"server/internal/service"},
	"modernc.org/sqlite":                                   {"server/internal/store"},
	"github.com/jackc/pgx":                                 {"server/internal/store"},
	"github.com/pressly/goose":                             {"server/internal/store"},
	"github.com/gorilla/websocket":                         {"server/internal/engineio"},
	"github.com/at-wat/ebml-go":                            {"server/internal/recorder"},
	"golang.org/x/time":                                    {"server/internal/admission"},
	"github.com/prometheus":                                {"server"},
	"go.opentelemetry.io":                                  {"server", "server/internal/tracing"},
	"go.opentelemetry.io/otel/trace":                       {"server", "server/internal/tracing", "server/internal/recording"},
	"go.opentelemetry.io/otel/attribute":                   {"server", "server/internal/tracing", "server/internal/recording"},
	"github.com/golang-jwt/jwt":                            {"server/internal/auth"},
	"github.com/alecthomas/kong":                           {"server/classrecd", "client/classrec"},
	"github.com/goccy/go-yaml":                             {"server/classrecd", "client/classrec", "server", "server/internal/scenario"},
	"github.com/pion":                                      {"server/internal/transport", "server/internal/publisher"},
	"github.com/pion/sdp":                                  {"server/internal/ingest"},
	"github.com/pion/rtp":                                  {"server/internal/transport", "server/internal/ingest", "server/internal/roomserver", "server/internal/publisher", "server/internal/recorder"},
	"github.com/pion/webrtc/v4/pkg/media":                  {"server/internal/publisher", "server/internal/clips"},
	"google.golang.org/grpc/codes":                         atTheEdge,
	"google.golang.org/grpc/status":                        atTheEdge,
	"google.golang.org/genproto/googleapis/rpc/errdetails": atTheEdge,
}

// atTheEdge is where errors are codes: the service makes them, the gateway
// those that only HTTP has, and clients read them.
var atTheEdge = []string{"server/internal/service", "server/internal/gateway", "client", "client/classrec"}

// goPackage is one directory of Go files.
type goPackage struct {
	dir     string // from the module's root
	doc     string // the package comment
	imports []string
}

// support says whether a package is for tests, which may use everything.
func (p goPackage) support() bool { return strings.HasSuffix(p.dir, "test") }

// readPackages parses client and server, without their tests.
func readPackages(t *testing.T) []goPackage {
	t.Helper()
	packages := map[string]*goPackage{}
	for _, file := range goFiles(t, "client", "server") {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", file), nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		dir := path.Dir(filepath.ToSlash(file))
		p := packages[dir]
		if p == nil {
			p = &goPackage{dir: dir}
			packages[dir] = p
		}
		if parsed.Doc != nil {
			p.doc += parsed.Doc.Text()
		}
		p.imports = append(p.imports, imports(t, parsed)...)
	}
	all := make([]goPackage, 0, len(packages))
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		all = append(all, *packages[dir])
	}
	return all
}

func imports(t *testing.T, file *ast.File) []string {
	t.Helper()
	paths := make([]string, 0, len(file.Imports))
	for _, spec := range file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, name)
	}
	return paths
}

// goFiles lists the Go files under directories of the module.
func goFiles(t *testing.T, dirs ...string) []string {
	t.Helper()
	var files []string
	for _, dir := range dirs {
		err := fs.WalkDir(os.DirFS(".."), dir, func(name string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && (entry.Name() == "testdata" || entry.Name() == "node_modules"):
				return fs.SkipDir
			case path.Ext(name) == ".go":
				files = append(files, name)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(files) == 0 {
		t.Fatal("no Go files found")
	}
	return files
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, p := range readPackages(t) {
		if p.support() {
			continue
		}
		allowed, ok := mayImport[p.dir]
		if !ok {
			t.Errorf("%s is not in the table: say what it may import", p.dir)
			continue
		}
		for _, name := range p.imports {
			if ours, ok := strings.CutPrefix(name, module+"/"); ok {
				if !covers(allowed, ours) {
					t.Errorf("%s must not import %s", p.dir, ours)
				}
				continue
			}
			if owners, rule := owners(name); owners != nil && !slices.Contains(owners, p.dir) {
				t.Errorf("%s must not import %s: %s is for %s", p.dir, name, rule, strings.Join(owners, ", "))
			}
		}
	}
}

// covers says whether a package is among the allowed ones.
func covers(allowed []string, ours string) bool {
	ours = strings.TrimPrefix(ours, "server/")
	return slices.ContainsFunc(allowed, func(a string) bool {
		return ours == a || a == "gen" && strings.HasPrefix(ours, "gen/")
	})
}

// owners finds the rule for a package that is not ours; nil: everybody may
// import it.
func owners(name string) (dirs []string, rule string) {
	for prefix, importers := range onlyImporters {
		if (name == prefix || strings.HasPrefix(name, prefix+"/")) && len(prefix) > len(rule) {
			dirs, rule = importers, prefix
		}
	}
	return dirs, rule
}

func TestPackageDocs(t *testing.T) {
	t.Parallel()
	for _, p := range readPackages(t) {
		name := path.Base(p.dir)
		if !strings.HasPrefix(p.doc, "Package "+name+" ") && !strings.HasPrefix(p.doc, "Program "+name+" ") {
			t.Errorf("%s has no package comment", p.dir)
		}
		if slices.Contains([]string{"util", "utils", "common", "types", "errors", "config", "helpers"}, name) {
			t.Errorf("%s is named for no subject", p.dir)
		}
	}
}

func TestLicenseLines(t *testing.T) {
	t.Parallel()
	for _, file := range goFiles(t, "client", "server", "tools") {
		text, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "// SPDX-License-Identifier: Apache-2.0\n") {
			t.Errorf("%s does not begin with its license", file)
		}
	}
}
