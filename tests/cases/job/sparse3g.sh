#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 15
# A raw disk of 3 GiB, most of it holes, with a file system in it: what an
# imaging appliance writes to a station's disk.
. "$(dirname "$0")/../../lib/common.sh"

GIB=3
! sanitized || GIB=1
SIZE=$((GIB << 30))

# The file system, with some files.
mkdir "$T/disk" "$T/content"
for i in $(seq 20); do random_file "$T/content/file$i" $((i * 300000)) "$i"; done
mkdir "$T/content/folder"
ln -s ../file1 "$T/content/folder/link"
truncate -s $SIZE "$T/disk.img"
mkfs.ext4 -q -F -d "$T/content" -E lazy_itable_init=1,hash_seed=1b1b1b1b-2c2c-3d3d-4e4e-5f5f5f5f5f5f "$T/disk.img"
allocated=$(($(stat -c '%b * %B' "$T/disk.img")))
[ "$allocated" -lt $((500 << 20)) ] || fail "the source is not sparse"

origin init > /dev/null
origin image add "$T/disk.img" --name disks/line.img > /dev/null
stored=$(($(du -s --block-size=1 "$STORE/objects" | cut -f 1)))
[ "$stored" -lt $((allocated + (64 << 20))) ] ||
	fail "the store took $stored for $allocated allocated"
origin_start
mount_fs m capacity=4G
I=$T/m/disks/line.img
equal "$(stat -c %s "$I")" $SIZE

# Cold, front to back, while the source is read beside it.
cmp "$T/disk.img" "$I"
eventually 20 image_is m disks/line.img complete
memory_bounded m
sent=$(origin_sent)
[ "$sent" -le $((SIZE / 100 * 101)) ] || fail "$sent bytes left the origin"

# As a disk: clean, and its files are right.
loop=$(losetup --show -r -f "$I")
status=0
e2fsck -fn "$loop" > "$T/e2fsck.log" 2>&1 || status=$?
losetup -d "$loop"
equal $status 0 "e2fsck: $(cat "$T/e2fsck.log")"
mount -o loop,ro,noload "$I" "$T/disk"
rmdir "$T/disk/lost+found" 2>/dev/null || :
diff -r --exclude=lost+found "$T/content" "$T/disk"
equal "$(readlink "$T/disk/folder/link")" ../file1
umount "$T/disk"
equal "$(origin_sent)" "$sent" "a complete image was transferred again"
detached() { [ -z "$(losetup -O BACK-FILE -n -j "$I")" ]; }
eventually 10 detached
umount_fs m
