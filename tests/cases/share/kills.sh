#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The worker is killed while stations read over NFS v4, v3 and SMB, and programs
# of this machine, images that are stored and images that are not: they notice a
# pause, no error, and never a wrong byte. One kill in five hits the worker as
# it starts. storm.sh does it a thousand times, and bounds the pauses.
. "$(dirname "$0")/../../lib/common.sh"
. "$TESTS/lib/share.sh"
. "$TESTS/lib/load.sh"

KILLS=${KILLS:-8}
export STAGEFS_MAY_DIE=1 # ten deaths a minute are too many otherwise

origin_start
load_publish
mount_fs m
share_start m
ganesha_start
samba_start
supervisor=$(supervisor_pid m)
fds=$(ls "/proc/$supervisor/fd" | wc -l)
# It goes first, its workers do not.
if chrt -f 1 true 2> /dev/null; then
	[[ $(chrt -p "$supervisor") = *SCHED_FIFO* ]] || fail "$(chrt -p "$supervisor")"
fi
[[ $(chrt -p "$(worker_pid m)") != *SCHED_FIFO* ]] || fail "$(chrt -p "$(worker_pid m)")"

load_start
child() { worker=$(awk '{ print $1 }' "/proc/$supervisor/task/$supervisor/children") && [ -n "$worker" ]; }
child_is_new() { child && [ "$worker" != "$old" ]; }
for i in $(seq "$KILLS"); do
	if [ $((i % 5)) = 0 ]; then
		sleep "0.0$((RANDOM % 40))"
	else
		stat -f "$T/m" > /dev/null # waits until a worker answers
		sleep "0.$((RANDOM % 30 + 20))"
	fi
	child || fail "kill $i: no worker"
	load_event
	kill -9 "$worker"
	old=$worker
	eventually 20 child_is_new
done
sleep 1
load_end
eventually 20 status_of m .name
[ "$(status_of m .worker.starts)" -gt "$KILLS" ] || fail "not so many kills"
few_fds() { [ "$(ls "/proc/$supervisor/fd" | wc -l)" -le "$fds" ]; }
eventually 10 few_fds # one may be on its way
share_end
opens_none() { [ "$(metric m open_images)" = 0 ]; }
eventually 10 opens_none

load_pauses > "$T/pauses"
read -r half most longest < "$T/pauses"
say "$KILLS kills: pauses of $half ms, 99 of 100 below $most ms, the longest $longest ms"
if [ -n "${BOUNDED:-}" ]; then
	[ "$most" -lt 1000 ] || fail "1 of 100 kills stalled somebody for $most ms"
	[ "$longest" -lt 3000 ] || fail "somebody was stalled for $longest ms"
fi
umount_fs m
