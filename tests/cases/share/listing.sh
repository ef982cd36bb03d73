#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Images published while stations list the folder are in the next listing, and
# each one stays there. Ganesha's own cache of names forgets that a folder has
# changed if the change comes between two of its looks at the folder's times:
# hence Dir_Chunk = 0 in packaging/share/ganesha.conf. Without that line this
# case fails in most runs.
. "$(dirname "$0")/../../lib/common.sh"
. "$TESTS/lib/share.sh"

random_file "$T/a" 100000 a
origin_start
publish "$T/a" first
mount_fs m
share_start m
ganesha_start

loops=()
at_end() { kill "${loops[@]}" 2> /dev/null; }
list() { in_share timeout 60 nfs-ls "nfs://127.0.0.1/images/?version=$1"; }
lists_it() { prints " $1\$" list 4; }
for v in 4 3; do
	while [ ! -e "$T/enough" ]; do list $v > /dev/null; done & loops+=($!)
done
for i in $(seq 15); do
	publish "$T/a" "new$i"
	eventually 10 lists_it "new$i"
done
touch "$T/enough"
wait "${loops[@]}"
for v in 4 3; do
	equal "$(list $v | wc -l)" 16
done
share_end
umount_fs m
