// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/classrec/classrec/server"
)

// described are the names of all metrics of a server and their labels, whether
// there is a value yet or not.
func described(t *testing.T) map[string][]string {
	t.Helper()
	r := newRunning(t, anywhere(t.TempDir()))
	descs := make(chan *prometheus.Desc)
	go func() {
		server.Registry(r.Server).Describe(descs)
		close(descs)
	}()
	form := regexp.MustCompile(`^Desc\{fqName: "([^"]+)", .*constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}\}$`)
	all := map[string][]string{}
	for d := range descs {
		m := form.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("a description of another form: %s", d)
		}
		var labels []string
		for _, pair := range strings.Split(m[2], ",") {
			if name, _, ok := strings.Cut(pair, "="); ok {
				labels = append(labels, strings.TrimSpace(name))
			}
		}
		for _, name := range strings.Split(m[3], ",") {
			if name != "" {
				labels = append(labels, name)
			}
		}
		slices.Sort(labels)
		all[m[1]] = labels
	}
	return all
}

// The table of docs/observability.md has all metrics of ours with their labels
// and types, and no others.
func TestObservability_Table(t *testing.T) {
	t.Parallel()
	real := described(t)
	r := newRunning(t, anywhere(t.TempDir()))
	families, err := server.Registry(r.Server).Gather()
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]string{}
	for _, f := range families {
		types[f.GetName()] = strings.ToLower(f.GetType().String())
	}
	text, err := os.ReadFile("../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `(classrec_[a-z_]+)` \\| (\\w+) \\| ([^|]*)\\|")
	documented := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		name, kind := m[1], m[2]
		documented[name] = true
		var labels []string
		for _, l := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(m[3], -1) {
			labels = append(labels, l[1])
		}
		slices.Sort(labels)
		if is, ok := real[name]; !ok {
			t.Errorf("%s is documented, and not there", name)
		} else if !slices.Equal(is, labels) {
			t.Errorf("%s has the labels %v, and not %v", name, is, labels)
		}
		if is, ok := types[name]; ok && is != kind {
			t.Errorf("%s is a %s, and not a %s", name, is, kind)
		}
	}
	for name := range real {
		if strings.HasPrefix(name, "classrec_") && !documented[name] {
			t.Errorf("%s is not documented", name)
		}
		if strings.HasPrefix(name, "grpc_server_") && !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("%s is not documented", name)
		}
	}
}

// The dashboard and the alert rules ask for metrics and labels that there are.
func TestObservability_Queries(t *testing.T) {
	t.Parallel()
	real := described(t)
	queries := map[string]string{}
	maps.Copy(queries, alertQueries(t))
	maps.Copy(queries, dashboardQueries(t))
	if len(queries) < 40 {
		t.Fatalf("only %d queries were found", len(queries))
	}
	used := map[string]bool{}
	for where, query := range queries {
		names, err := checkQuery(query, real)
		if err != nil {
			t.Errorf("%s: %v: %s", where, err, query)
		}
		for _, name := range names {
			used[name] = true
		}
	}
	for name := range real {
		if strings.HasPrefix(name, "classrec_") && !used[name] {
			t.Errorf("nobody looks at %s: neither the dashboard nor an alert", name)
		}
	}
}

// What the check is for, it finds.
func TestObservability_Check(t *testing.T) {
	t.Parallel()
	real := map[string][]string{"a_total": {"kind"}, "b_seconds": {"tenant"}}
	for query, ok := range map[string]bool{
		`sum by (kind) (rate(a_total{kind="x", instance=~"$instance"}[5m])) > 0.1 * 3`:                  true,
		`histogram_quantile(0.9, sum by (le, tenant) (rate(b_seconds_bucket[$__rate_interval])))`:       true,
		`sum without (instance) (a_total) and on (kind) b_seconds_count offset 5m unless a_total @ 160`: true,
		`rate(c_total[5m])`:                  false,
		`a_total{tenant="x"}`:                false,
		`sum by (room) (a_total)`:            false,
		`sum(a_total`:                        false,
		`a_total{kind="x"`:                   false,
		`b_seconds_total`:                    false,
		`a_total{kind="a{b)c"}`:              true,
		`sum(a_total) / sum(a_total_bucket)`: false,
	} {
		if _, err := checkQuery(query, real); (err == nil) != ok {
			t.Errorf("%s: %v", query, err)
		}
	}
}

