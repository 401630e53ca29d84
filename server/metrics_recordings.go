// SPDX-License-Identifier: Apache-2.0

package server

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/recording"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/store"
)

// recordingMetrics are what becomes of recordings and of those who watch them, by
// tenant.
type recordingMetrics struct {
	start, processing, lag *prometheus.HistogramVec
	ended, failed, dropped *prometheus.CounterVec
	watchers               *prometheus.GaugeVec
}

func newRecordingMetrics() *recordingMetrics {
	histogram := func(name, help string, buckets ...float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{"tenant"})
	}
	return &recordingMetrics{
		start: histogram("classrec_recording_start_seconds",
			"From StartRecording to the platform's confirmation, of starts that were confirmed.",
			.01, .03, .1, .3, .5, 1, 2, 3, 5, 10, 20),
		processing: histogram("classrec_recording_processing_seconds",
			"From the confirmed end of a class until its files can be fetched, of those that can.",
			.1, .3, 1, 3, 10, 30, 60, 120, 300, 900, 3600, 7200),
		lag: histogram("classrec_event_lag_seconds",
			"From when the log took an event until a watcher that had caught up took it.",
			.0001, .0003, .001, .003, .01, .03, .1, .3, 1, 3, 10),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "classrec_recordings_ended_total",
			Help: "Classes that have ended, or could not begin, by the API's end_reason.",
		}, []string{"tenant", "reason"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "classrec_recordings_failed_total",
			Help: "Recordings whose class was over and whose files did not all come in time.",
		}, []string{"tenant"}),
		watchers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "classrec_watchers",
			Help: "Streams of WatchClassBegin that are open.",
		}, []string{"tenant"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "classrec_watcher_drops_total",
			Help: "Watchers that were ended: too_slow had not read, too_old asked for events that are not kept.",
		}, []string{"tenant", "reason"}),
	}
}

func (m *recordingMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.start, m.processing, m.lag, m.ended, m.failed, m.watchers, m.dropped}
}

// Describe implements prometheus.Collector.
func (m *recordingMetrics) Describe(c chan<- *prometheus.Desc) {
	for _, one := range m.all() {
		one.Describe(c)
	}
}

// Collect implements prometheus.Collector.
func (m *recordingMetrics) Collect(c chan<- prometheus.Metric) {
	for _, one := range m.all() {
		one.Collect(c)
	}
}

// hooks counts for a tenant. All of its metrics are there from the start, at
// zero, so that their increase can be told.
func (m *recordingMetrics) hooks(tenant string) recording.Hooks {
	start, processing, lag := m.start.WithLabelValues(tenant), m.processing.WithLabelValues(tenant), m.lag.WithLabelValues(tenant)
	ended := map[classrecv1.EndReason]prometheus.Counter{}
	for n := range classrecv1.EndReason_name {
		if r := classrecv1.EndReason(n); r != classrecv1.EndReason_END_REASON_UNSPECIFIED {
			ended[r] = m.ended.WithLabelValues(tenant, enumWord(r.String(), "END_REASON_"))
		}
	}
	failed, watchers := m.failed.WithLabelValues(tenant), m.watchers.WithLabelValues(tenant)
	slow, old := m.dropped.WithLabelValues(tenant, "too_slow"), m.dropped.WithLabelValues(tenant, "too_old")
	observe := func(o prometheus.Observer) func(time.Duration) {
		return func(d time.Duration) { o.Observe(d.Seconds()) }
	}
	return recording.Hooks{
		Confirmed: observe(start),
		Available: observe(processing),
		Delivered: observe(lag),
		Ended: func(reason classrecv1.EndReason) {
			if c, ok := ended[reason]; ok {
				c.Inc()
			}
		},
		Failed:   failed.Inc,
		Watching: func(change int) { watchers.Add(float64(change)) },
		Dropped: func(tooOld bool) {
			if tooOld {
				old.Inc()
			} else {
				slow.Inc()
			}
		},
	}
}

// enumWord is a value of an enum as a label: END_REASON_STOPPED is stopped.
func enumWord(value, prefix string) string { return strings.ToLower(strings.TrimPrefix(value, prefix)) }

// stateReadings are how many recordings there are.
func stateReadings(tenants []string) []reading[map[store.StateKey]int] {
	return []reading[map[store.StateKey]int]{
		gauge("classrec_recordings", "Recordings in the log, by their state; the same in all replicas.",
			func(counts map[store.StateKey]int, tell func(float64, ...string)) {
				for _, tenant := range tenants {
					for n := range classrecv1.RecordingState_name {
						state := classrecv1.RecordingState(n)
						if state == classrecv1.RecordingState_RECORDING_STATE_UNSPECIFIED {
							continue
						}
						tell(float64(counts[store.StateKey{Tenant: tenant, State: state}]), tenant, enumWord(state.String(), "RECORDING_STATE_"))
					}
				}
			}, "tenant", "state"),
	}
}

// sessionReadings are how the connections to rooms do.
func sessionReadings() []reading[room.Stats] {
	return []reading[room.Stats]{
		gauge("classrec_sessions", "Stays in rooms of the platform: online has a connection, offline is joining, or coming back.",
			func(s room.Stats, tell func(float64, ...string)) {
				online := max(0, min(s.Online, s.Open))
				tell(float64(online), "online")
				tell(float64(s.Open-online), "offline")
			}, "state"),
		counter("classrec_session_joins_total", "First joins of rooms.",
			func(s room.Stats, tell func(float64, ...string)) {
				tell(float64(s.Joined), "joined")
				tell(float64(s.JoinFailed), "failed")
			}, "outcome"),
		counter("classrec_session_losses_total", "Connections to rooms that were lost.",
			func(s room.Stats, tell func(float64, ...string)) { tell(float64(s.Lost)) }),
		counter("classrec_session_reconnects_total", "Attempts to come back to a room after a loss.",
			func(s room.Stats, tell func(float64, ...string)) {
				tell(float64(s.Rejoined), "joined")
				tell(float64(s.RejoinFailed), "failed")
			}, "outcome"),
		counter("classrec_session_evictions_total", "Sessions that the platform has put an end to.",
			func(s room.Stats, tell func(float64, ...string)) { tell(float64(s.Ended)) }),
		counter("classrec_session_overruns_total", "Times that more happened in a room than could be stored, so that classes may be missing.",
			func(s room.Stats, tell func(float64, ...string)) { tell(float64(s.Slow)) }),
	}
}
