#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# R5, R3: while the front of an image is read over a slow line, a read of its
# end is answered before the front is anywhere near it, and the front goes on.
. "$(dirname "$0")/../../lib/common.sh"

MIB=512
! sanitized || MIB=256
# Each MiB begins with its number; the rest are holes.
/usr/bin/python3 - "$T/image" $MIB << 'END'
import sys
with open(sys.argv[1], "wb") as f:
    f.truncate(int(sys.argv[2]) << 20)
    for i in range(int(sys.argv[2])):
        f.seek(i << 20)
        f.write(b"block %d\n" % i * 400)
END
origin_start
publish "$T/image" image
proxy_start
proxy _cap '{"rate": 20000000}'
mount_fs m capacity=2G
I=$T/m/image

sha256sum < "$I" > "$T/front.sum" &
front=$!
PIDS+=($front)
stored_is() { [ "$(xattr m image cached_bytes)" -ge "$1" ]; }
eventually 60 stored_is 10000000
tail -c 1048576 "$I" > "$T/tail"
stored=$(xattr m image cached_bytes)
kill -0 $front || fail "the front was complete before the end was answered"
[ "$stored" -lt $((MIB << 19)) ] || fail "$stored bytes were fetched before the end was answered"
cmp "$T/tail" <(tail -c 1048576 "$T/image")

# Somewhere in the middle too, and behind it is not fetched before the front.
"$TOOLS/preads" -o "$T/middle" "$I" $(((MIB / 2) << 20)) 4096
cmp "$T/middle" <(tail -c +$((((MIB / 2) << 20) + 1)) "$T/image" | head -c 4096)
stored=$(xattr m image cached_bytes)
kill -0 $front
[ "$stored" -lt $((MIB << 19)) ] || fail "$stored bytes were fetched before the middle was answered"

# The front goes on, the line gets better, all of it is right.
eventually 60 stored_is $((stored + 20000000))
proxy _cap '{"rate": 0}'
wait $front
equal "$(cut -c 1-64 "$T/front.sum")" "$(sum "$T/image")"
eventually 30 image_is m image complete
memory_bounded m
sent=$(origin_sent)
[ $((sent * 100)) -le $(((MIB << 20) * 101)) ] || fail "$sent bytes left the origin"
umount_fs m
