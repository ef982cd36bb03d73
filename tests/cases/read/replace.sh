#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: tsan
# New versions under an old name, one after the other, while readers read: each
# gets one version whole, never a mixture; who has one open keeps it to its end;
# what is closed and published no more may be evicted.
. "$(dirname "$0")/../../lib/common.sh"

VERSIONS=6
for i in $(seq $VERSIONS); do random_file "$T/v$i" $((8000000 + i)) "$i"; done
for i in $(seq $VERSIONS); do sum "$T/v$i"; done > "$T/sums"
origin_start
publish "$T/v1" win/base.wim
proxy_start
mount_fs m io-timeout=1h
I=$T/m/win/base.wim
size_is() { [ "$(stat -c %s "$I")" = "$1" ]; }

# Readers that never pause.
touch "$T/go"
for n in 1 2 3; do
	(while [ -e "$T/go" ]; do sha256sum < "$I" | cut -c 1-64; done > "$T/seen.$n") &
	PIDS+=($!)
	readers+=($!)
done
numbers=$(stat -c %i "$I")
for i in $(seq 2 $VERSIONS); do
	# One that has this version open, half read, over the next.
	exec 7< "$I"
	head -c 1000000 <&7 > "$T/open"
	publish "$T/v$i" win/base.wim
	eventually 5 size_is $((8000000 + i))
	numbers="$numbers $(stat -c %i "$I")"
	same_bytes "$T/v$i" "$I"
	cat <&7 >> "$T/open"
	exec 7<&-
	same_bytes "$T/v$((i - 1))" "$T/open"
done
rm "$T/go"
wait "${readers[@]}"
equal "$(tr ' ' '\n' <<< "$numbers" | sort -u | wc -l)" $VERSIONS "inode numbers"
for n in 1 2 3; do
	[ -s "$T/seen.$n" ] || fail "reader $n saw nothing"
	sort -u "$T/seen.$n" | while read -r s; do
		grep -q "$s" "$T/sums" || fail "reader $n read a mixture"
	done
done

# The old one is read from the origin too, as long as it is open: here its end
# only comes after the new one was published.
random_file "$T/old" 40000000 old
publish "$T/old" late.img
eventually 10 has_image m late.img
proxy _script '[{"fault": "status", "path": "/v1/data/", "range": [30000000, 40000000]}]'
exec 7< "$T/m/late.img"
head -c 20000000 <&7 > "$T/open"
publish "$T/v1" late.img
I=$T/m/late.img
eventually 5 size_is 8000001
same_bytes "$T/v1" "$I"
proxy _script '[]'
cat <&7 >> "$T/open"
same_bytes "$T/old" "$T/open"

# While it is open nothing evicts it; closed, it may go, under the name that it
# was stored under.
rows() { "$STAGEFS_BIN" list -n -r -o NAME,ID,OPEN,PUBLISHED "$T/m" | grep '^late.img '; }
old=$(stat -L -c %i /proc/self/fd/7)
equal "$(rows | sort)" "$(printf 'late.img %s\n' "$old yes no" "$(stat -c %i "$I") no yes" | sort)"
refused 'open' "$STAGEFS_BIN" evict "$T/m" late.img
same_bytes "$T/old" /proc/self/fd/7
exec 7<&-
eventually 10 "$STAGEFS_BIN" evict "$T/m" late.img
rows && fail "still stored"
[ ! -e "$T/m.cache/data/$old" ] || fail "its file is still there"
same_bytes "$T/v1" "$I"
umount_fs m
