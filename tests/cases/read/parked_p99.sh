#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# serial
# R4: a thousand reads that wait do not slow one that hits: its p99 stays within
# 1.5 times, measured with and without them in turns, through the worker
# (passthrough off, past the page cache) and with an open, and once with it.
. "$(dirname "$0")/../../lib/common.sh"

READERS=1000
BLOCK=1048576
ROUNDS=10
origin_start
random_file "$T/stored" 64000000 stored
truncate -s $((READERS * BLOCK)) "$T/cold"
publish "$T/stored" stored
publish "$T/cold" cold
cat > "$T/reads.py" << 'END'
import mmap, os, random, sys, time
path, out = sys.argv[1:]
buf = mmap.mmap(-1, 128 << 10)
took = []
for i in range(2000):
    at = random.randrange(400) * len(buf)
    begun = time.monotonic_ns()
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    os.preadv(fd, [buf], at)
    os.close(fd)
    took.append(time.monotonic_ns() - begun)
with open(out, "a") as f:
    f.writelines("%d\n" % t for t in took)
END
p99() { sort -n "$1" | awk '{ t[NR] = $1 } END { printf "%d\n", t[int(NR * .99)] / 1000 }'; }

for passthrough in off on; do
	mount_fs m "io-timeout=1h,fill-after=never,passthrough=$passthrough"
	same_bytes "$T/stored" "$T/m/stored"
	eventually 10 image_is m stored complete
	parked() { [ "$(status_of m .reads.parked)" "$@" ]; }
	rm -f "$T/alone" "$T/beside"
	kill -STOP "$ORIGIN_PID"
	for _ in $(seq $ROUNDS); do
		/usr/bin/python3 "$T/reads.py" "$T/m/stored" "$T/alone"
		"$TOOLS/preads" -d -t $READERS -s $BLOCK "$T/m/cold" 0 4096 > "$T/ends" &
		reader=$!
		eventually 60 parked -ge $READERS
		/usr/bin/python3 "$T/reads.py" "$T/m/stored" "$T/beside"
		parked -ge $READERS || fail "they did not wait all the time"
		kill -9 $reader
		wait $reader 2> /dev/null || :
		eventually 60 parked = 0
	done
	kill -CONT "$ORIGIN_PID"
	end_fs m
	say "passthrough=$passthrough: p99 $(p99 "$T/alone") us alone, $(p99 "$T/beside") us beside $READERS reads that wait"
	[ "$(p99 "$T/beside")" -le $(($(p99 "$T/alone") * 3 / 2)) ] || fail "more than 1.5 times"
done
