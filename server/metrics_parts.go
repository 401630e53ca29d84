// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/store"
)

// scrapeTimeout bounds what /metrics asks others.
const scrapeTimeout = 2 * time.Second

// buildMetric is what the program was built of.
func buildMetric(b Build) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "classrec_build_info", Help: "What classrecd was built of; always 1.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "go_version": b.Go},
	}, func() float64 { return 1 })
}

// processStats are what the process as a whole has to tell.
type processStats struct {
	ready bool
	disk  disk
	known bool // disk
}

func (s *Server) processStats() processStats {
	d, err := diskOf(s.cfg.DataDir)
	return processStats{ready: s.isReady(), disk: d, known: err == nil}
}

func processReadings() []reading[processStats] {
	return []reading[processStats]{
		gauge("classrec_ready", "1 while the server can serve calls, as /readyz says.",
			func(s processStats, tell func(float64, ...string)) { tell(truth(s.ready)) }),
		gauge("classrec_data_free_bytes", "What is left for us on the file system of the data directory.",
			func(s processStats, tell func(float64, ...string)) {
				if s.known {
					tell(float64(s.disk.free))
				}
			}),
		gauge("classrec_data_size_bytes", "The size of the file system of the data directory.",
			func(s processStats, tell func(float64, ...string)) {
				if s.known {
					tell(float64(s.disk.size))
				}
			}),
	}
}

// storeStats is how the database does.
type storeStats struct {
	store.State
	up, writable bool
	damages      uint64
}

func (s *Server) storeStats() storeStats {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	state, err := s.store.State(ctx)
	return storeStats{State: state, up: err == nil, writable: s.store.Err() == nil && (err != nil || state.Writable), damages: s.store.Damages()}
}

// storeReadings leaves out what is not known while the database does not answer.
func storeReadings() []reading[storeStats] {
	known := func(value func(storeStats) float64) func(storeStats, func(float64, ...string)) {
		return func(s storeStats, tell func(float64, ...string)) {
			if s.up {
				tell(value(s))
			}
		}
	}
	return []reading[storeStats]{
		gauge("classrec_store_writable", "1 while the database takes changes.",
			func(s storeStats, tell func(float64, ...string)) { tell(truth(s.writable)) }),
		gauge("classrec_store_up", "1 while the database answers.",
			func(s storeStats, tell func(float64, ...string)) { tell(truth(s.up)) }),
		counter("classrec_store_damages_total", "Damaged data found in the database; each has a line in the log.",
			func(s storeStats, tell func(float64, ...string)) { tell(float64(s.damages)) }),
		gauge("classrec_store_bytes", "The size of the database.",
			known(func(s storeStats) float64 { return float64(s.Bytes) })),
		gauge("classrec_store_first_sequence", "The sequence of the oldest event that is kept.",
			known(func(s storeStats) float64 { return float64(s.FirstSequence) })),
		gauge("classrec_store_last_sequence", "The sequence of the newest event.",
			known(func(s storeStats) float64 { return float64(s.LastSequence) })),
		gauge("classrec_store_replicas", "Processes that share the database and are alive (none without --database).",
			known(func(s storeStats) float64 { return float64(s.Replicas) })),
	}
}

