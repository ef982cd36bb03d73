#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The worker is another user without capabilities; the cache is that user's.
. "$(dirname "$0")/../../lib/common.sh"

chmod 755 "$T"
random_file "$T/a" 3000000 a
origin init > /dev/null
origin image add "$T/a" --name a > /dev/null
origin_start

status_field() { awk -v f="$2:" '$1 == f { print $2 }' "/proc/$1/status"; }

# A cache that root has used before is handed over.
mount_fs m
same_bytes "$T/a" "$T/m/a"
end_fs m
mount_fs m user=nobody
w=$(worker_pid m)
equal "$(status_field "$w" Uid)" "$(id -u nobody)"
equal "$(status_field "$w" CapEff)" 0000000000000000
equal "$(status_field "$w" CapPrm)" 0000000000000000
equal "$(status_field "$w" NoNewPrivs)" 1
equal "$(awk '$1 == "Groups:" { print NF }' "/proc/$w/status")" 1 "groups"
equal "$(readlink "/proc/$w/cwd")" /
equal "$(stat -c '%U %a' "$T/m.cache")" 'nobody 700'
same_bytes "$T/a" "$T/m/a"
same_bytes "$T/a" "$T/m/a"

# Started again, it is that user again.
kill -9 "$w"
equal "$(timeout 120 getfattr --only-values -n user.stagefs.size "$T/m/a")" 3000000
equal "$(status_field "$(worker_pid m)" Uid)" "$(id -u nobody)"
end_fs m

# A cache of somebody else is not taken over.
chown 1:1 "$T/m.cache"
refused 'belongs to user 1' mount_fs m user=nobody
