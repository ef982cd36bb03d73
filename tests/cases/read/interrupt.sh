#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: tsan
# A reader that is killed while it waits goes at once, though the origin says
# nothing; what it had open is released, who waits for the same block goes on
# waiting, and the mount is as it was.
. "$(dirname "$0")/../../lib/common.sh"

random_file "$T/image" 60000000 image
random_file "$T/stored" 5000000 stored
origin_start
publish "$T/image" image
publish "$T/stored" stored
mount_fs m io-timeout=1h,fill-after=never
same_bytes "$T/stored" "$T/m/stored"
opens() { [ "$(status_of m '.counters[] | select(.name == "open_images").value')" = "$1" ]; }
parked() { [ "$(status_of m .reads.parked)" = "$1" ]; }
eventually 10 opens 0

n=0
for signal in KILL TERM; do
	for how in -d ''; do
		kill -STOP "$ORIGIN_PID"
		# Each at a place of its own: none finds it stored.
		n=$((n + 1))
		"$TOOLS/preads" $how "$T/m/image" $(((n * 10 << 20) + 4096)) 4096 > /dev/null &
		pid=$!
		eventually 10 parked 1
		kill -$signal $pid
		# The guard is for a hanging test only: io-timeout is an hour.
		timeout 20 tail --pid=$pid -f /dev/null || fail "$signal: it is still there"
		! wait $pid 2>/dev/null || fail "$signal: not killed?"
		# Of a read through the page cache the kernel says nothing
		# before it is answered: it stays, and its open with it.
		if [ -n "$how" ]; then
			eventually 10 parked 0
			eventually 10 opens 0
		fi
		same_bytes "$T/stored" "$T/m/stored"
		kill -CONT "$ORIGIN_PID"
		eventually 20 parked 0
		eventually 10 opens 0
	done
done

# One of two readers of the same block: the other one gets it.
kill -STOP "$ORIGIN_PID"
at=$((52 << 20))
"$TOOLS/preads" "$T/m/image" $at 4096 > "$T/one" &
one=$!
"$TOOLS/preads" -o "$T/got" "$T/m/image" $((at + 524288)) 4096 > "$T/two" &
two=$!
eventually 10 parked 2
kill -KILL $one
wait $one 2>/dev/null || :
kill -CONT "$ORIGIN_PID"
wait $two
equal "$(cat "$T/two")" '1 ok'
cmp "$T/got" <(tail -c +$((at + 524288 + 1)) "$T/image" | head -c 4096)
eventually 10 opens 0
same_bytes "$T/image" "$T/m/image"
equal "$(status_of m .reads.failed)" 0
umount_fs m
