#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A new version under an old name, names that come and go: seen soon, and who has
# the old version open reads it to its end.
. "$(dirname "$0")/../../lib/common.sh"

random_file "$T/v1" 9000000 one
random_file "$T/v2" 7000000 two
origin init > /dev/null
origin image add "$T/v1" --name dir/image > /dev/null
origin_start
mount_fs m
I=$T/m/dir/image

# The kernel believes what it was told, in both ways.
refused 'No such file' stat "$T/m/later"
refused 'No such file' stat "$T/m/later"
equal "$(stat -c %s "$I")" 9000000
id1=$(stat -c %i "$I")

exec 7< "$I"
head -c 3000000 <&7 > "$T/got"
origin image add "$T/v2" --name dir/image > /dev/null
size_is() { [ "$(stat -c %s "$I")" = "$1" ]; }
eventually 10 size_is 7000000
[ "$(stat -c %i "$I")" != "$id1" ] || fail "a new version under the old id"
same_bytes "$T/v2" "$I"

# The open handle: the old version, also what had not been fetched.
cat <&7 >> "$T/got"
exec 7<&-
same_bytes "$T/v1" "$T/got"

# A name that was not there, one that goes, folders with it.
origin image add "$T/v1" --name later > /dev/null
eventually 10 has_image m later
origin image remove dir/image > /dev/null
missing() { ! [ -e "$T/m/$1" ]; }
eventually 10 missing dir/image
eventually 10 missing dir
equal "$(ls "$T/m")" later
umount_fs m
