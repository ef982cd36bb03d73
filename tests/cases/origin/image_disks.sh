#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Stores on file systems of their own: one that is too small (a clear error,
# nothing left behind, room again afterwards), and one with reflinks.
. "$(dirname "$0")/../../lib/common.sh"

# loop_fs MKFS MIB: at $T/disk.
loop_fs()
{
	truncate -s "$2M" "$T/$1.img"
	"$1" -q "$T/$1.img"
	mkdir -p "$T/disk"
	mount -o loop "$T/$1.img" "$T/disk"
}

loop_fs mkfs.ext4 64
STORE=$T/disk/store
origin init > /dev/null
random_file "$T/fits" 20000000 1
origin image add "$T/fits" --name fits > /dev/null
random_file "$T/large" 60000000 2
refused "disk is full: .* needs 57.2M" origin image add "$T/large" --name large
equal "$(origin image list --json | jq '.images | length')" 1
equal "$(ls "$STORE/incoming" | wc -l)" 0
equal "$(ls "$STORE/objects" | wc -l)" 1

# Room goes away while it copies: another writer, and delayed allocation.
random_file "$T/half" 30000000 3
for left in 1 4 12 24; do
	fallocate -l "$((40 - left))M" "$T/disk/ballast" ||
		head -c "$((40 - left))M" /dev/zero > "$T/disk/ballast" || :
	refused "disk is full" origin image add "$T/half" --name half
	equal "$(ls "$STORE/incoming" | wc -l)" 0
	rm -f "$T/disk/ballast"
done
origin image add "$T/half" --name half > /dev/null
origin image verify > /dev/null
umount "$T/disk"

command -v mkfs.btrfs > /dev/null || { say "no mkfs.btrfs: no reflinks"; exit 0; }
loop_fs mkfs.btrfs 200 2> "$T/mkfs.err" ||
	{ say "this kernel has no btrfs: no reflinks"; exit 0; }
STORE=$T/disk/store
origin init > /dev/null
# Two of them would not fit.
random_file "$T/disk/image" 110000000 4
truncate -s 115000000 "$T/disk/image"
cp --reflink=always "$T/disk/image" "$T/disk/kept"
prints reflinked origin image add "$T/disk/image" --name image
digest=$(origin image list --json | jq -r '.images[0].digest')
printf 'XX' | dd of="$T/disk/image" bs=1 conv=notrunc status=none
same_bytes "$T/disk/kept" "$STORE/objects/$digest"
origin image verify > /dev/null
