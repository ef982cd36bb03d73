#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: tsan
# A kernel that cannot repeat requests (before 6.9; STAGEFS_NO_RESEND makes
# this one like that; linux61.sh has a real one): what a worker has taken and
# not answered when it dies or makes way, the next one answers. Nobody sees an
# error, and the mount stays the same.
. "$(dirname "$0")/../../lib/common.sh"
[ -n "${STAGEFS_IN_UML:-}" ] || export STAGEFS_NO_RESEND=1

KILLS=${KILLS:-8}
random_file "$T/stored" 20000000 stored
random_file "$T/cold" 60000000 cold
origin_start
publish "$T/stored" stored
publish "$T/cold" cold
proxy_start
mount_fs m io-timeout=60s,passthrough=off
same_bytes "$T/stored" "$T/m/stored"
mount_before=$(grep -F " $T/m " /proc/self/mountinfo)
upgrade() { "$STAGEFS_BIN" upgrade "$T/m" > "$T/upgrade.out" 2>&1 || fail "$(cat "$T/upgrade.out")"; }
parked() { [ "$(status_of m .reads.parked)" -ge 1 ]; }

# Deaths and upgrades under load, with a file and a folder that stay open.
exec 7< "$T/m/cold"
proxy _cap '{"rate": 15000000}'
"$TOOLS/stalls" -t 3 "$T/m/stored" "$T/stored" "$T/m/cold" "$T/cold" > "$T/stalls" 2> "$T/stalls.err" &
reader=$!
PIDS+=($reader)
(while [ ! -e "$T/enough" ]; do ls -lR "$T/m" > /dev/null || exit 1; done) &
lister=$!
PIDS+=($lister)
for i in $(seq "$KILLS"); do
	kill_worker m
	[ $((i % 3)) != 0 ] || upgrade
	sleep "0.$((RANDOM % 5))"
done
proxy _cap '{"rate": 0}'
touch "$T/enough"
wait $lister || fail "a folder could not be read"
kill -USR1 $reader
wait $reader || fail "errors: $(head -3 "$T/stalls.err")"
say "$KILLS deaths: $(cat "$T/stalls")"
equal "$(sha256sum <&7 | cut -c 1-64)" "$(sum "$T/cold")" "the file opened before"
exec 7<&-

# A read that waits for the origin waits on, over a death and an upgrade.
eventually 20 "$STAGEFS_BIN" evict "$T/m" cold
forget_pages
kill -STOP "$ORIGIN_PID"
head -c 65536 "$T/m/cold" > "$T/head" &
waiting=$!
PIDS+=($waiting)
eventually 10 parked
kill_worker m
eventually 10 parked
upgrade
eventually 10 parked
kill -CONT "$ORIGIN_PID"
wait $waiting || fail "the read that waited"
cmp "$T/head" <(head -c 65536 "$T/cold")
same_bytes "$T/cold" "$T/m/cold"
equal "$(status_of m .reads.failed)" 0
equal "$(grep -F " $T/m " /proc/self/mountinfo)" "$mount_before"
umount_fs m
