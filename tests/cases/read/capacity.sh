#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 13
# C3, C4, C5: however many read however much at once, the cache never takes more
# than its capacity, looked at every 10 ms by what its files have allocated and
# by what df says; who has to go goes in stored order, never what is open, just
# read or held; what does not fit is read all the same and drives nobody out.
. "$(dirname "$0")/../../lib/common.sh"

IMAGES=8
BYTES=20000000
CAPACITY=$((64 << 20)) # three of them
for i in $(seq $IMAGES); do random_file "$T/i$i" $BYTES "$i"; done
random_file "$T/large" 100000000 large
origin_start
for i in $(seq $IMAGES); do publish "$T/i$i" "i$i"; done
publish "$T/large" large
M=$T/m

start() { mount_fs m capacity=64M; watch_start; }
watch_start()
{
	"$TOOLS/spacewatch" "$T/m.cache" "$M" "$(worker_pid m)" > "$T/watch" &
	watch=$!
	PIDS+=($watch)
}
# stop: never above, and there was something to see.
stop()
{
	local disk df samples
	kill $watch
	wait $watch
	read -r _ disk _ df _ samples < "$T/watch"
	say "disk $disk, df $df of $CAPACITY, $samples samples"
	[ "$disk" -le $CAPACITY ] || fail "$disk bytes on disk, capacity $CAPACITY"
	[ "$df" -le $CAPACITY ] || fail "df showed $df used, capacity $CAPACITY"
	[ "$disk" -ge $((CAPACITY / 3)) ] || fail "looked at the wrong place: $disk"
	[ "$samples" -ge 20 ] || fail "only $samples samples"
	end_fs m
}
stored() { "$STAGEFS_BIN" list -n -r -o NAME "$M" | tr '\n' ' '; }
equal_stored() { [ "$(stored)" = "$1" ]; }
complete() { "$STAGEFS_BIN" list -n -r -o NAME,STATE "$M" | awk '$2 == "complete" { printf "%s ", $1 }'; }

# 1. Eight readers, all images, in different orders, and the one that can never
#    fit.
start
for r in $(seq 8); do
	(
		for i in $(seq $IMAGES); do
			n=$(((i * 3 + r * 7) % IMAGES + 1))
			same_bytes "$T/i$n" "$M/i$n"
		done
	) &
	readers+=($!)
done
same_bytes "$T/large" "$M/large"
for r in "${readers[@]}"; do wait "$r" || fail "a reader read wrong"; done
equal "$(status_of m .reads.failed)" 0
[ "$(status_of m .reads.from_memory)" -gt 0 ] || fail "there was room for all?"
memory_bounded m
stop
rm -r "$T/m.cache"

# 2. Three fit. Once nobody has just read them (here: mounted anew) they go in
#    the order they came in.
start
# Past the page cache: reads that only ever waited have to count as well.
for i in i3 i1 i2; do "$TOOLS/preads" -d "$M/$i" 0 $BYTES > /dev/null; done
eventually 10 equal_stored 'i3 i1 i2 '
same_bytes "$T/i4" "$M/i4" # all were just read: nobody goes
eventually 10 equal_stored 'i3 i1 i2 '
stop
start
same_bytes "$T/i4" "$M/i4"
eventually 10 image_is m i4 complete
equal "$(stored)" 'i1 i2 i4 '
equal "$(xattr m i3 state)" absent
equal "$(ls "$T/m.cache/data" | wc -l)" 3
# The oldest is open: the next one goes.
exec 7< "$M/i1"
same_bytes "$T/i5" "$M/i5"
eventually 10 image_is m i5 complete
equal "$(stored)" 'i1 i4 i5 ' "i1 is open"
# It is open, the others were just read: nobody goes, it is read all the same.
same_bytes "$T/i6" "$M/i6"
equal "$(stored)" 'i1 i4 i5 '
same_bytes "$T/i1" /dev/fd/7
exec 7<&-
equal "$(status_of m .cache.evicted)" 2
stop

# 3. On hold: passed over.
start
origin order hold m i1 --until "$(date -d '+1 hour' '+%Y-%m-%d %H:%M')" > /dev/null
held() { [ "$(xattr m i1 held_until)" != - ]; }
eventually 20 held
same_bytes "$T/i6" "$M/i6"
eventually 10 image_is m i6 complete
equal "$(stored)" 'i1 i5 i6 ' "i1 is on hold"
stop

# 4. What cannot fit drives nobody out (C5), and comes about once.
start
before=$(stored)
sent=$(origin_sent)
same_bytes "$T/large" "$M/large"
sent=$(($(origin_sent) - sent))
equal "$(complete)" "$before"
[ $((sent * 10)) -le $((100000000 * 12)) ] || fail "$sent bytes were sent for 100000000"
# Two readers of it, far apart.
tail -c 50000000 "$M/large" | cmp - <(tail -c 50000000 "$T/large") &
tail=$!
same_bytes "$T/large" "$M/large"
wait $tail
equal "$(complete)" "$before"
stop
