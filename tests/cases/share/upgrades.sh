#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `stagefs upgrade` again and again, while stations read over NFS v4, v3 and
# SMB, and programs of this machine, images that are stored and images that are
# not: no error. upgrades_long.sh does it a hundred times.
. "$(dirname "$0")/../../lib/common.sh"
. "$TESTS/lib/share.sh"
. "$TESTS/lib/load.sh"

UPGRADES=${UPGRADES:-4}
origin_start
load_publish
mount_fs m
share_start m
ganesha_start
samba_start
supervisor=$(supervisor_pid m)
load_start
for i in $(seq "$UPGRADES"); do
	sleep "0.$((RANDOM % 50 + 10))"
	load_event
	"$STAGEFS_BIN" upgrade "$T/m" > "$T/upgrade.log" 2>&1 || fail "upgrade $i: $(cat "$T/upgrade.log")"
	[ "$i" != 1 ] || fds=$(ls "/proc/$supervisor/fd" | wc -l)
done
sleep 1
load_end
equal "$(status_of m .worker.starts)" $((UPGRADES + 1)) 'workers started'
equal "$(status_of m .worker.fallback)" false
few_fds() { [ "$(ls "/proc/$supervisor/fd" | wc -l)" -le "$fds" ]; }
eventually 10 few_fds # one may be on its way
share_end
load_pauses > "$T/pauses"
read -r half most longest < "$T/pauses"
say "$UPGRADES upgrades: pauses of $half ms, 99 of 100 below $most ms, the longest $longest ms"
umount_fs m
