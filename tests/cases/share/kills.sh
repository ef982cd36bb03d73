#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The worker is killed while stations read over NFS v4, v3 and SMB, and programs
# of this machine, images that are stored and images that are not: they notice a
# pause, no error, and never a wrong byte. One kill in five hits the worker as
# it starts. storm.sh does it a thousand times, and bounds the pauses.
. "$(dirname "$0")/../../lib/common.sh"
. "$TESTS/lib/share.sh"

KILLS=${KILLS:-8}
STALL_MS=20
export STAGEFS_MAY_DIE=1 # ten deaths a minute are too many otherwise
KINDS='v4 v3 smb'
url() { case $1 in v*) nfs_url "$2" "${1#v}" ;; *) smb_url "$2" ;; esac; }

origin_start
random_file "$T/cached" 40000000 cached
publish "$T/cached" cached
for kind in $KINDS; do
	for i in 1 2 3; do
		random_file "$T/$kind.$i" 30000000 "$kind.$i"
		publish "$T/$kind.$i" "$kind.$i"
	done
done
mount_fs m
same_bytes "$T/cached" "$T/m/cached"
share_start m
ganesha_start
samba_start
supervisor=$(supervisor_pid m)
fds=$(ls "/proc/$supervisor/fd" | wc -l)
# It goes first, its workers do not.
if chrt -f 1 true 2> /dev/null; then
	[[ $(chrt -p "$supervisor") = *SCHED_FIFO* ]] || fail "$(chrt -p "$supervisor")"
fi
[[ $(chrt -p "$(worker_pid m)") = *SCHED_OTHER* ]] || fail "$(chrt -p "$(worker_pid m)")"

# What is stored, all the time.
for kind in $KINDS; do
	in_share_bg "$kind" "$TOOLS/netread" -rl -w $STALL_MS -b 131072 -n 100 \
		"$T/cached" "$(url "$kind" cached)"
done
# Each read with an open, by this machine: with passthrough all that is left to
# the worker.
"$TOOLS/stalls" -w -l $STALL_MS -t 2 "$T/m/cached" "$T/cached" > "$T/local.log" 2>&1 &
LOCAL_PID=$!
PIDS+=($LOCAL_PID)

# What is not, by stations that come, read an image, and go. It is evicted for
# the next one, unless it is open.
visits() # KIND
{
	local i n=0 bytes=(65536 1048576 262144)
	while [ ! -e "$T/stop" ]; do
		i=$((n % 3 + 1))
		n=$((n + 1))
		in_share "$TOOLS/netread" -r -w $STALL_MS -b "${bytes[n % 3]}" \
			"$T/$1.$i" "$(url "$1" "$1.$i")" || return
		"$STAGEFS_BIN" evict "$T/m" "$1.$i" > /dev/null 2>&1 || :
	done
	echo "$n visits"
}
for kind in $KINDS; do
	visits "$kind" >> "$T/visits.$kind.log" 2>&1 &
	declare "VISITS_$kind=$!"
	PIDS+=($!)
done

child() { worker=$(awk '{ print $1 }' "/proc/$supervisor/task/$supervisor/children") && [ -n "$worker" ]; }
child_is_new() { child && [ "$worker" != "$old" ]; }
sent=$(origin_sent)
for i in $(seq "$KILLS"); do
	if [ $((i % 5)) = 0 ]; then
		sleep "0.0$((RANDOM % 40))"
	else
		stat -f "$T/m" > /dev/null # waits until a worker answers
		sleep "0.$((RANDOM % 30 + 20))"
	fi
	child || fail "kill $i: no worker"
	echo "kill ${EPOCHREALTIME/./}" >> "$T/kills"
	kill -9 "$worker"
	old=$worker
	eventually 20 child_is_new
done
sleep 1
touch "$T/stop"

for name in local $KINDS; do
	pid=${name^^}_PID
	kill -USR1 "${!pid}" 2> /dev/null || fail "$name: $(tail -n 3 "$T/$name.log")"
	wait "${!pid}" || fail "$name: $(tail -n 3 "$T/$name.log")"
	say "$name: $(tail -n 1 "$T/$name.log")"
done
for kind in $KINDS; do
	pid=VISITS_$kind
	wait "${!pid}" || fail "$kind: $(tail -n 3 "$T/visits.$kind.log")"
	say "$kind: $(tail -n 1 "$T/visits.$kind.log")"
done
say "$(($(origin_sent) - sent)) bytes left the origin"
eventually 20 status_of m .name
[ "$(status_of m .worker.starts)" -gt "$KILLS" ] || fail "not so many kills"
equal "$(ls "/proc/$supervisor/fd" | wc -l)" "$fds" "descriptors of the supervisor"
share_end
opens_none() { [ "$(metric m open_images)" = 0 ]; }
eventually 10 opens_none
for kind in $KINDS; do same_bytes "$T/$kind.1" "$T/m/$kind.1"; done

# For each kill, the longest that anybody waited until the next one.
/usr/bin/python3 - "$T" > "$T/pauses" << 'END'
import bisect, glob, sys
kills = [int(line.split()[1]) // 1000 for line in open(sys.argv[1] + "/kills")]
longest = [0] * len(kills)
for path in glob.glob(sys.argv[1] + "/*.log"):
    for line in open(path, errors="replace"):
        if line.startswith("stall "):
            begin, took = map(int, line.split()[1:])
            k = bisect.bisect(kills, begin + took) - 1
            if k >= 0:
                longest[k] = max(longest[k], took)
longest.sort()
print(longest[len(longest) // 2], longest[int((len(longest) - 1) * .99)],
      longest[-1])
END
read -r half most longest < "$T/pauses"
say "$KILLS kills: pauses of $half ms, 99 of 100 below $most ms, the longest $longest ms"
if [ -n "${BOUNDED:-}" ]; then
	[ "$most" -lt 1000 ] || fail "1 of 100 kills stalled somebody for $most ms"
	[ "$longest" -lt 3000 ] || fail "somebody was stalled for $longest ms"
fi
umount_fs m
