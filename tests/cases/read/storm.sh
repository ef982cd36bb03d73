#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: tsan
# Readers anywhere in images that do not all fit, while the line breaks in all
# the ways it can, blocks come wrong, images are evicted under them, the page
# cache is emptied and the worker is killed: every byte is right, no read fails,
# the cache never takes more than its capacity.
. "$(dirname "$0")/../../lib/common.sh"

SEED=${SEED:-$RANDOM}
READS=${READS:-400}
IMAGES=8
say "SEED=$SEED READS=$READS"
RANDOM=$SEED
export STAGEFS_MAY_DIE=1 # ten deaths a minute are too many otherwise
origin_start
pairs=()
for i in $(seq $IMAGES); do
	random_file "$T/i$i" $((5000000 + RANDOM * 500)) "$SEED.$i"
	publish "$T/i$i" "i$i"
	pairs+=("$T/m/i$i" "$T/i$i")
done
proxy_start
proxy _script '[
	{"path": "/v1/data/", "every": 13, "fault": "reset", "after": 300000},
	{"path": "/v1/data/", "every": 17, "fault": "close", "after": 1500000},
	{"path": "/v1/data/", "every": 19, "fault": "status"},
	{"path": "/v1/data/", "every": 23, "fault": "wrong-range"},
	{"path": "/v1/data/", "every": 29, "fault": "whole"},
	{"path": "/v1/manifests/", "every": 3, "fault": "reset"}]'
mount_fs m capacity=64M,fill-after=8M,io-timeout=1h
"$TOOLS/spacewatch" "$T/m.cache" "$T/m" > "$T/watch" &
watch=$!
PIDS+=($watch)

"$TOOLS/randreads" -t 12 -n "$READS" -r "$SEED" "${pairs[@]}" > "$T/result" 2> "$T/reads.log" &
reader=$!
PIDS+=($reader)
kills=0
while kill -0 $reader 2> /dev/null; do
	sleep "0.$((RANDOM % 5 + 1))"
	case $((RANDOM % 6)) in
	0) forget_pages ;;
	1) "$STAGEFS_BIN" evict "$T/m" "i$((RANDOM % IMAGES + 1))" > /dev/null 2>&1 || : ;;
	2 | 4 | 5)
		kill -KILL "$(worker_pid m)" 2> /dev/null || :
		kills=$((kills + 1))
		;;
	3) ls -lR "$T/m" > /dev/null ;;
	esac
done
wait $reader || fail "wrong bytes or errors: $(cat "$T/result")"
say "$(cat "$T/result"), $kills kills, $(proxy _log | jq -c '[.rules[].hits]') faults"
grep -q ' 0 errors' "$T/result"
kill $watch
wait $watch
read -r _ disk _ df _ samples < "$T/watch"
[ "$disk" -le $((64 << 20)) ] || fail "$disk bytes on disk"
[ "$df" -le $((64 << 20)) ] || fail "df showed $df used"
for i in $(seq $IMAGES); do same_bytes "$T/i$i" "$T/m/i$i"; done
"$STAGEFS_BIN" verify "$T/m" > "$T/verify.log"
! grep -v ' ok$' "$T/verify.log" | grep -v '^NAME' || fail "blocks on disk were wrong"
umount_fs m
