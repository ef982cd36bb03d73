#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# With device= a mount that is made anew is the same to Ganesha, whatever was
# mounted meanwhile, and whoever mounts and unmounts at the same moment: a
# station goes on reading the file that it has open (NFS v3, whose handles are
# all that there is of an open file).
. "$(dirname "$0")/../../lib/common.sh"
. "$TESTS/lib/share.sh"

random_file "$T/image" 30000000 image
origin_start
publish "$T/image" image
# Nobody has it; others take numbers at any time.
device=$((400 + RANDOM % 400))
device_of() { awk -v p="$T/$1" '$5 == p { print $3 }' /proc/self/mountinfo; }
for i in 1 2 3; do
	mkdir "$T/churn$i"
	(while [ ! -e "$T/quiet" ]; do
		mount -t tmpfs tmpfs "$T/churn$i"
		sleep 0.01
		umount -l "$T/churn$i"
	done) &
	churn+=($!)
done
PIDS+=("${churn[@]}")
mount_there()
{
	mount_fs m "device=$device" 2> "$T/said"
	equal "$(cat "$T/said")" ''
	equal "$(device_of m)" "0:$device"
}
mount_there
# It looks like any other.
mount_fs other
like() { awk -v p="$T/$1" '$5 == p { print $6, $(NF - 2), $(NF - 1), $NF }' /proc/self/mountinfo; }
equal "$(like m)" "$(like other)"
umount_fs other
for _ in 1 2 3 4 5; do
	end_fs m
	mount_there
done
touch "$T/quiet"
wait "${churn[@]}"
share_start m
ganesha_start
in_share_bg station "$TOOLS/netread" -lr -b 65536 -n 50 "$T/image" "$(nfs_url image 3)"
reads() { [ "$(xattr m image cached_bytes)" -gt 0 ] && kill -0 "$STATION_PID"; }
eventually 10 reads

# A second mount with the same number gets another one, and says so.
mount_fs other "device=$device" 2> "$T/said"
grep -q "warning: device=$device is in use: mounted as $(device_of other)$" "$T/said" || fail "$(cat "$T/said")"
[ "$(device_of other)" != "0:$device" ] || fail "both have $device"
umount_fs other
# One that cannot be served is not left there.
refused 'no such user' mount_fs other "device=$((device + 1)),user=nobody.at.all"
no_other() { [ -z "$(device_of other)" ]; }
eventually 10 no_other

for round in 1 2; do
	end_server ganesha
	end_fs m
	# Lower numbers are free, or taken.
	mkdir -p "$T/taken$round"
	mount -t tmpfs tmpfs "$T/taken$round"
	mount_there
	opens_before=$(metric m opens_total)
	in_share_bg ganesha ganesha.nfsd -F -f "$T/ganesha.conf" \
		-L "$T/ganesha.out" -p "$T/ganesha.pid" -N CRIT
	eventually 30 listening 2049
	opened_again() { [ "$(metric m opens_total)" -gt "$opens_before" ]; }
	eventually 60 opened_again
	kill -0 "$STATION_PID" || fail "round $round: $(cat "$T/station.log")"
done
kill -USR1 "$STATION_PID"
wait "$STATION_PID" || fail "$(cat "$T/station.log")"
say "$(cat "$T/station.log")"
share_end
umount_fs m
