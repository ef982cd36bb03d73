#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A notification waits in the kernel for the lock of its folder, and so for
# whoever looks up a name there, and so for an answer of the worker. If the
# worker dies then, or makes way for another one, the next one has to come all
# the same (fs/kernel/notifier.c): nothing of the dead one may wait for it.
. "$(dirname "$0")/../../lib/common.sh"

echo one > "$T/one"
echo two > "$T/two"
origin_start
publish "$T/one" image
mount_fs m
# If it were to hang, nothing but this would end it.
mkdir "$T/ctl"
mount -t fusectl none "$T/ctl"
connection=$T/ctl/$(mountpoint -d "$T/m" | cut -d : -f 2)
[ -d "$connection" ] || connection=$(ls -d "$T"/ctl/* | tail -n 1)
trap 'set +e; s=$?; echo 1 > "$connection/abort"; (exit $s); case_end' EXIT

# Threads that take requests stand still, all others go on.
freeze()
{
	/usr/bin/python3 - "$1" <<'FREEZE' &
import ctypes, os, sys
SEIZE, INTERRUPT = 0x4206, 0x4207
libc = ctypes.CDLL(None)
for t in os.listdir(f"/proc/{sys.argv[1]}/task"):
    with open(f"/proc/{sys.argv[1]}/task/{t}/comm") as f:
        if f.read() == "fuse\n":
            assert libc.ptrace(SEIZE, int(t), 0, 0) == 0
            assert libc.ptrace(INTERRUPT, int(t), 0, 0) == 0
            os.waitpid(int(t), 0x40000000)
try:
    while True:  # killed, they are ours to bury
        os.waitpid(-1, 0x40000000)
except ChildProcessError:
    pass
FREEZE
	freezer=$!
	PIDS+=($freezer)
	frozen() { [ "$(awk '$1 == "State:" && $2 == "t"' /proc/"$1"/task/*/status | wc -l)" -ge 16 ]; }
	eventually 20 frozen "$1"
}
notifier_pid() { pgrep -f "^stagefs notify .*--mountpoint $T/m "; }
# It waits in the kernel to tell that a name means something else.
telling() { grep -q '^State:.D' "/proc/$(notifier_pid)/status"; }
# waiting FILE: a name is being looked up while another one is to change.
waiting()
{
	old=$(worker_pid m)
	cat "$T/m/image" > /dev/null
	freeze "$old"
	stat "$T/m/$RANDOM" 2> /dev/null &
	stat=$!
	eventually 10 asks $stat
	sleep 0.2
	publish "$1" image
	eventually 20 telling
}
# asks PID: a program has been started, and waits for something.
asks() { [ "$(cat "/proc/$1/comm")" = stat ] && grep -q '^State:.[SD]' "/proc/$1/status"; }
reads_as() { [ "$(cat "$T/m/image")" = "$1" ]; }

waiting "$T/two"
kill -9 "$old"
eventually 30 worker_is_not m "$old"
! wait $stat || fail "a name that is not there"
eventually 10 reads_as two

# The same in an upgrade: it goes on when the threads do.
waiting "$T/one"
timeout 60 "$STAGEFS_BIN" upgrade "$T/m" &
upgrade=$!
sleep 0.3
kill $freezer
wait $upgrade || fail "the upgrade"
! wait $stat || fail "a name that is not there"
eventually 10 reads_as one
# None is left of those who waited.
one_notifier() { [ "$(notifier_pid | wc -l)" = 1 ]; }
eventually 10 one_notifier
trap case_end EXIT
umount_fs m
