#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The worker is killed while stations read over NFS v4, v3 and SMB, cold images
# and cached ones: they notice a pause, no error, and never a wrong byte.
. "$(dirname "$0")/../../lib/common.sh"
. "$TESTS/lib/share.sh"

KILLS=${KILLS:-8}
random_file "$T/cached" 40000000 cached
random_file "$T/cold" 300000000 cold
origin_start
publish "$T/cached" cached
publish "$T/cold" cold
proxy_start
mount_fs m
same_bytes "$T/cached" "$T/m/cached"
share_start m
ganesha_start
samba_start
proxy _cap '{"rate": 30000000}'

readers=()
reader() # NAME ARGUMENTS
{
	in_share_bg "$1" "$TOOLS/netread" -r "${@:2}"
	readers+=("$1")
}
reader v4 -l -c 2 "$T/cached" "$(nfs_url cached 4)"
reader v3 -l -b 65536 -n 100 "$T/cached" "$(nfs_url cached 3)"
reader smb -l -c 2 -b 262144 -n 100 "$T/cached" "$(smb_url cached)"
reader coldv4 -l "$T/cold" "$(nfs_url cold 4)"
reader coldv3 -l -b 131072 "$T/cold" "$(nfs_url cold 3)"
reader coldsmb -l "$T/cold" "$(smb_url cold)"

serves() { [ "$(worker_pid m)" != "$1" ] && [ -n "$(worker_pid m)" ] && status_of m .name; }
for i in $(seq "$KILLS"); do
	sleep 0.$((RANDOM % 9 + 1))
	old=$(worker_pid m)
	kill -9 "$old"
	eventually 20 serves "$old"
	# A mount whose worker dies again and again is given up.
	[ $((i % 8)) != 0 ] || sleep "$((i == KILLS ? 0 : 60))"
done
proxy _cap '{"rate": 0}'
eventually 60 image_is m cold complete

for name in "${readers[@]}"; do
	pid=${name^^}_PID
	kill -0 "${!pid}" || fail "$name: $(cat "$T/$name.log")"
done
for name in "${readers[@]}"; do
	pid=${name^^}_PID
	kill -USR1 "${!pid}"
	wait "${!pid}" || fail "$name: $(cat "$T/$name.log")"
	say "$name: $(cat "$T/$name.log" | xargs)"
done
same_bytes "$T/cold" "$T/m/cold"
share_end
umount_fs m
