// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/classrec/classrec/server/internal/auth"
)

// tokensName is the file of API tokens in the data directory.
const tokensName = "tokens.json"

// openAuth makes what tells who calls, and refuses to be open to the network
// without.
func (s *Server) openAuth(context.Context) (err error) {
	cfg, err := readAuth(s.cfg.AuthFile)
	if err != nil {
		return err
	}
	cfg.TokensFile, cfg.TokensRequired = s.cfg.tokensFile(), s.cfg.TokensFile != ""
	cfg.Logger = s.cfg.Logger.With("part", "auth")
	if len(cfg.Certificates) > 0 && s.cfg.TLSClientCAFile == "" {
		return errors.New("--auth-file: has certificates, which need --tls-client-ca-file")
	}
	if s.auth, err = auth.New(cfg); err != nil {
		return fmt.Errorf("--tokens-file or --auth-file: %w", err)
	}
	if s.tls, err = openTLS(s.cfg); err != nil {
		return err
	}
	if !s.auth.On() {
		if err := s.cfg.refuseOpen(); err != nil {
			return err
		}
		if !s.isTenant(auth.DefaultTenant) && !s.cfg.PlatformOnly {
			s.cfg.Logger.Warn("nobody is asked who he is, so every caller is of the tenant default, which --tenants-file does not have: " +
				"all calls will be refused until there is a token (classrecd token create) or --auth-file")
		}
	}
	s.parts.add(part{name: "auth", run: s.auth.Run})
	return nil
}

func (c Config) tokensFile() string { return cmp.Or(c.TokensFile, c.path(tokensName)) }

// refuseOpen finds addresses that are not this machine's own alone, where nobody
// would be asked who he is.
func (c Config) refuseOpen() error {
	if c.InsecureNoAuth {
		return nil
	}
	var errs []error
	check := func(flag, address string) {
		if address != "" && !loopback(address) {
			errs = append(errs, fmt.Errorf("%s: %s is open to the network, and nobody would be asked who he is: "+
				"create a token (classrecd token create), or set --tokens-file or --auth-file, or listen on 127.0.0.1; "+
				"--insecure-no-auth is for a proxy in front that asks", flag, address))
		}
	}
	if !c.PlatformOnly {
		check("--grpc-listen", c.GRPCListen)
		check("--admin-listen", c.AdminListen)
		check("--http-listen", c.HTTPListen)
	}
	return errors.Join(errs...)
}

// refuseOpenRooms is refuseOpen for the doors of the embedded platform, where
// the passwords of rooms are asked for.
func (c Config) refuseOpenRooms() error {
	if c.InsecureNoAuth || !c.embedded() || c.StrictRooms {
		return nil
	}
	var errs []error
	for _, door := range c.openRoomDoors() {
		errs = append(errs, fmt.Errorf("%s is open to the network, and so is every room: "+
			"set --rooms-file with passwords and --strict-rooms, or listen on 127.0.0.1; "+
			"--insecure-no-auth is for a proxy in front that asks", door))
	}
	return errors.Join(errs...)
}

// openRoomDoors are those doors of the embedded platform that are not this
// machine's own alone: flags with their addresses. --http-listen is none of them:
// see [Server.classroom].
func (c Config) openRoomDoors() (open []string) {
	for _, door := range [][2]string{{"--room-listen", c.RoomListen}, {"--room-http-listen", c.RoomHTTPListen}} {
		if flag, address := door[0], door[1]; address != "" && !loopback(address) {
			open = append(open, flag+": "+address)
		}
	}
	return open
}

// refuseRoomsWithoutPassword finds rooms of the file that would be open to the
// network though there are no others (StrictRooms).
func (c Config) refuseRoomsWithoutPassword(rooms roomConfigs) error {
	open := c.openRoomDoors()
	if c.InsecureNoAuth || len(open) == 0 {
		return nil
	}
	for _, id := range slices.Sorted(maps.Keys(rooms)) {
		if len(rooms[id].Passwords) == 0 {
			return fmt.Errorf("--rooms-file: room %q has no passwords, and is open to the network by %s: "+
				"give it passwords, or listen on 127.0.0.1; --insecure-no-auth is for a proxy in front that asks", id, strings.Join(open, ", "))
		}
	}
	return nil
}

// classroom is what the HTTP port has of the embedded platform. Where anybody is
// asked who he is, it opens the rooms that have passwords: what a browser and the
// vendor's wire can show is these, and no credential of ours.
func (s *Server) classroom() http.Handler {
	open, closed := s.room.Handler(), s.room.PasswordsHandler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.auth.On() {
			closed.ServeHTTP(w, r)
			return
		}
		open.ServeHTTP(w, r)
	})
}

// loopback says whether an address to listen on is reached from this machine
// alone.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// validateAuth finds what makes no sense of who may do what.
func (c Config) validateAuth() (errs []error) {
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		errs = append(errs, errors.New("--tls-cert-file and --tls-key-file: give both or neither"))
	}
	if c.TLSClientCAFile != "" && c.TLSCertFile == "" {
		errs = append(errs, errors.New("--tls-client-ca-file: needs --tls-cert-file"))
	}
	if c.FileLinkTTL < time.Second {
		errs = append(errs, errors.New("--file-link-ttl: is less than 1s"))
	}
	if !c.embedded() && (c.FileLinkKeyFile == "") != (c.FilesBaseURL == "") {
		errs = append(errs, errors.New("--file-link-key-file and --files-base-url: give both, of the --platform-only process, or neither"))
	}
	if err := c.refuseOpenRooms(); err != nil {
		errs = append(errs, err)
	}
	return errs
}

// readAuth reads [Config.AuthFile].
func readAuth(path string) (cfg auth.Config, err error) {
	if path == "" {
		return cfg, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return cfg, fmt.Errorf("--auth-file: %w", err)
	}
	if cfg, err = parseAuth(text); err != nil {
		return cfg, fmt.Errorf("--auth-file: %s: %w", path, err)
	}
	return cfg, nil
}
