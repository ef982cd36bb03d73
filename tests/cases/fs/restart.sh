#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: tsan
# cost: 11
# The worker is killed while files are read, cold and stored: no error, right
# bytes, the mount goes on (DESIGN.md sections 4 and 7).
. "$(dirname "$0")/../../lib/common.sh"

no_worker() { [ -z "$(worker_pid m)" ]; }

kill_worker()
{
	local p
	p=$(worker_pid m)
	kill -9 "$p"
	eventually 10 worker_is_not m "$p"
	# It answers: a stat that the kernel has not cached.
	timeout 120 getfattr -n user.stagefs.id "$T/m/cold" > /dev/null
}

random_file "$T/stored" 50000000 stored
random_file "$T/cold" 80000000 cold
origin init > /dev/null
origin image add "$T/stored" --name stored > /dev/null
origin image add "$T/cold" --name cold > /dev/null
origin_start
mount_fs m
same_bytes "$T/stored" "$T/m/stored"

# Readers of both kinds, and a handle that stays open over all kills.
exec 7< "$T/m/cold"
(for _ in 1 2 3 4 5; do dd if="$T/m/stored" bs=1M iflag=direct status=none | sha256sum; done) > "$T/sums" &
reader1=$!
sha256sum < "$T/m/cold" > "$T/cold.sum" &
reader2=$!
for _ in 1 2 3 4 5; do kill_worker; done
wait $reader1 || fail "a reader of stored bytes saw an error"
wait $reader2 || fail "a reader of missing bytes saw an error"
equal "$(sort -u "$T/sums" | cut -c 1-64)" "$(sum "$T/stored")"
equal "$(cut -c 1-64 "$T/cold.sum")" "$(sum "$T/cold")"
equal "$(sha256sum <&7 | cut -c 1-64)" "$(sum "$T/cold")" "the handle opened before"
exec 7<&-
equal "$(ls "$T/m")" "$(printf 'cold\nstored')"

# A name that changes after a restart is seen.
echo new > "$T/new"
origin image add "$T/new" --name new > /dev/null
eventually 10 has_image m new
equal "$(cat "$T/m/new")" new

umount_fs m
eventually 10 no_worker
