#!/bin/sh
set -e
# An upgrade removes the old package too (deb: "upgrade", rpm: 1), and restarts the service when it has come.
if [ "$1" = remove ] || [ "$1" = 0 ]; then
	if [ -d /run/systemd/system ]; then
		systemctl disable --now classrecd.service
	fi
fi
