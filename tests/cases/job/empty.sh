#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An image of no bytes: nobody stores anything of it, so it is complete
# everywhere and from its beginning; who waits for it does not wait for ever.
. "$(dirname "$0")/../../lib/common.sh"

: > "$T/empty"
origin_start
publish "$T/empty" empty.img
mount_fs m
eventually 20 has_image m empty.img
equal "$(stat -c %s "$T/m/empty.img")" 0
same_bytes "$T/empty" "$T/m/empty.img"
equal "$(xattr m empty.img state)" complete
timeout 60 "$STAGEFS_BIN" fetch "$T/m" empty.img
equal "$("$STAGEFS_BIN" why "$T/m" empty.img)" 'empty.img: empty: there is nothing to store of it'
refused 'empty.img: not stored here' "$STAGEFS_BIN" evict "$T/m" empty.img

# By order, and by plan: also of a server that has not reported in yet.
eventually 20 origin server show m
origin order prefetch m empty.img > /dev/null
order_is() { [ "$(origin order list m --all --json | jq -r '.orders[0].state')" = "$1" ]; }
eventually 20 order_is done
origin plan add --server m --image empty.img --at +1h > /dev/null
staged() { [ "$(origin plan list --json | jq -r '.plan[0].dates[0].state // .plan[0].state')" = staged ]; }
eventually 20 staged
origin plan check
umount_fs m