// platformReadings are how the embedded platform does.
func platformReadings() []reading[roomserver.Stats] {
	return []reading[roomserver.Stats]{
		gauge("classrec_roomserver_rooms", "Rooms of the embedded platform with somebody in them.",
			func(s roomserver.Stats, tell func(float64, ...string)) { tell(float64(s.Rooms)) }),
		gauge("classrec_roomserver_connections", "Signaling connections of the embedded platform.",
			func(s roomserver.Stats, tell func(float64, ...string)) { tell(float64(s.Connections)) }),
		counter("classrec_roomserver_refused_total", "What the embedded platform has refused, by what there was too much of.",
			func(s roomserver.Stats, tell func(float64, ...string)) {
				for limit, n := range s.Refused {
					tell(float64(n), limit)
				}
			}, "limit"),
		gauge("classrec_ingest_publishers", "WebRTC publishers that are connected, or connecting.",
			func(s roomserver.Stats, tell func(float64, ...string)) { tell(float64(s.Publishers)) }),
		counter("classrec_ingest_packets_total", "RTP packets that were received from publishers, those that were repaired included.",
			func(s roomserver.Stats, tell func(float64, ...string)) { tell(float64(s.Media.Packets)) }),
		counter("classrec_ingest_packets_requested_total", "Requests for RTP packets that were missing.",
			func(s roomserver.Stats, tell func(float64, ...string)) { tell(float64(s.Media.Requested)) }),
		counter("classrec_ingest_packets_repaired_total", "Missing RTP packets that arrived after all, in order, by retransmission or from redundancy.",
			func(s roomserver.Stats, tell func(float64, ...string)) { tell(float64(s.Media.Repaired)) }),
		counter("classrec_ingest_packets_lost_total", "RTP packets that were lost and not recovered.",
			func(s roomserver.Stats, tell func(float64, ...string)) { tell(float64(s.Media.Lost)) }),
		counter("classrec_ingest_silent_sections_total", "Times that a negotiated section gave nothing that can be recorded for five seconds.",
			func(s roomserver.Stats, tell func(float64, ...string)) { tell(float64(s.Media.Silences)) }),
		gauge("classrec_recorder_recordings", "Classes that are being recorded: interrupted are those whose media the disk refuses.",
			func(s roomserver.Stats, tell func(float64, ...string)) {
				tell(float64(max(0, s.Recorder.Recordings-s.Recorder.Refused)), "recording")
				tell(float64(s.Recorder.Refused), "interrupted")
			}, "state"),
		counter("classrec_recorder_tracks_total", "Streams of publishers that were recorded.",
			func(s roomserver.Stats, tell func(float64, ...string)) {
				tell(float64(s.Recorder.AudioTracks), "audio")
				tell(float64(s.Recorder.VideoTracks), "video")
			}, "kind"),
		counter("classrec_recorder_packets_total", "RTP packets that were taken for recordings.",
			func(s roomserver.Stats, tell func(float64, ...string)) { tell(float64(s.Recorder.Packets)) }),
		counter("classrec_recorder_lost_packets_total", "RTP packets that never came, nor again when they were asked for.",
			func(s roomserver.Stats, tell func(float64, ...string)) { tell(float64(s.Recorder.Lost)) }),
		counter("classrec_recorder_dropped_frames_total", "Frames that were left out because the disk did not follow.",
			func(s roomserver.Stats, tell func(float64, ...string)) { tell(float64(s.Recorder.Dropped)) }),
		counter("classrec_recorder_keyless_total", "How often a publisher sent a picture without the keyframes that it needs.",
			func(s roomserver.Stats, tell func(float64, ...string)) { tell(float64(s.Recorder.Keyless)) }),
		counter("classrec_recorder_written_bytes_total", "Bytes of media files that were written, without those of ffmpeg.",
			func(s roomserver.Stats, tell func(float64, ...string)) { tell(float64(s.Recorder.Bytes)) }),
		counter("classrec_recorder_interruptions_total", "How often the disk has begun to refuse the media of a recording.",
			func(s roomserver.Stats, tell func(float64, ...string)) { tell(float64(s.Recorder.Interruptions)) }),
		gauge("classrec_ffmpeg_running", "Runs of ffmpeg at this moment.",
			func(s roomserver.Stats, tell func(float64, ...string)) { tell(float64(s.Recorder.Converting)) }),
		counter("classrec_ffmpeg_runs_total", "Runs of ffmpeg that have ended.",
			func(s roomserver.Stats, tell func(float64, ...string)) {
				tell(float64(s.Recorder.Converted), "converted")
				tell(float64(s.Recorder.ConvertFailed), "failed")
			}, "outcome"),
		counter("classrec_ffmpeg_run_seconds_total", "How long these took together.",
			func(s roomserver.Stats, tell func(float64, ...string)) { tell(s.Recorder.ConvertTime.Seconds()) }),
	}
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
