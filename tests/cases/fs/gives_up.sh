#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A worker that cannot stay alive is given up: after ten deaths in a minute what
# waits gets an error, the mount is gone, and the system's log, where a mount
# without log= writes, has a line of priority "error" that says why. In a mount
# namespace of its own, whose /dev/log is the case's.
[ -n "${STAGEFS_OWN_DEV:-}" ] ||
	STAGEFS_OWN_DEV=1 exec unshare --mount --propagation private bash "$0"
. "$(dirname "$0")/../../lib/common.sh"

at_end() { umount -R -l /dev; }
mkdir "$T/dev"
for d in null zero full random urandom fuse; do
	touch "$T/dev/$d"
	mount --bind "/dev/$d" "$T/dev/$d"
done
ln -s /proc/self/fd "$T/dev/fd"
mount --rbind "$T/dev" /dev
/usr/bin/python3 -u - > "$T/syslog" <<'END' &
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("/dev/log")
while True:
    print(s.recv(8192).decode().rstrip("\n"))
END
PIDS+=($!)
eventually 10 test -S /dev/log

random_file "$T/cold" 20000000 cold
origin_start
publish "$T/cold" cold
mkdir "$T/m"
"$MOUNT_BIN" "$URL" "$T/m" -o "name=m,cache=$T/m.cache,capacity=1G,min-free=0,user=root,io-timeout=1h"
logged() { grep -q "^<$1>$2" "$T/syslog"; }
eventually 10 logged 6 "worker: serving $T/m"
kill -STOP "$ORIGIN_PID"
dd if="$T/m/cold" of=/dev/null bs=64k count=1 status=none 2> "$T/dd.err" &
reader=$!
PIDS+=($reader)
parked() { [ "$(status_of m .reads.parked)" -ge 1 ]; }
eventually 10 parked

deaths=0
kill_or_gone()
{
	local p
	[ -n "$(mounts_below | grep -Fx "$T/m")" ] || return 0
	p=$(worker_pid m)
	[ -z "$p" ] || ! kill -9 "$p" 2> /dev/null || deaths=$((deaths + 1))
	return 1
}
eventually 60 kill_or_gone
[ $deaths -ge 10 ] || fail "given up after $deaths deaths"
! wait $reader || fail "a read without an origin succeeded"
[ -s "$T/dd.err" ] || fail "the reader was not told"
no_supervisor() { [ -z "$(supervisor_pid m)" ]; }
eventually 10 no_supervisor
kill -CONT "$ORIGIN_PID"
eventually 10 logged 3 ''
equal "$(grep -c '^<5>supervisor: the worker died (Killed, 9): starting it again' "$T/syslog")" 9
equal "$(grep '^<3>' "$T/syslog")" \
	"<3>supervisor: the worker died (Killed, 9), for the 10th time within a minute: giving up and unmounting $T/m"
equal "$(ls "$T/m")" ''
