#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A thousand reads wait while a stored image is read (R4), their client is killed
# and gone at once, the mount is unmounted; and they all end when the origin
# comes back.
. "$(dirname "$0")/../../lib/common.sh"

truncate -s 1100M "$T/big"
random_file "$T/stored" 30000000 stored
origin init > /dev/null
origin image add "$T/big" --name big > /dev/null
origin image add "$T/stored" --name stored > /dev/null
origin_start
mount_fs m io-timeout=1h,capacity=3G,fill-after=never,memory=64M
same_bytes "$T/stored" "$T/m/stored"
origin_stop

parked() { [ "$(stagefs status --metrics "$T/m" | awk '$1 ~ /^stagefs_(reads_)?parked/ { print $2 }')" -ge "$1" ]; }

"$STAGEFS_BUILD/tools/parkedreads" "$T/m/big" 1000 > "$T/parked.out" &
reader=$!
PIDS+=($reader)
eventually 30 parked 1000

# A read that hits: through the page cache, past it, with read-ahead. Without
# R4 it would wait for an hour.
echo 1 > /proc/sys/vm/drop_caches
timeout 60 cmp "$T/stored" "$T/m/stored" || fail "a stored image waits behind parked reads"
timeout 60 dd if="$T/m/stored" bs=1M iflag=direct status=none | cmp - "$T/stored"
timeout 20 ls -lR "$T/m" > /dev/null
threads=$(ls /proc/$(pgrep -f "stagefs worker.*$T/m ")/task | wc -l)
[ "$threads" -lt 100 ] || fail "$threads threads"

# The origin comes back: all of them get their bytes.
origin_start
wait $reader || fail "$? of the parked reads failed: $(sort "$T/parked.out" | uniq -c)"
origin_stop

# Killed while it waits: gone, and the mount goes as well.
# The kernel tells of the last close a little later.
eventually 10 "$STAGEFS_BIN" evict "$T/m" big
echo 1 > /proc/sys/vm/drop_caches
"$STAGEFS_BUILD/tools/parkedreads" "$T/m/big" 1000 > "$T/parked.out" &
reader=$!
eventually 30 parked 1000
kill -9 $reader
wait $reader 2>/dev/null || :
"$STAGEFS_BIN" umount "$T/m"
