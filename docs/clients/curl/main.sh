#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Records a class, and watches it begin and end; needs curl and jq:
#
#	docs/clients/curl/main.sh http://localhost:8080 42
set -euo pipefail
url=$1/v1
room=$2

# call METHOD PATH [BODY]: prints the answer, errors too.
call() { curl -sS -X "$1" "$url/$2" ${3:+-d "$3"}; }

# next KIND: the next message of the watch that is one. It fails when the watch is over.
next() {
	local line last=
	while read -r line <&"$watch"; do
		last=$line
		if [[ $(jq ".result | has(\"$1\")?" <<<"$line") == true ]]; then
			jq -c ".result.$1" <<<"$line"
			return
		fi
	done
	echo "the watch has ended${last:+: $last}" >&2
	return 1
}

show() { jq -r '"event \(.action | ltrimstr("CLASS_BEGIN_ACTION_")) \(.recording.name)"'; }

# refused WHAT METHOD PATH [BODY]: prints what an error says: its code, its reason, what it names, and when to try again.
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

exec {watch}< <(exec curl -sSN "$url/rooms/$room/classBegin:watch")
trap 'kill $! 2>/dev/null || true' EXIT
next synced >/dev/null
echo watching

# The same requestId starts the same recording.
recording=$(call POST "rooms/$room/recordings" \
	"{\"requestId\": \"$(cat /proc/sys/kernel/random/uuid)\", \"format\": \"RECORDING_FORMAT_WEBM\", \"maxDuration\": \"3600s\"}")
name=$(jq -er .recording.name <<<"$recording") || { echo "$recording" >&2; exit 1; }
jq -r '"started \(.recording.name) \(.recording.state)"' <<<"$recording"
next event | show

refused "start again" POST "rooms/$room/recordings" '{}'
refused "start for -1 s" POST "rooms/$room/recordings" '{"maxDuration": "-1s"}'
# Where --max-recordings does not forbid it, it is over by itself.
refused "start in another room" POST "rooms/$room-2/recordings" '{"maxDuration": "1s"}'

call POST "$name:stop" '{}' | jq -r '"stopped \(.recording.name) \(.recording.endReason)"'
next event | show

call GET "rooms/$room/recordings" | jq -r '.recordings[] | "listed \(.name)"'
refused get GET "rooms/$room/recordings/1"
