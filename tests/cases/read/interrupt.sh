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
mount_fs m io-timeout=1h,fill-after=never,look-ahead=1M
same_bytes "$T/stored" "$T/m/stored"
opens() { [ "$(status_of m '.counters[] | select(.name == "open_images").value')" = "$1" ]; }
parked() { [ "$(status_of m .reads.parked)" = "$1" ]; }
eventually 10 opens 0

# parks N SAYING: N reads wait; else what there is instead.
parks()
{
	local end=$((SECONDS + 60))
	while [ $SECONDS -lt $end ]; do
		! parked "$1" || return 0
		sleep 0.05
	done
	status_of m '.reads' >&2
	fail "$2: not $1 parked; readers: $(jobs -l | tr '\n' ';')"
}
# There is nothing of the image before, neither here nor on its way: what a
# transfer has in its sockets (10 MiB and more) would answer a read though the
# origin is stopped.
forgotten()
{
	[ "$(status_of m '.reads.streams + .fetch.in_flight + .fetch.waiting')" = 0 ] || return 1
	"$STAGEFS_BIN" evict "$T/m" image || :
	[ "$(xattr m image state)" = absent ]
}

n=0
for signal in KILL TERM; do
	for how in -d ''; do
		eventually 20 forgotten
		kill -STOP "$ORIGIN_PID"
		n=$((n + 1)) # the kernel may have the pages of the last place
		"$TOOLS/preads" $how "$T/m/image" $(((n * 10 << 20) + 4096)) 4096 > "$T/one" &
		pid=$!
		parks 1 "$signal $how"
		kill -$signal $pid
		# The guard is for a hanging test only: io-timeout is an hour.
		timeout 120 tail -s 0.02 --pid=$pid -f /dev/null || fail "$signal: it is still there"
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
eventually 20 forgotten
kill -STOP "$ORIGIN_PID"
at=$((52 << 20))
"$TOOLS/preads" -d "$T/m/image" $at 4096 > "$T/one" &
one=$!
"$TOOLS/preads" -d -o "$T/got" "$T/m/image" $((at + 524288)) 4096 > "$T/two" &
two=$!
parks 2 "two of one block"
kill -KILL $one
wait $one 2>/dev/null || :
kill -CONT "$ORIGIN_PID"
wait $two
equal "$(cat "$T/two")" '1 ok'
cmp "$T/got" <(tail -c +$((at + 524288 + 1)) "$T/image" | head -c 4096)
eventually 10 opens 0
same_bytes "$T/image" "$T/m/image"
equal "$(status_of m .reads.failed)" 0

# It goes within 100 ms, as it reads past the page cache, through it, or from
# memory that is mapped; compared with a process that waits for nothing, because
# other work on the machine delays both.
truncate -s 200M "$T/far"
publish "$T/far" far
eventually 10 has_image m far
kill -STOP "$ORIGIN_PID"
direct() { exec "$TOOLS/preads" -d "$T/m/far" "$1" 4096; }
cached() { exec "$TOOLS/preads" "$T/m/far" "$1" 4096; }
mapped()
{
	exec /usr/bin/python3 -c 'import mmap, sys
with open(sys.argv[1], "rb") as f:
    mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[int(sys.argv[2])]' "$T/m/far" "$1"
}
more_parked() { [ "$(status_of m .reads.parked)" -gt "$before" ]; }
# killed_us: how long $pid takes to go.
killed_us()
{
	local begun=${EPOCHREALTIME/./}
	kill -KILL $pid
	wait $pid 2> /dev/null || :
	took_us=$((${EPOCHREALTIME/./} - begun))
}
middle() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
at=4096
for how in direct cached mapped; do
	for _ in 1 2 3; do
		at=$((at + (10 << 20)))
		before=$(status_of m .reads.parked)
		$how $at > /dev/null &
		pid=$!
		eventually 10 more_parked
		killed_us
		echo $took_us >> "$T/took.$how"
		sleep 600 &
		pid=$!
		killed_us
		echo $took_us >> "$T/took.idle"
	done
done
idle=$(middle "$T/took.idle")
for how in direct cached mapped; do
	took=$(middle "$T/took.$how")
	say "$how: a killed reader went within $took us, a sleeper within $idle us"
	[ "$took" -lt $((100000 + 20 * idle)) ] || fail "$took us after the kill a reader was there"
done
kill -CONT "$ORIGIN_PID"
eventually 20 parked 0
umount_fs m
