#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# The worker dies and is replaced while kernel clients read through the
# kernel's NFS server, v3 and v4.2, what is stored and what is on its way: they
# see a pause, no error and no wrong byte, though this kernel (6.1) cannot
# repeat what the dead worker had taken.
. "$(dirname "$0")/../../lib/common.sh"
. "$TESTS/lib/uml.sh"
. "$TESTS/lib/knfsd.sh"

random_file "$T/stored" 4000000 stored
random_file "$T/cold" 16000000 cold
origin_start
publish "$T/stored" stored
publish "$T/cold" cold
proxy_start
mount_fs m io-timeout=120s
same_bytes "$T/stored" "$T/m/stored"
knfsd_start m
station v3 3
station v4.2 4.2
proxy _cap '{"rate": 1000000}'

# Past the client's page cache; the server's goes now and then.
readers=()
for v in v3 v4.2; do
	exec {fd}< "$T/$v/stored"
	eval "fd_${v//./_}=$fd"
	(while [ ! -e "$T/enough" ]; do
		dd if="$T/$v/stored" iflag=direct bs=64k status=none | cmp - "$T/stored"
		echo . >> "$T/rounds.$v"
		ls -l "$T/$v" > /dev/null
	done) 2> "$T/reader.$v.log" &
	readers+=($!)
	cmp "$T/$v/cold" "$T/cold" 2> "$T/cold.$v.log" &
	readers+=($!)
done
PIDS+=("${readers[@]}")
for i in 1 2 3 4 5 6; do
	kill_worker m
	echo 3 > /proc/sys/vm/drop_caches
	[ $((i % 3)) != 0 ] || "$STAGEFS_BIN" upgrade "$T/m"
done
twice() { [ "$(wc -l < "$T/rounds.$1")" -ge 2 ]; }
for v in v3 v4.2; do eventually 60 twice $v; done
proxy _cap '{"rate": 0}'
touch "$T/enough"
for pid in "${readers[@]}"; do wait "$pid" || fail "a reader saw an error"; done
[ ! -s "$T/reader.v3.log" ] && [ ! -s "$T/reader.v4.2.log" ] || fail "errors"
say "rounds of v3, v4.2: $(wc -l < "$T/rounds.v3") $(wc -l < "$T/rounds.v4.2")"
# Files that were open before it all.
cmp "$T/stored" - <&"$fd_v3"
cmp "$T/stored" - <&"$fd_v4_2"
exec {fd_v3}<&- {fd_v4_2}<&-
equal "$(status_of m .reads.failed)" 0

umount "$T/v3"
umount "$T/v4.2"
knfsd_stop
umount_fs m
