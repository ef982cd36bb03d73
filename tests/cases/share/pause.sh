#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The origin stops for less than io-timeout and comes back:
# stations that read what is missing notice a pause, others nothing.
. "$(dirname "$0")/../../lib/common.sh"
. "$TESTS/lib/share.sh"

PAUSE_S=${PAUSE_S:-4}
random_file "$T/cold" 20000000 cold
random_file "$T/stored" 20000000 stored
truncate -s 60M "$T/crowd"
origin_start
publish "$T/cold" cold
publish "$T/stored" stored
publish "$T/crowd" crowd
# On a busy machine it takes longer than those seconds until all of them wait.
mount_fs m "io-timeout=${IO_TIMEOUT:-200s}"
share_start m
ganesha_start
samba_start
reads_stored() { nfs_read stored "$1" | cmp - "$T/stored"; }
reads_stored 4

kill -STOP "$ORIGIN_PID"
for v in 4 3; do
	in_share_bg "v$v" "$TOOLS/netread" -b 1048576 "$T/cold" "$(nfs_url cold $v)"
done
in_share_bg smb "$TOOLS/netread" -n 50 -b 65536 "$T/cold" "$(smb_url cold)"
# Stations that wait for the same pages are one request.
waiting() { [ "$(status_of m .reads.parked)" -ge 1 ] && kill -0 "$V4_PID" "$V3_PID" "$SMB_PID"; }
eventually 10 waiting
# More than Ganesha has threads by default: RPC_Ioq_ThrdMax.
in_share_bg crowd "$TOOLS/netread" -c 250 -n 1 -b 4096 "$T/crowd" "$(nfs_url crowd)"
crowded() { [ "$(awk '/^Threads/ { print $2 }' "/proc/$GANESHA_PID/status")" -gt 250 ]; }
eventually 20 crowded
reads_stored 4
reads_stored 3
smb_read stored | cmp - "$T/stored"
sleep "$PAUSE_S"
waiting || fail "somebody did not wait"
kill -CONT "$ORIGIN_PID"
for s in V4 V3 SMB CROWD; do
	pid=${s}_PID
	wait "${!pid}" || fail "$s: $(cat "$T/${s,,}.log")"
	say "$s: $(head -n 1 "$T/${s,,}.log")"
done
equal "$(status_of m .reads.timed_out)" 0
share_end
umount_fs m
