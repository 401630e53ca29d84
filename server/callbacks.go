// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/callback"
	"github.com/classrec/classrec/server/internal/recording"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// callbackPathName is the file in the data directory that holds the path for the
// callbacks of the default tenant's platform; that of another has a hyphen and
// the tenant's name after it.
const callbackPathName = "callback-path"

func callbackPathFile(tenant string) string {
	if tenant == auth.DefaultTenant {
		return callbackPathName
	}
	return callbackPathName + "-" + tenant
}

// callbackSecret is the part of the path that cannot be guessed, and that says
// whose platform it is: all processes with the same key have the same.
func callbackSecret(key recording.Key, tenant string) talkcloud.Secret {
	purpose := "classrec: path of the callbacks of TalkCloud"
	if tenant != auth.DefaultTenant {
		purpose += " for tenant " + tenant
	}
	derived := key.Derive(purpose)
	return talkcloud.Secret(base64.RawURLEncoding.EncodeToString(derived[:24]))
}

// withCallbacks takes the callbacks of the tenants' platforms before rest is
// asked, where there are any, and notes their paths for the operator.
func (s *Server) withCallbacks(rest http.Handler) (http.Handler, error) {
	if err := s.removeCallbackPaths(); err != nil {
		return nil, fmt.Errorf("forget paths of callbacks: %w", err)
	}
	for _, t := range s.tenants {
		if t.embedded() || s.cfg.NoCallbacks {
			continue
		}
		secret := callbackSecret(s.sealingKey, t.name)
		if err := writeFile(s.cfg.path(callbackPathFile(t.name)), []byte(callback.Prefix+secret.Reveal()+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("note the path of callbacks: %w", err)
		}
		rest = callback.New(callback.Config{
			Secret: secret,
			Notify: t.calledBack,
			Logger: s.logger(t, "callbacks"),
		}, rest)
	}
	return rest, nil
}

// removeCallbackPaths forgets the paths of an earlier life, whose tenants may be
// others.
func (s *Server) removeCallbackPaths() error {
	old, err := filepath.Glob(s.cfg.path(callbackPathName + "-*"))
	if err != nil {
		return err
	}
	for _, path := range append(old, s.cfg.path(callbackPathName)) {
		if err := removeIf(path); err != nil {
			return err
		}
	}
	return nil
}

// calledBack has somebody look where a callback points to, and believes nothing
// of it. Which id of a room the platform means by which field is not certain.
func (t *tenant) calledBack(c talkcloud.Callback) {
	for _, room := range []talkcloud.RoomID{c.Room, c.ThirdRoom} {
		switch c.Kind {
		case talkcloud.CallbackRecordingFinished:
			t.recordings.FilesMayBeThere(string(room))
		case talkcloud.CallbackClassState:
			t.recordings.ClassMayHaveChanged(string(room))
		case talkcloud.CallbackOther:
		}
	}
}
