#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# serial: it changes a limit of the kernel for all
# On a machine with little memory the kernel would let a worker that is not root
# have few background requests (max_user_bgreq): a dozen slow cold reads would
# hold up look-ahead of every other file. The supervisor lifts that.
. "$(dirname "$0")/../../lib/common.sh"

limit=/sys/module/fuse/parameters/max_user_bgreq
connections=/sys/fs/fuse/connections
[ -w $limit ] || exit 77
was=$(cat $limit)
mounted=
restore()
{
	echo "$was" > $limit
	[ -z "$mounted" ] || umount $connections
}
trap 'restore; case_end' EXIT
if ! mountpoint -q $connections; then
	mount -t fusectl none $connections || exit 77
	mounted=1
fi

chmod 755 "$T"
random_file "$T/a" 3000000 a
origin_start
publish "$T/a" a
echo 100 > $limit
mount_fs m user=nobody
of="$connections/$(stat -c %Ld "$T/m")"
equal "$(cat "$of/max_background")" 32768
equal "$(cat "$of/congestion_threshold")" 32768
same_bytes "$T/a" "$T/m/a"
# It stays so with the next worker.
kill_worker m
equal "$(cat "$of/max_background")" 32768
umount_fs m
