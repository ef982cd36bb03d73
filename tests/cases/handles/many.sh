#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Handles that NFS clients keep stay good over everything: a kernel that forgot
# its inodes, a dead worker, a new mount, another server of the same origin. A
# made-up one is refused from memory, with no origin to ask.
. "$(dirname "$0")/../../lib/common.sh"

COUNT=${COUNT:-5000}
RANDOM_COUNT=${RANDOM_COUNT:-100000}
random_file "$T/image" 100000 image
origin_start
publish "$T/image" image
"$TOOLS/manyimages" "$STORE" image "$COUNT"
mount_fs m
mount_fs n
N=$(find "$T/m" | wc -l)
[ "$N" -gt "$COUNT" ] || fail "only $N names"
equal "$(find "$T/m" -mindepth 64 | wc -l)" 1 'one as deep as may be'
equal "$(ls -f "$T/m/flat" | wc -l)" $((COUNT / 10 + 2))

forget_inodes() { echo 2 > /proc/sys/vm/drop_caches; }
check()
{
	say "$2"
	equal "$("$TOOLS/handles" check "$T/$1" "$T/handles")" "$N handles" "$2"
}
equal "$("$TOOLS/handles" take "$T/m" "$T/handles")" "$N handles"
check m 'known'
forget_inodes
check m 'forgotten by the kernel'
old=$(worker_pid m)
kill -9 "$old"
check m 'the worker killed'
forget_inodes
check m 'the worker killed, and forgotten'
check n 'another server'
"$TOOLS/handles" take "$T/n" "$T/handles.n" > "$T/out"
cmp "$T/handles" "$T/handles.n"
end_fs m
mount_fs m
check m 'mounted again'

# From memory: with no origin, and nothing asked of it.
origin_stop
end_fs m
mount_fs m 2> "$T/warning"
check m 'mounted again without the origin'
requests() { status_of m '.fetched.requests | add'; }
before=$(requests)
say "$RANDOM_COUNT made up"
w=$(worker_pid m)
"$TOOLS/handles" random "$T/m" "$T/handles" "$RANDOM_COUNT" "$RANDOM"
equal "$(worker_pid m)" "$w" 'the worker survived'
equal "$(requests)" "$before" 'requests'
check m 'afterwards'
umount_fs m
umount_fs n
