// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"testing"

	"github.com/classrec/classrec/server/internal/recorder"
)

func TestRoleOf(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		mime    string
		payload []byte
		want    recorder.PacketRole
	}{
		"VP8 keyframe":         {"video/VP8", []byte{0x90, 0x80, 0x81, 2, 0x10, 2, 0, 0x9d}, recorder.BeginsKeyframe},
		"VP8 rest of it":       {"video/VP8", []byte{0x80, 0x80, 0x81, 2, 0x10, 2, 0, 0x9d}, recorder.PartOfPicture},
		"VP8 partition":        {"video/VP8", []byte{0x11, 0x10, 2, 0}, recorder.PartOfPicture},
		"VP8 inter":            {"video/VP8", []byte{0x10, 0x11, 2, 0}, recorder.PartOfPicture},
		"VP9 keyframe":         {"video/VP9", append([]byte{0x08}, vp9Key...), recorder.BeginsKeyframe},
		"VP9 upper layer":      {"video/VP9", append([]byte{0x28, 2, 0}, vp9Inter...), recorder.PartOfPicture},
		"AV1 sequence":         {"video/AV1", append([]byte{0x18}, av1SequenceHeader...), recorder.BeginsKeyframe},
		"AV1 frame":            {"video/AV1", []byte{0x10, 0x30, 0x30}, recorder.PartOfPicture},
		"H264 IDR":             {"video/H264", []byte{0x65, 0x88}, recorder.BeginsKeyframe},
		"H264 slice":           {"video/H264", []byte{0x61, 0xe0}, recorder.PartOfPicture},
		"H264 SPS":             {"video/H264", spsSmall, recorder.BeforePicture},
		"H264 AUD":             {"video/H264", []byte{9, 0xf0}, recorder.BeforePicture},
		"H264 recovery point":  {"video/H264", []byte{6, 6, 1, 0x80}, recorder.BeginsKeyframe},
		"H264 sets and IDR":    {"video/H264", []byte{0x78, 0, 2, 0x67, 1, 0, 2, 0x65, 0x88}, recorder.BeginsKeyframe},
		"H264 sets together":   {"video/H264", []byte{0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 0x88}, recorder.BeforePicture},
		"H264 begins in parts": {"video/H264", []byte{0x7c, 0x85, 0x88}, recorder.BeginsKeyframe},
		"H264 goes on":         {"video/H264", []byte{0x7c, 0x05, 0x88}, recorder.PartOfPicture},
		"H265 IDR":             {"video/H265", []byte{19 << 1, 1, 0x80}, recorder.BeginsKeyframe},
		"H265 VPS":             {"video/H265", hevcVPS, recorder.BeforePicture},
		"H265 slice":           {"video/H265", []byte{1 << 1, 1, 0x80}, recorder.PartOfPicture},
		"H265 begins in parts": {"video/H265", []byte{49 << 1, 1, 0x80 | 19, 1}, recorder.BeginsKeyframe},
		"H265 goes on":         {"video/H265", []byte{49 << 1, 1, 19, 1}, recorder.PartOfPicture},
		"padding":              {"video/VP8", nil, recorder.BeforePicture},
		"another codec":        {"video/H263", []byte{1, 2, 3}, recorder.PartOfPicture},
	} {
		if got := recorder.RoleOf(tt.mime, tt.payload); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}
