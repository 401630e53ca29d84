#!/bin/sh
set -e
if command -v systemd-sysusers >/dev/null 2>&1; then
	systemd-sysusers /usr/lib/sysusers.d/classrec.conf
elif ! getent passwd classrec >/dev/null; then
	getent group classrec >/dev/null || groupadd --system classrec
	useradd --system --gid classrec --home-dir /var/lib/classrec --shell /usr/sbin/nologin --no-create-home classrec
fi
install -d -o classrec -g classrec -m 0700 /var/lib/classrec
install -d -o classrec -g classrec -m 0750 /var/log/classrec
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart classrecd.service
fi
