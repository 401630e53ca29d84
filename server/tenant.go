// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/admission"
	"github.com/classrec/classrec/server/internal/recording"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/service"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// tenant is what each enterprise has of its own. What it keeps is in the one
// store, under its name.
type tenant struct {
	tenantConfig

	admission  *admission.Tenant
	platform   *talkcloud.Client
	rooms      *room.Manager
	recordings *recording.Service
}

// openTenants makes what is each tenant's own.
func (s *Server) openTenants(ctx context.Context) (err error) {
	process := admission.NewProcess(s.cfg.limits())
	for _, cfg := range s.cfg.tenants {
		t := &tenant{tenantConfig: cfg, admission: process.Tenant(cfg.limits)}
		s.tenants = append(s.tenants, t)
		for _, open := range []func(context.Context, *tenant) error{s.openPlatform, s.openRooms, s.openRecordings} {
			if err := open(ctx, t); err != nil {
				return err
			}
		}
	}
	s.metrics.registry.MustRegister(
		newReadings(s.sessionStats, sessionReadings()...),
		newReadings(func() []*tenant { return s.tenants }, gauge("classrec_rooms", "Rooms of a tenant that the service works in now.",
			func(tenants []*tenant, tell func(float64, ...string)) {
				for _, t := range tenants {
					tell(float64(t.recordings.Rooms()), t.name)
				}
			}, "tenant")))
	return nil
}

// sessionStats are the sessions of all tenants.
func (s *Server) sessionStats() (sum room.Stats) {
	for _, t := range s.tenants {
		sum = sum.Plus(t.rooms.Stats())
	}
	return sum
}

// mark is what the keys of a tenant's configuration are told by in errors.
func (s *Server) mark(t *tenant) string {
	if s.cfg.TenantsFile == "" {
		return "--"
	}
	return "--tenants-file: tenant " + t.name + ": "
}

// logger is that of a tenant's part.
func (s *Server) logger(t *tenant, part string) *slog.Logger {
	return s.cfg.Logger.With("part", part, "tenant", t.name)
}

// openPlatform makes the tenant's client of its platform; when it is the
// embedded one, also that.
func (s *Server) openPlatform(ctx context.Context, t *tenant) error {
	key, err := enterpriseKey(s.cfg, t.tenantConfig)
	if err != nil {
		return fmt.Errorf("%senterprise-key-file: %w", s.mark(t), err)
	}
	cfg := talkcloud.Config{
		BaseURL:         t.tenantConfig.platform,
		RecordListURL:   t.recordListURL,
		RichRecordList:  t.richRecordList,
		EnterpriseKey:   key,
		CheckroomParams: t.checkroomParams,
		Logger:          s.logger(t, "platform"),
	}
	if t.embedded() {
		dial, err := s.openRoomServer(ctx, s.logger(t, "room server"), key)
		if err != nil {
			return err
		}
		cfg.BaseURL, cfg.RichRecordList, cfg.DialContext = inProcessURL, true, dial
		s.openAlive()
	}
	if cfg.RootCAs, err = rootsFrom(t.platformCAFile); err != nil {
		return fmt.Errorf("%splatform-ca-file: %w", s.mark(t), err)
	}
	if t.platform, err = talkcloud.New(cfg); err != nil {
		return fmt.Errorf("%splatform: %w", s.mark(t), err)
	}
	s.parts.add(part{name: "platform of " + t.name, stop: func(context.Context) error { return t.platform.Close() }})
	return nil
}

func (s *Server) openRooms(_ context.Context, t *tenant) error {
	cfg := room.Config{Logger: s.logger(t, "rooms"), Now: s.cfg.Rehearsal.Clock().Now}
	if s.cfg.Rehearsal != nil { // nobody wants to wait for what is only played
		cfg.BackoffMin, cfg.BackoffMax = 20*time.Millisecond, 200*time.Millisecond
	}
	t.rooms = room.NewManager(t.platform, cfg)
	s.parts.add(part{name: "rooms of " + t.name, stop: func(context.Context) error { return t.rooms.Close() }})
	return nil
}

func (s *Server) openRecordings(_ context.Context, t *tenant) error {
	cfg := recording.Config{
		Tenant:            t.name,
		MaxDuration:       t.maxDuration,
		ProcessingTimeout: s.cfg.ProcessingTimeout,
		SettleTime:        s.cfg.SettleTime,
		SkipFileCheck:     t.skipFileCheck,
		PollMin:           s.cfg.PollMin,
		PollMax:           s.cfg.PollMax,
		Grace:             min(2*time.Second, s.cfg.ShutdownTimeout/5),
		Key:               s.sealingKey,
		RichRecordList:    t.richRecordList || t.embedded(),
		RoomsStartEmpty:   t.embedded(),
		Admission:         t.admission,
		Status:            service.Status,
		Clock:             s.cfg.Rehearsal.Clock(),
		Traces:            s.traces.provider,
		Hooks:             s.metrics.recordings.hooks(t.name),
		Logger:            s.cfg.Logger.With("part", "recordings"), // each line has the tenant
	}
	if s.cfg.Rehearsal != nil {
		cfg.Hooks.Stored = s.rehearsed
	}
	if t.embedded() {
		cfg.LastAlive = s.alive.lastAfter
	}
	if t.embedded() || s.links.of(t.name) {
		cfg.Fetchable = func(ctx context.Context, fileURL string) error { return s.fetchable(ctx, t, fileURL) }
	}
	t.recordings = recording.New(s.store, t.rooms, t.platform, cfg)
	s.parts.add(part{name: "recordings of " + t.name, run: t.recordings.Run, begun: t.recordings.Begun()})
	return nil
}

// rehearsed tells a rehearsal how its recordings go.
func (s *Server) rehearsed(rec *storev1.Record) {
	state := strings.TrimPrefix(rec.GetRecording().GetState().String(), "RECORDING_STATE_")
	s.cfg.Rehearsal.RecordingIs(rec.GetRecording().GetRoom(), rec.GetId(), state)
}

// fetchable tells whether a file that an embedded platform lists can be fetched.
// That of our own is asked for where it is served: its URL may begin with a name that is good
// for others only.
func (s *Server) fetchable(ctx context.Context, t *tenant, fileURL string) error {
	fileURL = s.links.stored(t.name, fileURL)
	if file, ours := strings.CutPrefix(fileURL, s.filesBaseURL()+"/"); ours && t.embedded() {
		fileURL = inProcessURL + "/files/" + file
	}
	return t.platform.CheckFile(ctx, fileURL)
}

// recordingsOf are the recordings of all tenants, by tenant.
func (s *Server) recordingsOf() map[string]*recording.Service {
	of := make(map[string]*recording.Service, len(s.tenants))
	for _, t := range s.tenants {
		of[t.name] = t.recordings
	}
	return of
}

// tenantNames are the names of all tenants.
func (s *Server) tenantNames() []string {
	names := make([]string, 0, len(s.cfg.tenants))
	for _, t := range s.cfg.tenants {
		names = append(names, t.name)
	}
	return names
}

// isTenant tells whether there is a tenant of the name.
func (s *Server) isTenant(name string) bool {
	return slices.ContainsFunc(s.cfg.tenants, func(c tenantConfig) bool { return c.name == name })
}
