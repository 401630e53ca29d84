// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/classrec/classrec/server/internal/admission"
	"github.com/classrec/classrec/server/internal/auth"
)

// tenantConfig is one enterprise: where its rooms are, and what it may have.
type tenantConfig struct {
	name string

	platform          string // Embedded, or a URL
	platformCAFile    string
	enterpriseKeyFile string
	recordListURL     string
	richRecordList    bool
	checkroomParams   map[string]string
	skipFileCheck     bool
	maxDuration       time.Duration
	limits            admission.Limits // its own; those of the process hold too
}

func (c tenantConfig) embedded() bool { return c.platform == Embedded }

// tenantConfigs are the tenants of [Config.TenantsFile], by name; without it,
// the one that the rest of the configuration makes.
func (c Config) tenantConfigs() ([]tenantConfig, error) {
	own := tenantConfig{
		name:              auth.DefaultTenant,
		platform:          c.Platform,
		platformCAFile:    c.PlatformCAFile,
		enterpriseKeyFile: c.EnterpriseKeyFile,
		recordListURL:     c.RecordListURL,
		richRecordList:    c.RichRecordList,
		checkroomParams:   c.CheckroomParams,
		skipFileCheck:     c.SkipFileCheck,
		maxDuration:       c.MaxDuration,
	}
	if c.TenantsFile == "" {
		return []tenantConfig{own}, own.validate("--")
	}
	if err := c.validateShared(); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(c.TenantsFile)
	if err != nil {
		return nil, fmt.Errorf("--tenants-file: %w", err)
	}
	tenants, err := parseTenants(text, c.MaxDuration)
	if err != nil {
		return nil, fmt.Errorf("--tenants-file: %s: %w", c.TenantsFile, err)
	}
	return tenants, nil
}

// validateShared finds what is said for all tenants though each has its own.
func (c Config) validateShared() error {
	own := map[string]bool{
		"--platform":            c.Platform != Embedded,
		"--platform-ca-file":    c.PlatformCAFile != "",
		"--enterprise-key-file": c.EnterpriseKeyFile != "",
		"--record-list-url":     c.RecordListURL != "",
		"--rich-record-list":    c.RichRecordList,
		"--checkroom-param":     len(c.CheckroomParams) > 0,
		"--skip-file-check":     c.SkipFileCheck,
	}
	var errs []error
	for _, flag := range slices.Sorted(maps.Keys(own)) {
		if own[flag] {
			errs = append(errs, fmt.Errorf("%s: each tenant of --tenants-file has its own there", flag))
		}
	}
	if c.PlatformOnly {
		errs = append(errs, errors.New("--tenants-file: --platform-only has no tenants"))
	}
	return errors.Join(errs...)
}

// validate finds what makes no sense of one tenant; mark goes before the name of
// each key.
func (c tenantConfig) validate(mark string) error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s%s: %w", mark, key, fmt.Errorf(format, args...)))
	}
	if !c.embedded() {
		if err := checkURL(c.platform); err != nil {
			bad("platform", "%w, nor %q", err, Embedded)
		}
		if c.enterpriseKeyFile == "" {
			bad("enterprise-key-file", "needed to read the record list of %splatform", mark)
		}
	}
	if c.recordListURL != "" {
		if c.embedded() {
			bad("record-list-url", "the embedded platform has its own")
		} else if err := checkURL(c.recordListURL); err != nil {
			bad("record-list-url", "%w", err)
		}
	}
	if c.maxDuration < 0 {
		bad("max-duration", "is negative")
	}
	return errors.Join(errs...)
}

