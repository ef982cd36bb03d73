#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 11
# One thread of a worker that stops, whichever it is, is noticed, though all
# others go on and pings could be answered: named in the log, killed, replaced;
# readers only wait. Each on a mount of its own, all at once.
. "$(dirname "$0")/../../lib/common.sh"
export STAGEFS_HANG_MS=2000 STAGEFS_STUCK_MS=3000 STAGEFS_MAY_DIE=1

THREADS=${THREADS:-pump fetch}
declare -A worker
random_file "$T/stored" 3000000 stored
origin_start
publish "$T/stored" stored
for m in nobody $THREADS; do
	mount_fs "$m"
	same_bytes "$T/stored" "$T/$m/stored"
	worker[$m]=$(worker_pid "$m")
done
begun=$EPOCHSECONDS
for thread in $THREADS; do
	"$TOOLS/stopthread" "${worker[$thread]}" "$thread" > "$T/stopped.$thread" &
	PIDS+=($!)
done
for thread in $THREADS; do
	eventually 10 test -s "$T/stopped.$thread"
	eventually 60 worker_is_not "$thread" "${worker[$thread]}"
	[ "$thread" = link ] || # who would have said so
		grep -Eq "worker: thread $(cat "$T/stopped.$thread") $thread (is overdue by|has waited)" "$T/$thread.log" ||
		fail "thread $thread was not named"
	same_bytes "$T/stored" "$T/$thread/stored"
	eventually 20 status_of "$thread" .name
done

# One with nothing to do for longer than any of these limits is left alone.
longer() { [ "$EPOCHSECONDS" -gt $((begun + 5)) ]; }
eventually 20 longer
equal "$(worker_pid nobody)" "${worker[nobody]}" "a worker with nothing to do was replaced"
for m in nobody $THREADS; do umount_fs "$m"; done
