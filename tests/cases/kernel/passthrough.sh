#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 14
# Complete images are read by the kernel itself (DESIGN.md section 7). The mode
# follows the opens, and is never mixed; what is open is never taken away, nor
# given a hole (R1, C7); a killed worker's opens are its successor's.
. "$(dirname "$0")/../../lib/common.sh"

is_open() { [ "$(metric m open_images)" = "$1" ] && [ "$(metric m open_images_passthrough)" = "$2" ]; }
# reads NAME: READ requests that reached the worker.
reads() { echo $(($(metric m reads_stored_total) + $(metric m reads_waited_total))); }
# is_durable IMAGE: an open of it is passthrough, if nobody else has it open.
is_durable()
{
	local before
	before=$(metric m opens_passthrough_total)
	head -c 1 "$T/m/$1" > /dev/null
	[ "$(metric m opens_passthrough_total)" -gt "$before" ]
}
fd_is() { equal "$(sha256sum < "/proc/$$/fd/$1" | cut -c 1-64)" "$(sum "$2")" "${3:-}"; }
# rest_is FD FILE: the same from its start, through the descriptor itself, not
# a new open of it.
rest_is() { "$STAGEFS_BUILD/tools/sumfd" "$1" > "$T/sumfd"; equal "$(cat "$T/sumfd")" "$(sum "$2")" "${3:-}"; }
data_of() { echo "$T/m.cache/data/$(xattr m "$1" id)"; }

for i in a b c d; do random_file "$T/$i" 20000000 $i; done
random_file "$T/a2" 20000000 a2
origin_start
for i in a b c d; do publish "$T/$i" $i; done
mount_fs m

# ---- the mode follows the opens ----
exec 7< "$T/m/a"
eventually 10 is_open 1 0
rest_is 7 "$T/a" "a cold image"
eventually 10 image_is m a complete
# Complete, but open in cached mode: others follow.
sleep 1.5
exec 8< "$T/m/a"
eventually 10 is_open 1 0
rest_is 8 "$T/a"
exec 7<&-
rest_is 8 "$T/a"
eventually 10 is_open 1 0
exec 8<&-
eventually 10 is_open 0 0
# Nobody has it open any more: from here on the kernel reads it.
eventually 10 is_durable a
eventually 10 is_open 0 0
before=$(reads)
exec 7< "$T/m/a"
exec 8< "$T/m/a"
is_open 1 1 || fail "no passthrough: $(metric m open_images) $(metric m open_images_passthrough)"
forget_pages
rest_is 7 "$T/a"
cmp "$T/a" "$T/m/a"
dd if="$T/m/a" bs=1M iflag=direct status=none | cmp - "$T/a"
"$STAGEFS_BUILD/tools/sumfd" 8 mmap > "$T/sumfd"
equal "$(cat "$T/sumfd")" "$(sum "$T/a")" "mapped"
equal "$(reads)" "$before" "READ requests with passthrough"
equal "$(xattr m a state)" complete
equal "$(stat -c %b "$T/m/a")" $(((20000000 + 511) / 512))
# Through one page cache, the data file's (others may drop pages meanwhile).
all_resident()
{
	cat "$T/m/a" > /dev/null
	[ "$(fincore -n -b -o RES "$(data_of a)" | tr -d ' ')" = $(((20000000 + 4095) / 4096 * 4096)) ]
}
forget_pages
eventually 20 all_resident

# ---- what is open stays ----
refused 'open' "$STAGEFS_BIN" evict "$T/m" a
publish "$T/a2" a
same_a2() { cmp -s "$T/a2" "$T/m/a"; }
eventually 20 same_a2
rest_is 7 "$T/a" "the replaced image, open"
kill_worker m
rest_is 7 "$T/a" "and after a restart"
same_bytes "$T/a2" "$T/m/a"
# Not even by hand.
rm "$T/m.cache/data/$(stat -Lc %i "/proc/$$/fd/7")"
rest_is 7 "$T/a" "its file removed"
exec 7<&- 8<&-
eventually 10 is_open 0 0

