#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Records a class, and watches it begin and end; needs grpcurl and jq:
#
#	docs/clients/grpcurl/main.sh localhost:9090 42
set -euo pipefail
server=$1
room=$2

# call METHOD REQUEST: prints the answer, errors too.
call() { "${GRPCURL:-grpcurl}" -plaintext -format-error -d "$2" "$server" "classrec.v1.RecordingService/$1" 2>&1 || true; }

# next KIND: the next message of the watch that is one. It fails when the watch is over. grpcurl prints a
# message on several lines.
next() {
	local line message=
	while IFS= read -r line <&"$watch"; do
		message+=$line
		[[ $line == "}" ]] || continue
		if [[ $(jq "has(\"$1\")" <<<"$message") == true ]]; then
			jq -c ".$1" <<<"$message"
			return
		fi
		message=
	done
	echo "the watch has ended" >&2
	return 1
}

show() { jq -r '"event \(.action | ltrimstr("CLASS_BEGIN_ACTION_")) \(.recording.name)"'; }

# refused WHAT METHOD REQUEST: prints what an error says: its code, its reason, what it names, and when to try again.
refused() {
	call "${@:2}" | jq -r --arg what "$1" '
		["OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
			"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
			"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"] as $codes |
		[$what + ":", $codes[.code // 0], (.details[]? | (.reason // empty),
			(.metadata // {} | to_entries | sort_by(.key)[] | "\(.key)=\(.value)"),
			(.fieldViolations // [] | .[] | "field=\(.field)"),
			(.retryDelay // empty | "retry=\(rtrimstr("s") | tonumber)s"))] | join(" ")'
}

exec {watch}< <(exec "${GRPCURL:-grpcurl}" -plaintext -d "{\"room\": \"$room\"}" "$server" classrec.v1.RecordingService/WatchClassBegin)
trap 'kill $! 2>/dev/null || true' EXIT
next synced >/dev/null
echo watching

# The same requestId starts the same recording.
recording=$(call StartRecording "{\"room\": \"$room\", \"requestId\": \"$(cat /proc/sys/kernel/random/uuid)\",
	\"format\": \"RECORDING_FORMAT_WEBM\", \"maxDuration\": \"3600s\"}")
name=$(jq -er .recording.name <<<"$recording") || { echo "$recording" >&2; exit 1; }
jq -r '"started \(.recording.name) \(.recording.state)"' <<<"$recording"
next event | show

refused "start again" StartRecording "{\"room\": \"$room\"}"
refused "start for -1 s" StartRecording "{\"room\": \"$room\", \"maxDuration\": \"-1s\"}"
# Where --max-recordings does not forbid it, it is over by itself.
refused "start in another room" StartRecording "{\"room\": \"$room-2\", \"maxDuration\": \"1s\"}"

call StopRecording "{\"name\": \"$name\"}" | jq -r '"stopped \(.recording.name) \(.recording.endReason)"'
next event | show

call ListRecordings "{\"room\": \"$room\"}" | jq -r '.recordings[] | "listed \(.name)"'
refused get GetRecording "{\"name\": \"rooms/$room/recordings/1\"}"
