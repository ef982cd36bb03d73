#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A handle means its version for ever: after the name has got another one it
# reads the old bytes as long as origin or cache have them, then it is stale.
. "$(dirname "$0")/../../lib/common.sh"

for v in 1 2 3 4; do random_file "$T/v$v" 5000000 "v$v"; done
origin_start
publish "$T/v1" dir/image
mount_fs m

id_of() { stat -c %i "$T/m/$1"; }
changed() { [ "$(id_of dir/image)" != "$1" ]; }
take() { "$TOOLS/handles" take "$T/m" "$T/h$1" > "$T/out" && id[$1]=$(id_of dir/image); }
cat_handle() { "$TOOLS/handles" cat "$T/m" "$T/h$1" "${id[$1]}"; }
reads() { cat_handle "$1" | cmp - "$T/v$1"; }
replace() # by VERSION, OPTIONS...
{
	local old
	old=$(id_of dir/image)
	origin image add "$T/v$1" --name dir/image "${@:2}" > /dev/null 2>&1
	eventually 10 changed "$old"
	same_bytes "$T/v$1" "$T/m/dir/image"
}
forget_inodes() { echo 2 > /proc/sys/vm/drop_caches; }
serves() { [ "$(worker_pid m)" != "$1" ] && status_of m .name; }
kill_worker()
{
	local old
	old=$(worker_pid m)
	kill -9 "$old"
	eventually 10 serves "$old"
}
declare -a id

# The origin keeps it (a day, unless told otherwise), nothing of it is cached.
take 1
replace 2
take 2
forget_inodes
equal "$(xattr m dir/image state)" complete
reads 1
kill_worker
forget_inodes
reads 1
[ "$(id_of dir/image)" = "${id[2]}" ] || fail "the name"

# The origin has dropped it, the cache has all of it.
replace 3 --keep 0s
publish "$T/v3" dir/image # nothing new: sweeps the store
equal "$(find "$STORE/objects" -type f | wc -l)" 2 'v1 and v3'
kill_worker
forget_inodes
reads 2

# Nobody but the cache knows it any more: the catalog is fetched anew, and says
# nothing of what was replaced.
end_fs m
rm "$T/m.cache/catalog"
mount_fs m
reads 2
reads 1 # stored meanwhile
same_bytes "$T/v3" "$T/m/dir/image"

# Neither has it.
take 3
end_fs m
rm -r "$T/m.cache"
mount_fs m
for v in 1 2; do refused 'open: Stale' cat_handle "$v"; done
cat_handle 3 | cmp - "$T/v3"

# Known, but nobody has its bytes: the handle opens, its bytes are stale.
publish "$T/v4" other
eventually 10 has_image m other
id[4]=$(id_of other)
"$TOOLS/handles" take "$T/m" "$T/h4" > "$T/out"
origin image remove other > /dev/null
gone() { ! has_image m other; }
eventually 10 gone
forget_inodes
refused 'read: Stale' cat_handle 4
umount_fs m
