#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# The origin stops and comes back, under the kernel's NFS server and kernel
# clients, v3 and v4.2. For less than io-timeout their reads wait; for longer
# they get ETIMEDOUT, which the server turns into "try later": programs see a
# pause in both cases. More readers that wait than the server usually has
# threads (8) do not stop those of stored images.
. "$(dirname "$0")/../../lib/common.sh"
. "$TESTS/lib/uml.sh"
. "$TESTS/lib/knfsd.sh"

random_file "$T/stored" 4000000 stored
random_file "$T/cold" 24000000 cold
random_file "$T/later" 20000000 later
origin_start
for i in stored cold later; do publish "$T/$i" $i; done

# pause MOUNT IMAGE SECONDS
pause()
{
	local m=$1 image=$2 v i pids=()
	knfsd_start "$m"
	for v in 3 4.2; do
		station "v$v" $v
		cmp "$T/stored" "$T/v$v/stored"
	done
	echo 3 > /proc/sys/vm/drop_caches
	kill -STOP "$ORIGIN_PID"
	for v in 3 4.2; do
		for i in 0 1 2 3 4 5; do
			dd if="$T/v$v/$image" iflag=direct bs=64k skip=$((i * 60)) \
				count=1 status=none > "$T/got.$v.$i" &
			pids+=($!)
		done
	done
	waiting() { [ "$(status_of "$m" .reads.parked)" -ge 1 ]; }
	eventually 20 waiting
	for v in 3 4.2; do
		dd if="$T/v$v/stored" iflag=direct bs=64k status=none | cmp - "$T/stored"
	done
	sleep "$3"
	for i in "${pids[@]}"; do kill -0 "$i" || fail "somebody did not wait"; done
	kill -CONT "$ORIGIN_PID"
	for i in "${pids[@]}"; do wait "$i" || fail "a reader saw an error"; done
	for v in 3 4.2; do
		for i in 0 1 2 3 4 5; do
			dd if="$T/$image" bs=64k skip=$((i * 60)) count=1 status=none |
				cmp - "$T/got.$v.$i"
		done
		cmp "$T/$image" "$T/v$v/$image"
		umount "$T/v$v"
	done
	knfsd_stop
}

mount_fs m
pause m cold 20
equal "$(status_of m .reads.timed_out)" 0
umount_fs m

mount_fs short io-timeout=1s
pause short later 5
[ "$(status_of short .reads.timed_out)" -ge 2 ] || fail "nothing timed out"
umount_fs short
