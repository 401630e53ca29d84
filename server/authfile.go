// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/classrec/classrec/server/internal/auth"
)

// parseAuth reads the text of [Config.AuthFile]. An error names the line, and
// never what stands there.
func parseAuth(text []byte) (cfg auth.Config, err error) {
	root, err := parseYAML(text)
	if err != nil {
		return cfg, err
	}
	return cfg, eachKey(root, func(key string, value ast.Node) error {
		switch key {
		case "issuers":
			return eachItem(value, func(item ast.Node) error {
				is, err := parseIssuer(item)
				cfg.Issuers = append(cfg.Issuers, is)
				return err
			})
		case "certificates":
			return eachItem(value, func(item ast.Node) error {
				c, err := parseHolder(item)
				cfg.Certificates = append(cfg.Certificates, c)
				return err
			})
		}
		return errors.New("has a key that is neither issuers nor certificates")
	})
}

func parseIssuer(node ast.Node) (is auth.Issuer, err error) {
	return is, eachKey(node, func(key string, value ast.Node) (err error) {
		switch key {
		case "issuer":
			is.Issuer, err = scalar(value)
		case "audience":
			is.Audience, err = scalar(value)
		case "jwks_url":
			is.JWKSURL, err = scalar(value)
		case "ca_file":
			var file string
			if file, err = scalar(value); err == nil {
				is.RootCAs, err = rootsFrom(file)
			}
		case "key_file":
			is.KeyFile, err = scalar(value)
		case "algorithms":
			err = eachScalar(value, func(text string) error { is.Algorithms = append(is.Algorithms, text); return nil })
		case "clock_skew":
			var skew time.Duration
			skew, err = duration(value)
			is.ClockSkew = skew
		case "tenant":
			is.Tenant, err = scalar(value)
		case "tenant_claim":
			is.TenantClaim, err = scalar(value)
		case "scopes":
			is.Scopes, err = scopes(value)
		case "scopes_claim":
			is.ScopesClaim, err = scalar(value)
		case "rooms":
			err = eachScalar(value, func(text string) error { is.Rooms = append(is.Rooms, text); return nil })
		case "rooms_claim":
			is.RoomsClaim, err = scalar(value)
		default:
			err = errors.New("has a key that is none of issuer, audience, jwks_url, ca_file, key_file, algorithms, " +
				"clock_skew, tenant, tenant_claim, scopes, scopes_claim, rooms, rooms_claim")
		}
		return err
	})
}

func parseHolder(node ast.Node) (c auth.Certificate, err error) {
	return c, eachKey(node, func(key string, value ast.Node) (err error) {
		switch key {
		case "name":
			c.Name, err = scalar(value)
		case "tenant":
			c.Tenant, err = scalar(value)
		case "scopes":
			c.Scopes, err = scopes(value)
		case "rooms":
			err = eachScalar(value, func(text string) error { c.Rooms = append(c.Rooms, text); return nil })
		default:
			err = errors.New("has a key that is none of name, tenant, scopes, rooms")
		}
		return err
	})
}

func scopes(node ast.Node) (list []auth.Scope, err error) {
	return list, eachScalar(node, func(text string) error { list = append(list, auth.Scope(text)); return nil })
}
