#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 15
# C1, C2: worker and supervisor are killed at any time, in the middle of reading
# and right after. What was said to be complete for two seconds is complete at
# the next mount and costs no transfer; whatever is there is right; nothing of
# the killed mount is in the way.
. "$(dirname "$0")/../../lib/common.sh"

ROUNDS=${ROUNDS:-2}
IMAGES=4
BYTES=20000000
for i in $(seq $IMAGES); do random_file "$T/i$i" $BYTES "$i"; done
origin_start
for i in $(seq $IMAGES); do publish "$T/i$i" "i$i"; done
proxy_start
M=$T/m

# Both at once, as when the power goes, but for the page cache.
crash()
{
	local s w
	s=$(supervisor_pid m)
	w=$(worker_pid m)
	[ -n "$s" ] && [ -n "$w" ] || fail "not running: '$s' '$w'"
	kill -STOP $s # it must not start another worker
	kill -KILL $w
	kill -KILL $s
	umount -l "$M" # what an admin would do
	eventually 20 test ! -e "/proc/$s"
	eventually 20 test ! -e "/proc/$w"
}

# Each block that the index calls stored is right on disk (C1): looked at
# without stagefs, in a copy of the index.
check_blocks()
{
	rm -rf "$T/index"
	mkdir "$T/index"
	cp "$T/m.cache"/index.db* "$T/index"
	/usr/bin/python3 - "$T" << 'END'
import sqlite3, sys
t = sys.argv[1]
db = sqlite3.connect(t + "/index/index.db")
n = 0
for id_, name, size, block, bits in db.execute(
        "SELECT id, name, size, block, bits FROM version WHERE NOT deleted"):
    if not any(bits):
        continue  # the row is there before the file (C2)
    with open("%s/m.cache/data/%d" % (t, id_), "rb") as f, \
            open(t + "/" + name, "rb") as source:
        for b in range((size + block - 1) // block):
            if not bits[b // 8] >> b % 8 & 1:
                continue
            f.seek(b * block)
            source.seek(b * block)
            if f.read(block) != source.read(block):
                sys.exit("%s: block %d is not what the index says" % (name, b))
            n += 1
print(n)
END
}

for round in $(seq "$ROUNDS"); do
	mount_fs m
	# One complete, then killed at a random time of reading the others, at
	# 20 MB/s, so that it really is in the middle.
	same_bytes "$T/i1" "$M/i1"
	if [ $((round % 2)) = 1 ]; then
		eventually 10 image_is m i1 complete
		eventually 10 durable m i1 all # it takes a second
		sure=i1
	else
		sure=
	fi
	proxy _cap '{"rate": 20000000}'
	readers=()
	for i in 2 3 4; do
		cat "$M/i$i" > "$T/got$i" 2> /dev/null &
		readers+=($!)
	done
	sleep "$((RANDOM % 3)).$((RANDOM % 900 + 100))"
	crash
	wait "${readers[@]}" 2> /dev/null || :
	proxy _cap '{"rate": 0}'
	# Whatever they got until then was right.
	for i in 2 3 4; do
		cmp -n "$(stat -c %s "$T/got$i")" "$T/got$i" "$T/i$i"
	done

	n=$(check_blocks)
	[ "$n" -ge 20 ] || [ -z "$sure" ] || fail "round $round: $n blocks stored"
	sent=$(origin_sent)
	mount_fs m
	if [ -n "$sure" ]; then
		equal "$(xattr m i1 state)" complete "round $round"
		same_bytes "$T/i1" "$M/i1"
		equal "$(origin_sent)" "$sent" "round $round: transferred again"
	fi
	stored=0
	for i in $(seq $IMAGES); do
		stored=$((stored + $(xattr m "i$i" cached_bytes)))
	done
	sent=$(origin_sent)
	for i in $(seq $IMAGES); do same_bytes "$T/i$i" "$M/i$i"; done
	# What the bitmap says is not fetched again.
	equal $(($(origin_sent) - sent)) $((IMAGES * BYTES - stored)) "round $round"
	say "round $round: $n blocks, $stored of $((IMAGES * BYTES)) bytes were there"
	"$STAGEFS_BIN" verify "$M" > "$T/verify.out" || fail "verify: $(cat "$T/verify.out")"
	end_fs m
	rm -r "$T/m.cache"
done
