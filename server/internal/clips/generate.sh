#!/bin/sh
# Makes the synthetic clips that package clips embeds. Needs ffmpeg with libvpx, libx264, libopus and drawtext.
# Every clip is loopable: it lasts a whole number of seconds, begins with a keyframe, and its beeps and
# flashes (the first tenth of each second) fall on the same instants each time round.
set -eu
cd "$(dirname "$0")"

seconds=4

# video NAME TEXT COLOUR SIZE RATE BITRATE ENCODER...
video() {
	name=$1 text=$2 colour=$3 size=$4 rate=$5 bitrate=$6
	shift 6
	ffmpeg -hide_banner -loglevel error -y \
		-f lavfi -i "testsrc2=size=$size:rate=$rate:duration=$seconds" \
		-vf "drawbox=x=0:y=0:w=iw:h=ih/3:color=$colour@0.85:t=fill,\
drawtext=font=Sans:text='$text %{pts\\:hms}':fontsize=w/18:fontcolor=white:x=(w-tw)/2:y=h/12,\
drawbox=x=0:y=ih*3/4:w=iw:h=ih/4:color=white:t=fill:enable='lt(mod(t,1),0.1)'" \
		-pix_fmt yuv420p -threads 1 -b:v "$bitrate" -maxrate "$bitrate" -bufsize "$bitrate" -g "$((rate * 2))" \
		-fflags +bitexact -flags:v +bitexact "$@" "$name"
}

# audio NAME FREQUENCY: a beep in the first tenth of each second; one 20 ms packet on each Ogg page.
audio() {
	ffmpeg -hide_banner -loglevel error -y \
		-f lavfi -i "aevalsrc=exprs='0.3*sin(2*PI*$2*t)*lt(mod(t,1),0.1)':sample_rate=48000:duration=$seconds" \
		-c:a libopus -b:a 32k -ac 1 -frame_duration 20 -page_duration 20000 -fflags +bitexact "$1"
}

vp8="-c:v libvpx -deadline good -cpu-used 2 -auto-alt-ref 0 -lag-in-frames 0 -f ivf"
h264="-c:v libx264 -profile:v baseline -preset slow -bsf:v h264_mp4toannexb -f h264"

# The unquoted options are meant to split into words.
# shellcheck disable=SC2086
{
	video teacher.ivf TEACHER navy 640x360 15 220k $vp8
	video student.ivf STUDENT darkgreen 320x240 15 110k $vp8
	video teacher.h264 H264 purple 640x360 15 220k $h264
	video bench720p.ivf BENCH maroon 1280x720 30 1800k $vp8
}
audio teacher.ogg 880
audio student.ogg 1320
