#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 12
# A worker that hangs is described in the log, killed and replaced; its readers
# only wait. One that is busy, with reads that wait, is left alone. A state can
# be had by hand at any time.
. "$(dirname "$0")/../../lib/common.sh"
export STAGEFS_HANG_MS=2000

random_file "$T/stored" 20000000 stored
random_file "$T/cold" 20000000 cold
origin_start
publish "$T/stored" stored
publish "$T/cold" cold
mount_fs m passthrough=off
same_bytes "$T/stored" "$T/m/stored"
worker=$(worker_pid m)

# By hand: all threads, with stacks, and it goes on.
kill -USR1 "$worker"
eventually 10 grep -q 'end of the state' "$T/m.log"
for thread in link control fuse; do
	grep -Eq "^thread [0-9]+ $thread:" "$T/m.log" || fail "no thread '$thread'"
done
[ "$(grep -c '^thread ' "$T/m.log")" = "$(ls "/proc/$worker/task" | wc -l)" ] ||
	fail "not all threads"
grep -Eq '^[^ ]*stagefs\(channel_read\+0x' "$T/m.log" || fail "no stacks"
same_bytes "$T/stored" "$T/m/stored"

# Busy: a read waits for longer than the limit.
kill -STOP "$ORIGIN_PID"
dd if="$T/m/cold" of=/dev/null bs=64k status=none &
reader=$!
PIDS+=($reader)
sleep 3.5
kill -CONT "$ORIGIN_PID"
wait $reader || fail "the read that waited failed"
equal "$(worker_pid m)" "$worker" "a busy worker was replaced"

# Hung.
forget_pages
kill -STOP "$worker"
timeout 60 cmp "$T/stored" "$T/m/stored" || fail "a reader saw the hung worker"
[ "$(worker_pid m)" != "$worker" ] || fail "still the same worker"
eventually 10 grep -q 'has not answered for 2000 ms' "$T/m.log"
grep -Eq 'dump: thread [0-9]+ link: state T' "$T/m.log" || fail "not described"
equal "$(grep -c 'dump: thread [0-9]* fuse' "$T/m.log")" 16 "fuse threads described"

# One that hangs as it starts.
worker=$(worker_pid m)
kill -STOP "$(supervisor_pid m)"
kill -9 "$worker"
kill -CONT "$(supervisor_pid m)"
stop_new()
{
	local p
	p=$(worker_pid m)
	[ -n "$p" ] && [ "$p" != "$worker" ] && kill -STOP "$p"
}
eventually 10 stop_new
timeout 60 cmp "$T/stored" "$T/m/stored" || fail "a reader saw the hung start"
umount_fs m
