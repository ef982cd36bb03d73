#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: tsan
# A kernel that cannot repeat requests (before 6.9; STAGEFS_NO_RESEND makes this
# one like that): an upgrade drains and nobody sees an error; after a death open
# files get errors and the mount is there again.
. "$(dirname "$0")/../../lib/common.sh"
export STAGEFS_NO_RESEND=1

random_file "$T/stored" 20000000 stored
random_file "$T/cold" 60000000 cold
origin_start
publish "$T/stored" stored
publish "$T/cold" cold
proxy_start
mount_fs m io-timeout=3s,passthrough=off
same_bytes "$T/stored" "$T/m/stored"
upgrade() { "$STAGEFS_BIN" upgrade "$T/m" > "$T/upgrade.out" 2>&1 || fail "$(cat "$T/upgrade.out")"; }

# Upgrades under load.
proxy _cap '{"rate": 20000000}'
"$TOOLS/stalls" -t 3 "$T/m/stored" "$T/stored" "$T/m/cold" "$T/cold" > "$T/stalls" 2> "$T/stalls.err" &
reader=$!
PIDS+=($reader)
for _ in 1 2 3 4 5; do upgrade; sleep 0.3; done
kill -USR1 $reader
wait $reader || fail "errors: $(head -3 "$T/stalls.err")"
say "5 upgrades: $(cat "$T/stalls")"
proxy _cap '{"rate": 0}'

# A read that waits for an origin that has gone is answered by the worker that
# took it, when its time is up; then the upgrade goes on.
eventually 20 "$STAGEFS_BIN" evict "$T/m" cold
forget_pages
kill -STOP "$ORIGIN_PID"
dd if="$T/m/cold" of=/dev/null bs=64k count=1 status=none 2> "$T/dd.err" &
waiting=$!
PIDS+=($waiting)
parked() { [ "$(status_of m .reads.parked)" -ge 1 ]; }
eventually 10 parked
upgrade
! wait $waiting || fail "a read without an origin succeeded"
grep -q 'timed out' "$T/dd.err" || fail "the read: $(cat "$T/dd.err")"
kill -CONT "$ORIGIN_PID"
same_bytes "$T/cold" "$T/m/cold"

# A death: an open file is of the past, the mount is there. Nobody is left to
# wait for an answer that does not come.
exec 7< "$T/m/cold"
eventually 20 "$STAGEFS_BIN" evict "$T/m" stored
forget_pages
kill -STOP "$ORIGIN_PID"
dd if="$T/m/stored" of=/dev/null bs=64k count=1 status=none 2> "$T/dd.err" &
waiting=$!
PIDS+=($waiting)
eventually 10 parked
kill -9 "$(worker_pid m)"
! wait $waiting || fail "a read whose worker died succeeded"
kill -CONT "$ORIGIN_PID"
! head -c 1 <&7 > /dev/null 2>&1 || fail "a file of the old connection is read"
eventually 20 has_image m stored
same_bytes "$T/stored" "$T/m/stored"
equal "$(mounts_below | wc -l)" 1 "mounts"
grep -q 'cannot repeat' "$T/m.log" || fail "not logged"
exec 7<&-
upgrade
same_bytes "$T/cold" "$T/m/cold"
umount_fs m
