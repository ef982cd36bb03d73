#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A thousand reads are parked and the origin has gone: each way to end a mount
# ends it within five seconds, and leaves nothing: no process, no socket, no
# mount. Who reads is killed before, or gets an error.
. "$(dirname "$0")/../../lib/common.sh"

READERS=1000
BLOCK=1048576
truncate -s $((READERS * BLOCK)) "$T/cold"
random_file "$T/stored" 20000000 stored
origin_start
publish "$T/cold" cold
publish "$T/stored" stored
socket=$(socket_of m)

gone() { [ ! -e "$socket" ] && [ -z "$(mounts_below)" ] && [ -z "$(pgrep -f "$T/m( |$)")" ]; }
parked() { [ "$(status_of m .reads.parked)" -ge $READERS ]; }

# taken COMMAND...: how long it takes until nothing is left, in $took_ms.
taken()
{
	local begun=${EPOCHREALTIME/./}
	"$@"
	eventually 120 gone
	took_ms=$(((${EPOCHREALTIME/./} - begun) / 1000))
}

killed_and_unmounted()
{
	kill -9 "$reader"
	wait "$reader" 2> /dev/null || :
	umount_fs m
}
detached_and_killed()
{
	umount -l "$T/m"
	kill -9 "$reader"
	wait "$reader" 2> /dev/null || :
}
# "busy" is what umount(8) may say; it has ended the connection all the same.
forced()
{
	umount -f "$T/m" 2> /dev/null || :
	wait "$reader" || :
}
terminated()
{
	kill "$(supervisor_pid m)"
	wait "$reader" || :
}

# What the machine needs to end a mount that nobody uses: with other work on it
# that can be seconds.
mount_fs m
same_bytes "$T/stored" "$T/m/stored"
taken umount_fs m
limit_ms=$((5000 + ${SLACK:-20} * took_ms))
idle_ms=$took_ms

for how in '-d killed_and_unmounted' killed_and_unmounted \
	detached_and_killed forced terminated; do
	options=${how% *}
	[ "$options" != "$how" ] || options=
	mount_fs m io-timeout=1h,fill-after=never 2> /dev/null
	[ -z "$ORIGIN_PID" ] || kill -STOP "$ORIGIN_PID"
	"$TOOLS/preads" $options -t $READERS -s $BLOCK "$T/m/cold" 0 4096 > "$T/ends" &
	reader=$!
	PIDS+=($reader)
	eventually 60 parked
	[ "$how" != forced ] || origin_stop -KILL
	taken "${how#* }"
	say "$how: $took_ms ms, $(xargs < "$T/ends") ($idle_ms ms without readers)"
	! grep -q ok "$T/ends" || fail "a read without an origin succeeded"
	[ "$took_ms" -lt "$limit_ms" ] || fail "$how took $took_ms ms"
	# A mount waits for one that does not answer.
	[ -z "$ORIGIN_PID" ] || kill -CONT "$ORIGIN_PID"
done

# What was stored is there.
mount_fs m 2> /dev/null
same_bytes "$T/stored" "$T/m/stored"
end_fs m
