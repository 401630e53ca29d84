// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"testing"

	"github.com/classrec/classrec/server"
)

func TestDescriptors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		limit   uint64
		lowered bool
	}{
		"none":    {0, false},
		"plenty":  {1 << 20, false},
		"default": {1024, true},
		"few":     {256, true},
		"server":  {65536, true},
	} {
		cfg, lowered := server.WithinDescriptors(server.Config{}, tc.limit)
		if lowered != tc.lowered {
			t.Errorf("%s: lowered %v", name, lowered)
		}
		if !lowered {
			if cfg.Doors.MaxConnections != 10_000 || cfg.Doors.RoomMaxConnections != 60_000 || cfg.RoomLimits.MaxPublishers != 2000 {
				t.Errorf("%s: %+v", name, cfg.Doors)
			}
			continue
		}
		connections := 3*cfg.Doors.MaxConnections + 2*cfg.Doors.RoomMaxConnections
		if left := int(tc.limit) - connections; left < int(tc.limit)/4 || left < cfg.RoomLimits.MaxPublishers {
			t.Errorf("%s: %d connections leave %d descriptors for %d publishers", name, connections, left, cfg.RoomLimits.MaxPublishers)
		}
		if cfg.Doors.MaxConnections < 8 || cfg.RoomLimits.MaxPublishers < 32 {
			t.Errorf("%s: %d connections, %d publishers", name, cfg.Doors.MaxConnections, cfg.RoomLimits.MaxPublishers)
		}
	}
	asked := server.Config{Doors: server.Doors{MaxConnections: 20, RoomMaxConnections: 50}}
	if cfg, _ := server.WithinDescriptors(asked, 1024); cfg.Doors.MaxConnections != 20 || cfg.Doors.RoomMaxConnections != 50 {
		t.Errorf("limits that fit became %+v", cfg.Doors)
	}
}
