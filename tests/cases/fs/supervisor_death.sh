#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Without its supervisor a worker ends by itself, also if it cannot end in good
# order: what waits gets an error, nothing serves unprotected. What is left of
# the mount goes with `stagefs umount`, or with the next mount.
. "$(dirname "$0")/../../lib/common.sh"

random_file "$T/stored" 20000000 stored
random_file "$T/cold" 20000000 cold
origin_start
publish "$T/stored" stored
publish "$T/cold" cold
no_worker() { [ -z "$(worker_pid m)" ]; }
parked() { [ "$(status_of m .reads.parked)" -ge 1 ]; }

mount_fs m io-timeout=1h
same_bytes "$T/stored" "$T/m/stored"
kill -STOP "$ORIGIN_PID"
dd if="$T/m/cold" of=/dev/null bs=64k count=1 status=none 2> /dev/null &
reader=$!
PIDS+=($reader)
eventually 10 parked
worker=$(worker_pid m)
kill -9 "$(supervisor_pid m)"
! wait $reader || fail "a read without an origin succeeded"
eventually 10 no_worker
kill -CONT "$ORIGIN_PID"
eventually 10 grep -q 'the supervisor has died' "$T/m.log"
! ls "$T/m" > /dev/null 2>&1 || fail "somebody answers"
equal "$(mounts_below)" "$T/m"

# The next mount clears up; what was stored is there.
sent=$(origin_sent)
mount_fs m
same_bytes "$T/stored" "$T/m/stored"
equal "$(origin_sent)" "$sent" "a complete image was transferred again"
equal "$(mounts_below)" "$T/m"

# Or `stagefs umount` does.
kill -9 "$(supervisor_pid m)"
eventually 10 no_worker
end_fs m
equal "$(mounts_below)" ""
refused 'no stagefs is mounted' end_fs m

# A live mount is not cleared away.
mount_fs m
refused 'in use' mount_fs m
