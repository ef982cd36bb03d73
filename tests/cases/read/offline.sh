#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The origin is out of reach: what is held is served, what is missing gives
# ETIMEDOUT after io-timeout, not before and nothing else; that it went and came
# is logged once each, and `stagefs status` says so.
. "$(dirname "$0")/../../lib/common.sh"

random_file "$T/held" 20000000 held
random_file "$T/cold" 20000000 cold
random_file "$T/more" 3000000 more
origin_start
publish "$T/held" held
publish "$T/cold" cold
mount_fs m
same_bytes "$T/held" "$T/m/held"
eventually 10 image_is m held complete
head -c 1000000 "$T/m/cold" > /dev/null
block_is_stored() { [ "$(xattr m cold cached_bytes)" -ge 1048576 ]; }
eventually 10 block_is_stored
end_fs m
origin_stop

# Mounted without it.
mount_fs m io-timeout=2s 2> "$T/warning"
grep -q warning "$T/warning" || fail "mounted without an origin and did not say so"
equal "$(status_of m '.sources[0].reachable')" false
forget_pages
same_bytes "$T/held" "$T/m/held"
equal "$(ls "$T/m")" "$(printf 'cold\nheld')"

# One block of an image may be there and the next missing.
"$TOOLS/preads" -o "$T/got" "$T/m/cold" 0 4096
cmp "$T/got" <(head -c 4096 "$T/cold")
start=$(date +%s%N)
equal "$("$TOOLS/preads" "$T/m/cold" 10485760 4096)" '1 ETIMEDOUT'
ms=$((($(date +%s%N) - start) / 1000000))
[ $ms -ge 1900 ] || fail "ETIMEDOUT after $ms ms"
# Fifty at a time: each waits by itself, none longer for the others.
"$TOOLS/preads" -d "$T/m/cold" 19922944 4096 > "$T/direct" &
direct=$!
equal "$("$TOOLS/preads" -t 50 -s 131072 "$T/m/cold" 10485760 4096)" '50 ETIMEDOUT'
wait $direct
equal "$(cat "$T/direct")" '1 ETIMEDOUT'
[ "$(status_of m .reads.timed_out)" -ge 3 ] || fail "not counted"
equal "$(status_of m .reads.failed)" 0
equal "$(status_of m .reads.parked)" 0
eventually 5 grep -q unreachable "$T/m.log"
equal "$(grep -c unreachable "$T/m.log")" 1 "log lines"

# A reader that waits when it comes back gets its bytes, and the mount catches
# up: names, descriptor.
end_fs m
: > "$T/m.log"
mount_fs m io-timeout=1h 2> /dev/null
sha256sum < "$T/m/cold" > "$T/cold.sum" &
reader=$!
PIDS+=($reader)
waits() { [ "$(status_of m .reads.parked)" -ge 1 ]; }
eventually 10 waits
origin_start
wait $reader
equal "$(cut -c 1-64 "$T/cold.sum")" "$(sum "$T/cold")"
publish "$T/more" more
eventually 20 has_image m more
same_bytes "$T/more" "$T/m/more"
equal "$(status_of m '.sources[0].reachable')" true
used() { prints '^[0-9]{8}' origin server list -n -o USED -b; }
eventually 20 used
equal "$(grep -c 'reachable again' "$T/m.log")" 1 "log lines"
equal "$(grep -c 'unreachable' "$T/m.log")" 1 "log lines"

# It goes while it is asked, three times; one line each way each time.
for n in 2 3; do
	origin_stop -KILL
	lines() { [ "$(grep -c "$2" "$T/m.log")" = "$1" ]; }
	eventually 20 lines $n unreachable
	origin_start
	eventually 30 lines $n 'reachable again'
done
umount_fs m
