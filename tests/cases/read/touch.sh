#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# R7: looking into images pulls what is looked at; reading on pulls the rest,
# also if the reader leaves.
. "$(dirname "$0")/../../lib/common.sh"

IMAGES=3
BYTES=62914560
origin_start
for i in $(seq $IMAGES); do
	random_file "$T/i$i" $BYTES "$i"
	publish "$T/i$i" "many/i$i"
done
cp /usr/lib/ipxe/ipxe.iso "$T/iso"
truncate -s 50M "$T/iso"
publish "$T/iso" boot.iso
mount_fs m

# What `file *`, a thumbnailer and an indexer do; with the default of fill-after.
file "$T/m/many"/* "$T/m/boot.iso" > "$T/file.out"
grep -q 'boot.iso: .*ISO 9660' "$T/file.out" || fail "file(1): $(cat "$T/file.out")"
for i in $(seq $IMAGES); do
	cmp <(head -c 4096 "$T/m/many/i$i") <(head -c 4096 "$T/i$i")
	cmp <(tail -c 4096 "$T/m/many/i$i") <(tail -c 4096 "$T/i$i")
done
[ "$(origin_sent)" -ge $((IMAGES * (14 << 20))) ] || fail "looks cost nothing?"

# The same again and again, each time from the cache's disk, costs nothing.
for _ in 1 2 3; do
	forget_pages
	file "$T/m/many"/* > /dev/null
done
eventually 10 quiet m
# file(1) reads 7 MiB of the beginning and 7 of the end, the kernel at most one
# more each time, in whole blocks.
sent=$(origin_sent)
[ "$sent" -le $(((IMAGES + 1) * (18 << 20))) ] ||
	fail "$sent bytes left the origin for looks into $IMAGES images"
for i in $(seq $IMAGES); do equal "$(xattr m "many/i$i" state)" partial; done
end_fs m
rm -r "$T/m.cache"

# A first and a last block alone.
mount_fs m
before=$(origin_sent)
for i in $(seq $IMAGES); do
	"$TOOLS/preads" -d "$T/m/many/i$i" 0 4096 > /dev/null
	"$TOOLS/preads" -d "$T/m/many/i$i" $((BYTES - 4096)) 4096 > /dev/null
done
equal $(($(origin_sent) - before)) $((IMAGES * (2 << 20)))

# From fill-after on it fills although the reader has left.
head -c $((33 << 20)) "$T/m/many/i1" > /dev/null
eventually 20 image_is m many/i1 complete
equal "$(xattr m many/i2 state)" partial
same_bytes "$T/i1" "$T/m/many/i1"

# A reader that opens it for each piece, as an NFS server may, gets there too.
for n in $(seq 0 33); do
	dd if="$T/m/many/i2" bs=1M skip="$n" count=1 status=none > /dev/null
done
eventually 20 image_is m many/i2 complete
end_fs m
rm -r "$T/m.cache"

# fill-after=0: one byte is enough.
mount_fs m fill-after=0
head -c 1 "$T/m/many/i1" > /dev/null
eventually 20 image_is m many/i1 complete
end_fs m
rm -r "$T/m.cache"

# fill-after=never, or a huge one: whatever is read, nothing else comes.
for value in never 1T; do
	mount_fs m fill-after=$value
	before=$(origin_sent)
	cmp <(head -c 10485760 "$T/m/many/i1") <(head -c 10485760 "$T/i1")
	eventually 10 quiet m
	sent=$(($(origin_sent) - before))
	# The kernel reads ahead a little.
	[ "$sent" -le $((12 << 20)) ] || fail "fill-after=$value: $sent bytes"
	sleep 1
	equal $(($(origin_sent) - before)) "$sent" "fill-after=$value"
	equal "$(xattr m many/i1 state)" partial
	# Read whole, it is whole.
	same_bytes "$T/i1" "$T/m/many/i1"
	eventually 10 image_is m many/i1 complete
	end_fs m
	rm -r "$T/m.cache"
done
