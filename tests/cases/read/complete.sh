#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: tsan
# R9: with serve=complete no byte is served before all blocks are there. The
# origin refuses the block in the middle until the test has looked.
. "$(dirname "$0")/../../lib/common.sh"

BYTES=30000000
random_file "$T/image" $BYTES image
origin_start
publish "$T/image" image
proxy_start
proxy _script '[{"fault": "status", "status": 503, "path": "/v1/data/", "range": [15728640, 15728640]}]'
mount_fs m serve=complete,fill-after=never
I=$T/m/image

# What the first reader gets first, and how much was stored when it got it.
(
	head -c 1 > "$T/first"
	xattr m image cached_bytes > "$T/at.first"
	cat >> "$T/first"
) < "$I" &
reader=$!
sha256sum < "$I" > "$T/second.sum" &
second=$!
PIDS+=($reader $second)

stored_is() { [ "$(xattr m image cached_bytes)" -ge "$1" ]; }
refused_is() { [ "$(proxy _log | jq '.rules[0].hits')" -ge 3 ]; }
eventually 30 refused_is
eventually 30 stored_is $((BYTES / 4))
[ "$(xattr m image state)" != complete ] || fail "complete without a block"
[ ! -s "$T/first" ] || fail "a byte was served before the image was complete"
[ ! -s "$T/second.sum" ] || fail "the second reader was served"
# Stored blocks wait as well.
[ "$(status_of m .reads.parked)" -gt 0 ] || fail "nobody waits"
ls -l "$T/m" > /dev/null

proxy _script '[]'
wait $reader
wait $second
equal "$(cat "$T/at.first")" $BYTES "bytes stored when the first byte was served"
same_bytes "$T/image" "$T/first"
equal "$(cut -c 1-64 "$T/second.sum")" "$(sum "$T/image")"
image_is m image complete || fail "not complete"
umount_fs m

# Where it has no room, complete cannot be waited for: it streams (C5).
mount_fs n serve=complete,capacity=16M
same_bytes "$T/image" "$T/n/image"
umount_fs n
