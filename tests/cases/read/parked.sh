#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: tsan
# R4: waiting costs no thread. A thousand reads wait for an origin that says
# nothing; meanwhile a stored image is read whole; the worker has no more
# threads and little more memory than before. Killing the readers ends them, and
# they get their bytes once the origin speaks again.
. "$(dirname "$0")/../../lib/common.sh"

READERS=1000
BLOCK=1048576

origin_start
random_file "$T/stored" 30000000 stored
truncate -s $((READERS * BLOCK * 3)) "$T/cold" # for each time another third
publish "$T/stored" stored
publish "$T/cold" cold
mount_fs m io-timeout=1h,capacity=3G,fill-after=never
same_bytes "$T/stored" "$T/m/stored"
eventually 10 image_is m stored complete
threads() { awk '$1 == "Threads:" { print $2 }' "/proc/$w/status"; }
w=$(worker_pid m)

# At most what its pools may have at all, measured while readers hit.
for _ in $(seq 40); do sha256sum < "$T/m/stored" > /dev/null & done
wait $(jobs -p | grep -vx "$ORIGIN_PID")
before=$(threads)

parked_none() { [ "$(status_of m .reads.parked)" = 0 ]; }
parked_are() { [ "$(status_of m .reads.parked)" -ge "$1" ]; }

# how: "" through the page cache, "-d" past it: each read is a request.
at=0
for how in -d ''; do
	kill -STOP "$ORIGIN_PID"
	"$TOOLS/preads" $how -t $READERS -s $BLOCK "$T/m/cold" $at 4096 > "$T/ends" &
	reader=$!
	eventually 30 parked_are $READERS
	[ "$(threads)" -le $((before + 16)) ] ||
		fail "$(threads) threads with $READERS reads parked, $before before"

	# Through the page cache and past it. Without R4 it would wait for an
	# hour.
	forget_pages
	dd if="$T/m/stored" bs=1M iflag=direct status=none | cmp - "$T/stored"
	same_bytes "$T/stored" "$T/m/stored"
	ls -lR "$T/m" > /dev/null
	[ "$(status_of m .reads.parked)" -gt 0 ] || fail "nobody waits any more"
	kill -0 $reader || fail "the readers have ended: $(cat "$T/ends")"
	say "$(status_of m .reads.parked) parked, $(threads) threads ($before before)"

	if [ "$how" = -d ]; then
		# Killed while they wait: gone, though the origin is silent.
		kill -9 $reader
		wait $reader 2> /dev/null || :
		kill -CONT "$ORIGIN_PID"
		eventually 30 parked_none
	else
		kill -CONT "$ORIGIN_PID"
		wait $reader
		equal "$(cat "$T/ends")" "$READERS ok"
	fi
	at=$((at + READERS * BLOCK))
done

memory_bounded m

# Killed, and unmounted, while nothing answers.
kill -STOP "$ORIGIN_PID"
forget_pages
"$TOOLS/preads" -t $READERS -s $BLOCK "$T/m/cold" $at 4096 > "$T/ends" &
reader=$!
eventually 30 parked_are $READERS
kill -9 $reader
wait $reader 2> /dev/null || :
umount_fs m
kill -CONT "$ORIGIN_PID"