// parseTenants reads the text of [Config.TenantsFile]. An error names the line,
// and never what stands there.
func parseTenants(text []byte, maxDuration time.Duration) ([]tenantConfig, error) {
	root, err := parseYAML(text)
	if err != nil {
		return nil, err
	}
	var tenants []tenantConfig
	err = eachKey(root, func(key string, value ast.Node) error {
		if key != "tenants" {
			return errors.New("has a key that is not tenants")
		}
		return eachKey(value, func(name string, value ast.Node) error {
			if !isTenant(name) {
				return errors.New("has a tenant whose name is not 1 to 64 letters, digits, - and _, beginning with a letter or digit")
			}
			tenant := tenantConfig{name: name, maxDuration: maxDuration}
			if err := tenant.parse(value); err != nil {
				return err
			}
			if tenant.embedded() && slices.ContainsFunc(tenants, tenantConfig.embedded) {
				return errors.New("has a second tenant whose platform is embedded: there is one embedded platform, and it has one enterprise key")
			}
			tenants = append(tenants, tenant)
			return nil
		})
	})
	if err == nil && len(tenants) == 0 {
		err = errors.New("has no tenant")
	}
	slices.SortFunc(tenants, func(a, b tenantConfig) int { return strings.Compare(a.name, b.name) })
	return tenants, err
}

func (c *tenantConfig) parse(node ast.Node) error {
	err := eachKey(node, func(key string, value ast.Node) (err error) {
		switch key {
		case "platform":
			c.platform, err = scalar(value)
		case "platform-ca-file":
			c.platformCAFile, err = scalar(value)
		case "enterprise-key-file":
			c.enterpriseKeyFile, err = scalar(value)
		case "record-list-url":
			c.recordListURL, err = scalar(value)
		case "rich-record-list":
			c.richRecordList, err = boolean(value)
		case "skip-file-check":
			c.skipFileCheck, err = boolean(value)
		case "checkroom-params":
			c.checkroomParams = map[string]string{}
			err = eachKey(value, func(name string, value ast.Node) (err error) {
				c.checkroomParams[name], err = scalar(value)
				return err
			})
		case "max-duration":
			c.maxDuration, err = duration(value)
		case "limits":
			c.limits, err = parseLimits(value)
		default:
			err = errors.New("has a key that is none of platform, platform-ca-file, enterprise-key-file, record-list-url, rich-record-list, skip-file-check, checkroom-params, max-duration, limits")
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.validate("")
}

func parseLimits(node ast.Node) (l admission.Limits, err error) {
	return l, eachKey(node, func(key string, value ast.Node) (err error) {
		switch key {
		case admission.LimitRecordings:
			l.Recordings, err = count(value)
		case admission.LimitRooms:
			l.Rooms, err = count(value)
		case admission.LimitWatchers:
			l.Watchers, err = count(value)
		case admission.LimitCallsPerSecond:
			l.CallsPerSecond, err = positive(value)
		default:
			err = errors.New("has a limit that is none of recordings, rooms, watchers, calls-per-second")
		}
		return err
	})
}

// count is a whole number that is more than none.
func count(node ast.Node) (int, error) {
	text, err := scalar(node)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		return 0, atLine(node, errors.New("has a limit that is not a whole number above 0"))
	}
	return n, nil
}

// positive is a number that is more than none.
func positive(node ast.Node) (float64, error) {
	text, err := scalar(node)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n <= 0 || math.IsInf(n, 0) || math.IsNaN(n) {
		return 0, atLine(node, errors.New("has a limit that is not a number above 0"))
	}
	return n, nil
}

// limits are those of the process.
func (c Config) limits() admission.Limits {
	return admission.Limits{
		Recordings: max(0, c.MaxRecordings), Rooms: max(0, c.MaxRooms), Watchers: max(0, c.MaxWatchers),
		CallsPerSecond: max(0, c.MaxCallsPerSecond),
	}
}

// isTenant tells what can be the name of a tenant. Those that begin with an
// underscore are our own.
func isTenant(name string) bool {
	return name != "" && len(name) <= 64 && name[0] != '-' && name[0] != '_' && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// boolean is true or false.
func boolean(node ast.Node) (bool, error) {
	text, err := scalar(node)
	if err != nil {
		return false, err
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		return false, atLine(node, errors.New("has something that is neither true nor false"))
	}
	return b, nil
}
