// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// slogFactory gives pion's parts loggers that write to ours. What pion calls a warning is about one peer's network and
// is of interest only when that peer is looked at, so it goes out as debug; errors go out as warnings. Anything below
// is dropped: pion's debug and trace texts contain addresses and credentials of peers.
type slogFactory struct{ log *slog.Logger }

// NewLogger implements [logging.LoggerFactory].
func (f slogFactory) NewLogger(scope string) logging.LeveledLogger {
	return slogLogger{f.log.With("pion", scope)}
}

type slogLogger struct{ log *slog.Logger }

func (l slogLogger) write(level slog.Level, format string, args []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, fmt.Sprintf(format, args...))
	}
}

func (l slogLogger) Trace(string)              {}
func (l slogLogger) Tracef(string, ...any)     {}
func (l slogLogger) Debug(string)              {}
func (l slogLogger) Debugf(string, ...any)     {}
func (l slogLogger) Info(string)               {}
func (l slogLogger) Infof(string, ...any)      {}
func (l slogLogger) Warn(msg string)           { l.write(slog.LevelDebug, "%s", []any{msg}) }
func (l slogLogger) Warnf(f string, a ...any)  { l.write(slog.LevelDebug, f, a) }
func (l slogLogger) Error(msg string)          { l.write(slog.LevelWarn, "%s", []any{msg}) }
func (l slogLogger) Errorf(f string, a ...any) { l.write(slog.LevelWarn, f, a) }