func alertQueries(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "observability", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	queries := map[string]string{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || r.Annotations["summary"] == "" || r.Labels["severity"] == "" || queries["alert "+r.Alert] != "" {
				t.Errorf("%q lacks its name, summary or severity, or is there twice", r.Alert)
			}
			queries["alert "+r.Alert] = r.Expr
		}
	}
	return queries
}

func dashboardQueries(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "observability", "classrec-dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr, RefID string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	queries := map[string]string{}
	for _, p := range board.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("the panel %s shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			queries["panel "+p.Title+" "+target.RefID] = target.Expr
		}
	}
	return queries
}

// checkQuery finds the metrics and labels that a PromQL expression asks for, and
// whether there are such. It knows as much of the language as that needs: what is
// a string, a duration, a function, a grouping, a matcher.
func checkQuery(query string, real map[string][]string) (names []string, err error) {
	tokens := regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\[[^\]]*\]|[a-zA-Z_:][a-zA-Z0-9_:]*|\d[\w.]*|[=!]~|[=!<>]=|\S`).FindAllString(query, -1)
	isName := func(i int) bool {
		return i < len(tokens) && regexp.MustCompile(`^[a-zA-Z_:]`).MatchString(tokens[i])
	}
	at := func(i int) string {
		if i < len(tokens) {
			return tokens[i]
		}
		return ""
	}
	var depth int
	var labels []string // of groupings, to be among those of the metrics
	for i := 0; i < len(tokens); i++ {
		switch token := tokens[i]; {
		case token == "(":
			depth++
		case token == ")":
			if depth--; depth < 0 {
				return names, fmt.Errorf("a ) too many")
			}
		case !isName(i):
		case slices.Contains([]string{"by", "without", "on", "ignoring", "group_left", "group_right"}, token):
			if at(i+1) != "(" {
				return names, fmt.Errorf("%s without (", token)
			}
			for i += 2; at(i) != ")"; i++ {
				if at(i) == "" {
					return names, fmt.Errorf("a grouping without an end")
				}
				if isName(i) {
					labels = append(labels, at(i))
				}
			}
		case slices.Contains([]string{"and", "or", "unless", "bool", "offset", "inf", "nan"}, strings.ToLower(token)):
		case at(i+1) == "(", slices.Contains([]string{"by", "without"}, at(i+1)): // a function
		default:
			own, ok := labelsOf(token, real)
			if !ok {
				return names, fmt.Errorf("there is no metric %s", token)
			}
			names = append(names, family(token, real))
			if at(i+1) != "{" {
				continue
			}
			for i += 2; at(i) != "}"; i++ {
				if !isName(i) {
					return names, fmt.Errorf("a matcher of %s is not name=\"value\"", token)
				}
				if !slices.Contains(own, at(i)) {
					return names, fmt.Errorf("%s has no label %s", token, at(i))
				}
				if !slices.Contains([]string{"=", "!=", "=~", "!~"}, at(i+1)) || !strings.HasPrefix(at(i+2), `"`) {
					return names, fmt.Errorf("a matcher of %s is not name=\"value\"", token)
				}
				if i += 2; at(i+1) == "," {
					i++
				}
			}
		}
	}
	if depth != 0 {
		return names, fmt.Errorf("a ( too many")
	}
	if len(names) == 0 {
		return names, fmt.Errorf("it asks for no metric")
	}
	for _, label := range labels {
		if !slices.ContainsFunc(names, func(name string) bool {
			return slices.Contains(real[name], label) || slices.Contains([]string{"instance", "job", "le"}, label)
		}) {
			return names, fmt.Errorf("no metric in it has the label %s", label)
		}
	}
	return names, nil
}

// family is the metric of a series: of a histogram's buckets, the histogram.
func family(series string, real map[string][]string) string {
	if _, ok := real[series]; ok {
		return series
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if name, ok := strings.CutSuffix(series, suffix); ok && strings.HasSuffix(name, "_seconds") {
			return name
		}
	}
	return series
}

// labelsOf are those of a series, with those that Prometheus adds.
func labelsOf(series string, real map[string][]string) (labels []string, ok bool) {
	name := family(series, real)
	own, ok := real[name]
	labels = append([]string{"instance", "job"}, own...)
	if name != series {
		labels = append(labels, "le")
	}
	return labels, ok
}
