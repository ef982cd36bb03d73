#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# C6, C3: somebody else takes the space of the cache's disk, before, while and
# until nothing is left. Reads go on with right bytes; nobody sees an error; what
# min-free asks for is kept; and when there is room again, it is used again.
. "$(dirname "$0")/../../lib/common.sh"

BYTES=20000000
IMAGES=8
for i in $(seq $IMAGES); do random_file "$T/i$i" $BYTES "$i"; done
origin_start
for i in $(seq $IMAGES); do publish "$T/i$i" "i$i"; done
M=$T/m

truncate -s 160M "$T/disk.img"
mkfs.ext4 -q -m 0 "$T/disk.img"
mkdir "$T/disk"
mount -o loop "$T/disk.img" "$T/disk"
avail() { df -B1 --output=avail "$T/disk" | tail -n 1; }
# Another one leaves so much.
leave() { fallocate -l $(($(avail) - $1)) "$T/disk/other.$RANDOM"; }
leave_nothing()
{
	leave 2000000 || : # others take it meanwhile
	cat /dev/zero > "$T/disk/other.rest" 2> /dev/null || :
	sync -f "$T/disk"
}
make_room() { rm -f "$T/disk"/other.*; }
read_complete() { cat "$M/$1" > /dev/null; image_is m "$1" complete; }
no_errors()
{
	equal "$(status_of m .reads.failed)" 0 "reads that failed"
	equal "$(status_of m .reads.timed_out)" 0
}

# 1. min-free is kept, whatever capacity allows.
mount_fs m "cache=$T/disk/cache,capacity=10G,min-free=40M"
for i in 1 2 3 4; do
	same_bytes "$T/i$i" "$M/i$i"
	eventually 10 image_is m "i$i" complete
	[ "$(avail)" -ge $((40 << 20)) ] || fail "$(avail) bytes are free, min-free is 40M"
done
# df of the mount tells what may still come, not what capacity says.
[ "$(df -B1 --output=avail "$M" | tail -n 1)" -le "$(avail)" ] || fail "df promises too much"

# 2. Somebody takes it: what is stored is read, what is not goes by.
leave $((10 << 20))
same_bytes "$T/i5" "$M/i5"
for i in 1 2 3 4; do same_bytes "$T/i$i" "$M/i$i"; done
[ "$(avail)" -ge $((9 << 20)) ] || fail "took more below min-free: $(avail)"
no_errors
make_room
same_bytes "$T/i6" "$M/i6"
eventually 20 read_complete i6
end_fs m

# 3. To the last byte, in the middle of reading; min-free=0.
rm -r "$T/disk/cache"
proxy_start
proxy _cap '{"rate": 20000000}'
mount_fs m "cache=$T/disk/cache,capacity=10G,min-free=0,fill-after=0"
sha256sum < "$M/i1" > "$T/sum" &
reader=$!
PIDS+=($reader)
stored_is() { [ "$(xattr m i1 cached_bytes)" -ge "$1" ]; }
eventually 20 stored_is 5000000
leave_nothing
wait $reader
equal "$(cut -c 1-64 "$T/sum")" "$(sum "$T/i1")"
proxy _cap '{"rate": 0}'
for i in 2 3 1; do same_bytes "$T/i$i" "$M/i$i"; done
no_errors
ls -lR "$M" > /dev/null
make_room
eventually 30 read_complete i4
same_bytes "$T/i4" "$M/i4"

# 4. A full disk at the next mount: what is stored is served.
leave_nothing
end_fs m
mount_fs m "cache=$T/disk/cache,capacity=10G,min-free=0"
same_bytes "$T/i4" "$M/i4"
same_bytes "$T/i7" "$M/i7"
no_errors
end_fs m
leave_nothing
# A first one has no room for its index; nor is anything written on a disk that
# has gone read-only. Both say what to do.
refused 'its disk is full: make some room there, or give another cache=' \
	mount_fs n "cache=$T/disk/first"
make_room
mount -o remount,ro "$T/disk"
refused 'its disk is read-only: remount it, or give another cache=' \
	mount_fs m "cache=$T/disk/cache"
umount "$T/disk"
