// SPDX-License-Identifier: Apache-2.0

package room

import "time"

// Backoff is the wait before the next attempt, after so many that failed.
func (cfg Config) Backoff(failed int) time.Duration { return cfg.withDefaults(0).backoff(failed) }
