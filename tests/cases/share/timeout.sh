#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The origin stays away for longer than io-timeout: reads end with ETIMEDOUT.
# NFS servers tell stations to try later, which their kernels do for as long as
# it takes. To an SMB station it is an error of this read; what others read of
# stored images goes on.
. "$(dirname "$0")/../../lib/common.sh"
. "$TESTS/lib/share.sh"

random_file "$T/cold" 20000000 cold
random_file "$T/stored" 20000000 stored
origin_start
publish "$T/cold" cold
publish "$T/stored" stored
mount_fs m io-timeout=1s
share_start m
ganesha_start
samba_start
"$STAGEFS_BIN" fetch "$T/m" stored # a second is little for a cold read
nfs_read stored | cmp - "$T/stored"
in_share_bg smb "$TOOLS/netread" -l -n 10 "$T/stored" "$(smb_url stored)"
kill -STOP "$ORIGIN_PID"

# Stations that give up at the first answer: what is it?
fails_with() # REGEX ARGUMENTS...
{
	local pattern=$1
	shift
	! in_share "$TOOLS/netread" "$@" > "$T/said" 2>&1 || fail "read without an origin: $*"
	grep -aqE "$pattern" "$T/said" || fail "$*: $(cat "$T/said")"
}
fails_with NFS4ERR_DELAY "$T/cold" "$(nfs_url cold 4)"
fails_with '^after 0 reads: read: ETIMEDOUT' "$T/cold" "$(smb_url cold)"
! smb "get cold $T/got" > "$T/said" 2>&1 || fail "smbclient read it"
grep -q NT_STATUS_IO_TIMEOUT "$T/said" || fail "$(cat "$T/said")"

# Those that try again, as kernels do.
for v in 4 3; do
	in_share_bg "v$v" "$TOOLS/netread" -r "$T/cold" "$(nfs_url cold $v)"
done
timed_out() { [ "$(status_of m .reads.timed_out)" -ge 10 ]; }
eventually 20 timed_out
kill -CONT "$ORIGIN_PID"
for s in V4 V3; do
	pid=${s}_PID
	wait "${!pid}" || fail "$s: $(cat "$T/${s,,}.log")"
	say "$s: $(cat "$T/${s,,}.log")"
	eventually 10 grep -q ' [1-9][0-9]* later$' "$T/${s,,}.log"
done
smb_read cold | cmp - "$T/cold"
kill -USR1 "$SMB_PID"
wait "$SMB_PID" || fail "a stored image over SMB: $(cat "$T/smb.log")"
share_end
umount_fs m
