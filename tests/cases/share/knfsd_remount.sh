#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# The mount below an export of the kernel's NFS server is taken away and made
# anew: kernel clients, v3 and v4.2, wait meanwhile, because of the option mp,
# and go on; nobody is shown the empty folder beneath it, or told that his
# handle is stale.
. "$(dirname "$0")/../../lib/common.sh"
. "$TESTS/lib/uml.sh"
. "$TESTS/lib/knfsd.sh"

chmod 711 "$T" # squashed clients come through it
random_file "$T/image" 4000000 image
origin_start
publish "$T/image" image
mount_fs m
same_bytes "$T/image" "$T/m/image"
knfsd_start m
for v in 3 4.2; do
	station "v$v" $v
	same_bytes "$T/image" "$T/v$v/image"
done
exec 7< "$T/v3/image"
head -c 1000000 <&7 | cmp - <(head -c 1000000 "$T/image")
no_mount() { ! mountpoint -q "$T/m" && [ -z "$(supervisor_pid m)" ]; }
seconds() { cut -d . -f 1 /proc/uptime; }

kill "$(supervisor_pid m)"
eventually 20 no_mount
for v in v3 v4.2; do
	dd if="$T/$v/image" iflag=direct bs=64k status=none > "$T/got.$v" 2> "$T/said.$v" &
	eval "reader_${v/./_}=$!"
done
PIDS+=("$reader_v3" "$reader_v4_2")
sleep 3
kill -0 "$reader_v3" "$reader_v4_2" || fail "somebody did not wait: $(cat "$T"/said.*)"
mount_fs m
there=$(seconds)
# What the kernel has asked mountd about the mount that was not there it asks
# again after two minutes, or a new mountd.
kill "$(pgrep -x rpc.mountd)"
eventually 10 eval '! pgrep -x rpc.mountd'
rpc.mountd 2> /dev/null 7<&-
for v in v3 v4.2; do
	pid=reader_${v/./_}
	wait "${!pid}" || fail "$v: $(cat "$T/said.$v")"
	same_bytes "$T/image" "$T/got.$v"
	say "$v went on after $(($(seconds) - there)) s"
done
# Handles of v3 stay good.
cmp - <(tail -c +1000001 "$T/image") <&7
exec 7<&-
for v in v3 v4.2; do eventually 30 umount "$T/$v"; done
knfsd_stop
umount_fs m
