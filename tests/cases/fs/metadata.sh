#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# LOOKUP, GETATTR, READDIR, STATFS, xattrs, handles: from memory, also with the
# origin gone (R8); every write gets EROFS.
. "$(dirname "$0")/../../lib/common.sh"

random_file "$T/a" 3000000 a
random_file "$T/b" 1 b
: > "$T/empty"
origin init > /dev/null
origin image add "$T/a" --name win11/base.wim > /dev/null
origin image add "$T/b" --name win11/de/boot.wim > /dev/null
origin image add "$T/empty" --name empty > /dev/null
for i in $(seq -w 40); do echo "$i" > "$T/n$i"; origin image add "$T/n$i" --name "many/file $i.iso"; done > /dev/null
origin_start
mount_fs m
M=$T/m
origin_stop

# A tree with the right sizes, links, modes; sorted; . and ..
equal "$(ls "$M")" "$(printf 'empty\nmany\nwin11')"
equal "$(stat -c '%s %A %h' "$M/win11/base.wim")" '3000000 -r--r--r-- 1'
equal "$(stat -c '%A %h' "$M/win11")" 'dr-xr-xr-x 3'
equal "$(stat -c '%A %h' "$M")" 'dr-xr-xr-x 4'
equal "$(stat -c %s "$M/empty")" 0
equal "$(ls -U "$M/many" | wc -l)" 40
equal "$(ls -U "$M/many")" "$(ls "$M/many")" "readdir is not sorted"
equal "$(stat -c %i "$M/win11/..")" "$(stat -c %i "$M")"
equal "$(stat -c %i "$M/win11/de/..")" "$(stat -c %i "$M/win11")"
equal "$(stat -c %i "$M")" 1
equal "$(find "$M" | wc -l)" 47

# The inode number is the origin's id, in stat and in readdir.
id=$(getfattr --only-values -n user.stagefs.id "$M/win11/base.wim")
equal "$(stat -c %i "$M/win11/base.wim")" "$id"
equal "$(ls -i "$M/win11" | awk '$2 == "base.wim" { print $1 }')" "$id"

# What is not there.
for p in nothing win11/nothing many/nothing/deeper; do
	refused 'No such file' stat "$M/$p"
done
refused 'Not a directory' stat "$M/empty/x"
refused 'File name too long' stat "$M/$(printf 'x%.0s' {1..256})"

# Attributes. Nothing is stored yet.
equal "$(getfattr --only-values -n user.stagefs.state "$M/win11/base.wim")" absent
equal "$(getfattr --only-values -n user.stagefs.cached_bytes "$M/win11/base.wim")" 0
equal "$(getfattr --only-values -n user.stagefs.size "$M/win11/base.wim")" 3000000
equal "$(getfattr --only-values -n user.stagefs.block_size "$M/win11/base.wim")" 1048576
prints '^[0-9a-f]{64}$' getfattr --only-values -n user.stagefs.digest "$M/win11/base.wim"
equal "$(stat -c %b "$M/win11/base.wim")" 0
for x in user.DOSATTRIB user.stagefs.nothing user.stagefs.held_until; do
	refused 'No such attribute' getfattr -n "$x" "$M/win11/base.wim"
done
refused 'No such attribute' getfattr -n user.stagefs.digest "$M/win11"
prints user.stagefs.id getfattr -d "$M/win11"

# df tells the cache's capacity.
equal "$(df --output=size -B1 "$M" | tail -1 | tr -d ' ')" $((1 << 30))
[ "$(df --output=used -B1 "$M" | tail -1)" -lt 4000000 ] || fail "df: used"

# Read-only, at the VFS and behind it.
refused 'Read-only' touch "$M/x"
refused 'Read-only' mkdir "$M/d"
refused 'Read-only' rm "$M/empty"
refused 'Read-only' rmdir "$M/many"
refused 'Read-only' mv "$M/empty" "$M/e"
refused 'Read-only' ln -s a "$M/l"
refused 'Read-only' chmod 600 "$M/empty"
refused 'Read-only' truncate -s 1 "$M/empty"
refused 'Read-only' setfattr -n user.x -v y "$M/empty"
refused 'Read-only' dd if=/dev/zero of="$M/empty" bs=1 count=1 conv=notrunc status=none

# The same once more with the mount made writable at the VFS.
mount -i -o remount,rw "$M"
refused 'Read-only' touch "$M/x"
refused 'Read-only' mkdir "$M/d"
refused 'Read-only' rm "$M/empty"
refused 'Read-only' rmdir "$M/many"
refused 'Read-only' mv "$M/empty" "$M/e"
refused 'Read-only' ln -s a "$M/l"
refused 'Read-only' ln "$M/empty" "$M/l"
refused 'Read-only' chmod 600 "$M/empty"
refused 'Read-only' truncate -s 1 "$M/empty"
refused 'Read-only' setfattr -n user.x -v y "$M/empty"
refused 'Read-only' mkfifo "$M/f"
refused 'Read-only' dd if=/dev/zero of="$M/empty" bs=1 count=1 conv=notrunc status=none

# Handles of files and folders open again after the kernel forgot everything.
"$STAGEFS_BUILD/tools/reopen" "$M" "$M/win11/base.wim" "$M/win11/de/boot.wim" \
	"$M/empty" "$M/win11/de" "$M/many" "$M"

# Reading an empty file asks nobody, origin or not.
equal "$(wc -c < "$M/empty")" 0
umount_fs m
