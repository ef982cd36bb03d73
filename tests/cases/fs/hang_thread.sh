#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One thread of a worker that stops, whichever it is, is noticed, though all
# others go on and pings could be answered: named in the log, killed, replaced;
# readers only wait.
. "$(dirname "$0")/../../lib/common.sh"
export STAGEFS_HANG_MS=2000 STAGEFS_STUCK_MS=3000 STAGEFS_MAY_DIE=1

random_file "$T/stored" 3000000 stored
origin_start
publish "$T/stored" stored
mount_fs m
same_bytes "$T/stored" "$T/m/stored"

for thread in ${THREADS:-pump fetch}; do
	worker=$(worker_pid m)
	"$TOOLS/stopthread" "$worker" $thread > "$T/stopped" &
	PIDS+=($!)
	eventually 10 test -s "$T/stopped"
	eventually 60 worker_is_not m "$worker"
	[ $thread = link ] || # who would have said so
		grep -Eq "worker: thread $(cat "$T/stopped") $thread (is overdue by|has waited)" "$T/m.log" ||
		fail "thread $thread was not named"
	same_bytes "$T/stored" "$T/m/stored"
	eventually 20 status_of m .name
done

# The others go on for longer than any of these limits, and are left alone.
worker=$(worker_pid m)
sleep 4
equal "$(worker_pid m)" "$worker" "a worker with nothing to do was replaced"
umount_fs m
