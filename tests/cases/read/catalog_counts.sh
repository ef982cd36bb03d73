#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# C3: the catalog is kept in the cache's folder, and counts. A large one drives
# out what is stored longest, before it is written; one for which there is no
# room at all is served from memory. The capacity holds at every instant.
. "$(dirname "$0")/../../lib/common.sh"

for i in 1 2 3; do random_file "$T/i$i" 5000000 $i; done
origin_start
for i in 1 2 3; do publish "$T/i$i" i$i; done

# watch NAME, watched NAME CAPACITY: the most that it took in between.
watch()
{
	"$TOOLS/spacewatch" "$T/$1.cache" "$T/$1" "$(worker_pid "$1")" > "$T/watch" &
	watch=$!
	PIDS+=($watch)
}
watched()
{
	local disk df samples
	kill $watch
	wait $watch
	read -r _ disk _ df _ samples < "$T/watch"
	say "disk $disk, df $df of $2, $samples samples, catalog $(kept "$1")"
	[ "$disk" -le "$2" ] || fail "$disk bytes on disk, capacity $2"
	[ "$df" -le "$2" ] || fail "df showed $df used, capacity $2"
	[ "$samples" -ge 20 ] || fail "only $samples samples"
}
kept() { stat -c %s "$T/$1.cache/catalog" 2> /dev/null || echo 0; }
entries() { [ "$(status_of "$1" .catalog.entries)" -gt 30000 ]; }
stored() { "$STAGEFS_BIN" list -n -r -o NAME "$T/$1" | tr '\n' ' '; }
is_stored() { [ "$(stored "$1")" = "$2" ]; }
is_large() { [ "$(kept "$1")" -gt 4000000 ]; }

mount_fs m capacity=18M
mount_fs tiny capacity=3M
for i in 1 2 3; do "$STAGEFS_BIN" fetch "$T/m" i$i; done
end_fs m
mount_fs m capacity=18M # nothing was read just now
watch m
"$TOOLS/manyimages" "$STORE" i1 30000 > /dev/null
eventually 60 entries m
eventually 20 is_large m
equal "$(stored m)" 'i2 i3 '
stored_bytes() { "$STAGEFS_BIN" list -n -r -b -o STORED "$T/m" | awk '{ n += $1 } END { printf "%d", n }'; }
counted() { [ "$(status_of m .cache.used)" -ge $(($(stored_bytes) + $(kept m))) ]; }
counted || fail "$(status_of m .cache.used) used, the catalog is $(kept m)"
sleep 0.3
watched m $((18 << 20))
equal "$("$STAGEFS_BIN" why --json "$T/m" i1 | jq -r .evicted_why)" room

# Counted from the start on, too. (The origin may be asked for all of it again:
# then the old and the new one count, and another image goes.)
end_fs m
used=$(du -s --apparent-size -B 1 "$T/m.cache" | cut -f 1)
[ "$used" -le $((18 << 20)) ] || fail "$used"
mount_fs m capacity=18M
counted || fail "not from the start on"
same_bytes "$T/i1" "$T/m/i1"
end_fs m

# No room for it at all: not kept, but there.
eventually 60 entries tiny
watch tiny
sleep 0.5
has_image tiny i3
same_bytes "$T/i3" "$T/tiny/i3"
watched tiny $((3 << 20))
# An early part of it, published by then, may have fitted.
[ "$(kept tiny)" -lt $((3 << 20)) ] || fail "$(kept tiny) bytes are kept"
eventually 10 grep -q 'cannot keep it on disk: No space left on device: serving from memory' "$T/tiny.log"
umount_fs tiny
