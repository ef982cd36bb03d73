#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 15
# The origin's daemon is killed in the middle of a prefetch, and the connection
# breaks in the middle of another: the orders are delivered again, done once,
# and hardly a byte goes over the line twice. Verbs work while no daemon runs.
. "$(dirname "$0")/../../lib/common.sh"

for i in 1 2; do random_file "$T/i$i" 24000000 "$i"; done
origin_start --prefetch-rate 6M/s
publish "$T/i1" one.img
publish "$T/i2" two.img
proxy_start
mount_fs line3
eventually 20 origin server show line3
new_order() { "$@" | sed -n 's/^order \([0-9]*\): .*/\1/p'; }
order_is() { [ "$(origin order list --all --json | jq -r ".orders[] | select(.number == $1) | .state")" = "$2" ]; }
stored() { [ "$(xattr line3 "$1" cached_bytes)" -ge "$2" ] 2>/dev/null; }
events() { origin log --all --json | jq -r "[.log[] | select(.order == $1) | .event] | join(\" \")"; }

# ---- the daemon is killed, and comes back after a while
one=$(new_order origin order prefetch line3 one.img)
eventually 20 stored one.img 3000000
equal "$(order_is "$one" done && echo done || echo open)" open
before=$(origin_sent)
origin_stop -KILL
had=$(xattr line3 one.img cached_bytes)
# Nobody serves; people go on.
two=$(new_order origin order prefetch line3 two.img)
origin plan add --server line3 --image two.img --at "+3h" > /dev/null
origin order list --all > /dev/null
origin_start --prefetch-rate 6M/s
eventually 60 order_is "$one" done
same_bytes "$T/i1" "$T/line3/one.img"
equal "$(events "$one")" "ordered sent done"

# ---- the connection breaks
eventually 20 stored two.img 2000000
proxy _down '{"seconds": 1}'
eventually 60 order_is "$two" done
same_bytes "$T/i2" "$T/line3/two.img"
equal "$(events "$two")" "ordered sent done"
sent=$((before + $(origin_sent)))
say "$had bytes were there when the daemon was killed; $sent were sent for 48000000"
# What was under way at both breaks is asked for again.
[ "$sent" -lt 62000000 ] || fail "more than once over the line: $sent"
staged() { [ "$(origin plan list --json | jq -r '.plan[0].state')" = staged ]; }
eventually 20 staged
# Each is there once, and no order was given twice.
equal "$(origin order list --all --json | jq -r '[.orders[] | select(.kind == "prefetch") | .number] | join(" ")')" "$one $two"
umount_fs line3
