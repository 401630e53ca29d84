// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// TestFacts reads all that a platform of ours tells of files, gaps and oddities, and of another what makes no sense.
func TestFacts(t *testing.T) {
	l := newLister(t)
	var recordTS atomic.Int64
	l.Answer(talkcloud.PathGetRecordList, func(w http.ResponseWriter, _ *http.Request) {
		text := strings.ReplaceAll(`{"result":0,"recordlist":[{"serial":"42","starttime":"TS","files":[
			{"url":"https://files.test/a.mp4","userid":"u","size":7,"duration_ms":8000,"mediatype":"video/mp4","nickname":"小明","role":2,
			 "start_offset_ms":21000,"video_codec":"H264","audio_codec":"AAC","width":640,"height":360,"frame_rate":14.9,
			 "sample_rate":48000,"sha256":"ab"},
			{"url":"https://files.test/b.mp4","role":99,"start_offset_ms":-1}],
			"gaps":[{"userid":"u","kind":"video","start_ms":TS500,"end_ms":TS700,"reason":"no keyframe"},
			 {"kind":"smell","start_ms":TS500,"end_ms":TS500,"reason":"refused"},
			 {"start_ms":5,"end_ms":4,"reason":"backwards"},{"start_ms":1,"end_ms":9223372036854775807,"reason":"for ever"}],
			"warnings":["odd","odd","",""]}]}`, "TS", strconv.FormatInt(recordTS.Load(), 10))
		_, _ = w.Write([]byte(text))
	})
	cfg := config()
	cfg.RichRecordList, cfg.SkipFileCheck = true, true
	s := newLife(t, storetest.New(t), l.NewClient(t, func(c *talkcloud.Config) { c.RichRecordList = true }), cfg)
	r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
	recordTS.Store(r.GetRecordTime().GetSeconds())
	mustStop(t, s, &classrecv1.StopRecordingRequest{Name: r.GetName()})
	got := waitState(t, s, r.GetName(), classrecv1.RecordingState_RECORDING_STATE_AVAILABLE)
	want := new(classrecv1.Recording)
	if err := protojson.Unmarshal([]byte(strings.ReplaceAll(`{
		"files": [{"url": "https://files.test/a.mp4", "userId": "u", "size": "7", "duration": "8s", "mediaType": "video/mp4",
			"startOffset": "21s", "nickname": "小明", "role": "PARTICIPANT_ROLE_STUDENT", "videoCodec": "H264", "audioCodec": "AAC",
			"width": 640, "height": 360, "frameRate": 14.9, "sampleRate": 48000, "sha256": "ab"}, {"url": "https://files.test/b.mp4"}],
		"gaps": [{"userId": "u", "kind": "MEDIA_KIND_VIDEO", "startTime": "TS.5Z", "endTime": "TS.7Z", "reason": "no keyframe"},
			{"startTime": "TS.5Z", "endTime": "TS.5Z", "reason": "refused"}],
		"warnings": ["odd"]}`, "TS", r.GetRecordTime().AsTime().Format("2006-01-02T15:04:05"))), want); err != nil {
		t.Fatal(err)
	}
	if have := (&classrecv1.Recording{Files: got.GetFiles(), Gaps: got.GetGaps(), Warnings: got.GetWarnings()}); !proto.Equal(have, want) {
		t.Errorf("it is\n%v, want\n%v", have, want)
	}
}