# ---- a killed worker's opens ----
same_bytes "$T/b" "$T/m/b"
eventually 10 is_durable b
head -c 100000 "$T/m/c" > /dev/null
exec 7< "$T/m/b" 8< "$T/m/c"
eventually 10 is_open 2 1
for _ in 1 2 3; do
	kill_worker m
	is_open 2 1 || fail "the opens of the dead worker are not counted"
	refused 'open' "$STAGEFS_BIN" evict "$T/m" b
	exec 5< "$T/m/b" 6< "$T/m/c"
	rest_is 5 "$T/b"
	rest_is 6 "$T/c"
	exec 5<&- 6<&-
done
rest_is 7 "$T/b"
rest_is 8 "$T/c"
# Complete meanwhile, still open in cached mode.
eventually 10 image_is m c complete
sleep 1.5
kill_worker m
exec 6< "$T/m/c"
is_open 2 1 || fail "the mode of an open image has changed"
rest_is 6 "$T/c"
exec 6<&- 7<&- 8<&-
eventually 10 is_open 0 0
eventually 10 is_durable c
# Closed while no worker runs.
exec 7< "$T/m/b" 8< "$T/m/c"
old=$(worker_pid m)
kill -STOP "$old"
exec 7<&- 8<&-
kill -9 "$old"
eventually 30 worker_is_not m "$old"
eventually 30 is_open 0 0
"$STAGEFS_BIN" evict "$T/m" b > /dev/null

# ---- a bad block in an open file is mended in place ----
same_bytes "$T/d" "$T/m/d"
eventually 10 is_durable d
exec 7< "$T/m/d" # passthrough
data=$(data_of d)
ino=$(stat -c %i "$data")
damage() { openssl rand 300000 | dd of="$data" bs=1 seek="$1" conv=notrunc status=none oflag=seek_bytes bs=1M; sync "$data"; }
damage 5000000
cp "$data" "$T/damaged"
"$STAGEFS_BIN" verify "$T/m" d > /dev/null
rest_is 7 "$T/d" "after the repair"
equal "$(stat -c %i "$data")" "$ino" "another file"
# Without the origin: found, not mended, but nothing is taken from readers.
damage 7000000
cp "$data" "$T/damaged"
origin_stop
"$STAGEFS_BIN" verify "$T/m" d > /dev/null 2>&1 &
verify=$!
not_complete() { [ "$(xattr m d state)" != complete ]; }
eventually 20 not_complete
rest_is 7 "$T/damaged" "what the disk has, and no hole"
kill_worker m
rest_is 7 "$T/damaged" "nor after a restart"
not_complete || fail "a bad block is forgotten"
wait $verify && fail "verify cannot have mended it"
# It could be no other mode than the first one's: nobody else gets bad bytes.
refused 'timed out' cat "$T/m/d"
origin_start 7<&-
eventually 60 image_is m d complete # by itself
rest_is 7 "$T/d"
same_bytes "$T/d" "$T/m/d"
exec 7<&-
same_bytes "$T/d" "$T/m/d"

# ---- a supervisor that does not answer ----
same_bytes "$T/b" "$T/m/b"
eventually 10 is_durable b
eventually 10 is_open 0 0
kill -STOP "$(supervisor_pid m)"
exec 7< "$T/m/b"
rest_is 7 "$T/b"
is_open 1 0 || fail "$(metric m open_images) open, $(metric m open_images_passthrough) with passthrough"
kill -CONT "$(supervisor_pid m)"
exec 7<&-
eventually 20 is_durable b
eventually 10 is_open 0 0
end_fs m

# ---- without passthrough ----
mount_fs m passthrough=off
same_bytes "$T/b" "$T/m/b"
# Others may drop pages meanwhile.
pages_stay()
{
	local before
	before=$(reads)
	same_bytes "$T/b" "$T/m/b"
	[ "$(reads)" = "$before" ]
}
eventually 30 pages_stay
equal "$(metric m opens_passthrough_total)" 0
umount_fs m
