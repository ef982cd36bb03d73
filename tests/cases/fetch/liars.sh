#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Sources that give wrong bytes, right bytes of another place, or another
# manifest, and do not stop: the other source is asked; without one the reader
# gets EIO, at once, and no byte that is wrong (R1).
. "$(dirname "$0")/../../lib/common.sh"

for i in flip shift part manifest good; do
	random_file "$T/$i" 9000000 $i
done
random_file "$T/other" 9000000 other
origin init > /dev/null
for i in flip shift part manifest good other; do publish "$T/$i" $i; done
digest() { origin image show --json "$1" | jq -r .image.digest; }
origin_start
proxy_start
proxy _script "[
  {\"fault\": \"flip\", \"path\": \"/v1/data/$(digest flip)\"},
  {\"fault\": \"shift\", \"path\": \"/v1/data/$(digest shift)\"},
  {\"fault\": \"flip\", \"path\": \"/v1/data/$(digest part)\", \"range\": [5242880, 5242880]},
  {\"fault\": \"replace\", \"path\": \"/v1/manifests/$(digest manifest)\",
   \"with\": \"/v1/manifests/$(digest other)\"}]"

# The liar alone.
mount_fs alone
for i in flip shift manifest; do
	refused 'Input/output error' cat "$T/alone/$i"
	# What came before the error is right.
	cmp -n "$(stat -c %s "$T/refused.out")" "$T/refused.out" "$T/$i"
	[ "$(xattr alone $i state)" != complete ] || fail "$i: complete?"
done
same_bytes "$T/good" "$T/alone/good"
# One who tries again and again fills no log: NFS servers open and close around
# every read.
head -c 1 "$T/alone/part" > /dev/null
for _ in $(seq 20); do
	! dd if="$T/alone/part" bs=1M skip=5 count=1 of=/dev/null 2> /dev/null ||
		fail "wrong bytes were served"
done
lines=$(grep -c 'read: part: .*no source has right bytes' "$T/alone.log")
[ "$lines" -le 2 ] || fail "$lines lines about one image within a minute"
eventually 10 grep -q 'sent a wrong block' "$T/alone.log"
eventually 10 grep -q 'sent a wrong manifest' "$T/alone.log"
umount_fs alone

# The liar first, an honest one second.
MOUNT_URL=$MOUNT_URL,$URL
mount_fs both
for i in flip shift manifest good; do
	same_bytes "$T/$i" "$T/both/$i"
	eventually 20 image_is both $i complete
done
umount_fs both
