#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An origin that may send no prefetch now (a rate of "none") holds it back for
# as long as that lasts; readers beside it, of the same image too, are served
# as ever (R5), nobody takes the origin for gone, and what is still wanted is
# staged as soon as the rate allows.
. "$(dirname "$0")/../../lib/common.sh"

for i in a b c; do random_file "$T/$i" 9000000 $i; done
origin_start --prefetch-rate none
for i in a b c; do publish "$T/$i" $i; done
mount_fs m io-timeout=10s
known() { origin server show m > /dev/null; }
eventually 20 known
for i in b c; do origin order prefetch m $i > /dev/null; done
asked() { [ "$(status_of m '[.orders[] | select(.state == "running")] | length')" = 2 ]; }
eventually 20 asked
sent() { curl -fsS "$URL/metrics" | awk '/^stagefs_origin_data_bytes_total{class="prefetch"}/ { print $2 }'; }

same_bytes "$T/a" "$T/m/a"
same_bytes "$T/b" "$T/m/b"
equal "$(sent)" 0 "prefetch that left"
equal "$(xattr m c cached_bytes)" 0
[ "$(origin order list --json | jq -r '.orders[].image' | grep -c '^c$')" = 1 ]
equal "$(status_of m '"\(.sources[0].reachable) \(.sources[0].failures) \(.fetched.stalls)"')" "true 0 0"
# The one that was read whole is staged: nothing of it is missing.
staged() { origin order list --all --json | jq -e ".orders[] | select(.image == \"$1\" and .state == \"done\")"; }
eventually 20 staged b

origin_stop
origin_start
eventually 60 staged c
image_is m c complete
same_bytes "$T/c" "$T/m/c"
