#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 11
# A worker that was taken over (tests/tools/badworker.c) gets nothing out of its
# supervisor, which is root: no file that it could not write itself, no hang, no
# descriptor left, no message that stands for another; and the mount goes on.
. "$(dirname "$0")/../../lib/common.sh"

mkdir "$T/bin"
cp "$STAGEFS_BUILD/fs/stagefs" "$T/bin/good"
cp "$STAGEFS_BUILD/fs/stagefs-supervisor" "$T/bin/"
cp "$TOOLS/badworker" "$T/bin/bad"
install() { cp "$T/bin/$1" "$T/bin/new" && mv "$T/bin/new" "$T/bin/stagefs"; }
install good
ln -s stagefs "$T/bin/mount.stagefs"
MOUNT_BIN=$T/bin/mount.stagefs

random_file "$T/a" 3000000 a
origin_start
publish "$T/a" a
mount_fs m
same_bytes "$T/a" "$T/m/a"
supervisor=$(supervisor_pid m)
fds() { ls "/proc/$supervisor/fd" | wc -l; }
install good
"$STAGEFS_BIN" upgrade "$T/m" # that adds one for the old program
before=$(fds)

# bad ACT: the worker does it before it serves, and dies of it.
bad()
{
	say "$1"
	install bad
	rm -f "$T/bin/result"
	echo "$1" > "$T/bin/act"
	refused 'the new worker did not start' "$STAGEFS_BIN" upgrade "$T/m"
	grep -q '^sent' "$T/bin/result" || fail "it did not come to its end"
	same_bytes "$T/a" "$T/m/a"
	equal "$(supervisor_pid m)" "$supervisor"
	equal "$(fds)" "$before" "descriptors of the supervisor"
}
bad offer
awk '$1 != "sent" && $2 != -13 { print; bad = 1 } END { exit bad }' "$T/bin/result" ||
	fail "not refused with EACCES"
equal "$(wc -l < "$T/bin/result")" 10 "answers"
bad lengths
bad flood
# It goes before all other programs; a worker cannot have it take a processor.
bad grind
percent=$(awk '$1 == "percent" { print $2 }' "$T/bin/result")
say "ground down to $percent% of a processor"
[ "$percent" -gt 5 ] && [ "$percent" -lt 70 ] || fail "the supervisor took $percent% of a processor"

# One that serves: what it repeats is not done again.
serving() { grep -q '^serving' "$T/bin/result"; }
install bad
rm -f "$T/bin/result"
echo boast > "$T/bin/act"
"$STAGEFS_BIN" upgrade "$T/m" > "$T/upgrade.out" 2>&1 &
PIDS+=($!)
eventually 30 serving
sleep 0.5
install good
echo end > "$T/bin/act"
same_bytes "$T/a" "$T/m/a"
equal "$(grep -c 'was not told' "$T/m.log")" 0 "answers to READY"
[ "$(grep -c 'serves again' "$T/m.log")" -lt 10 ] || fail "it said again and again that it serves"

# One that serves, and dies of it each time: the program before it goes on.
install good
"$STAGEFS_BIN" upgrade "$T/m"
install bad
rm -f "$T/bin/result"
echo faint > "$T/bin/act"
"$STAGEFS_BIN" upgrade "$T/m" > "$T/upgrade.out" 2>&1 &
PIDS+=($!)
eventually 60 grep -q 'new worker died .* again and again: the old program goes on' "$T/m.log"
same_bytes "$T/a" "$T/m/a"
equal "$(status_of m .worker.fallback)" true
equal "$(supervisor_pid m)" "$supervisor"
equal "$(grep -c '^serving' "$T/bin/result")" 10 "workers that died"
# Of the next deaths as many are borne as ever.
kill_worker m
same_bytes "$T/a" "$T/m/a"
install good
"$STAGEFS_BIN" upgrade "$T/m"
equal "$(status_of m .worker.fallback)" false

# One that has died cannot have anything done.
install bad
rm -f "$T/bin/result"
echo last-words > "$T/bin/act"
"$STAGEFS_BIN" upgrade "$T/m" > "$T/upgrade.out" 2>&1 &
PIDS+=($!)
eventually 30 serving
sleep 0.2
taken=$(grep -c 'has taken over' "$T/m.log")
kill -STOP "$supervisor"
echo die > "$T/bin/act"
eventually 10 grep -q '^died' "$T/bin/result"
is_zombie() { grep -q '^State:.Z' "/proc/$1/status"; }
eventually 10 is_zombie "$(pgrep -P "$supervisor")"
install good
echo boast > "$T/bin/act"
rm "$T/bin/result"
kill -CONT "$supervisor"
eventually 30 serving
equal "$(grep -c 'has taken over' "$T/m.log")" "$taken" "upgrades"
echo end > "$T/bin/act"
same_bytes "$T/a" "$T/m/a"
equal "$(supervisor_pid m)" "$supervisor"
equal "$(fds)" "$before" "descriptors of the supervisor"
umount_fs m

# What a worker says goes to a terminal as text.
refused 'no such user' mount_fs x $'user=\e[31mx\ay'
! grep -q $'[\e\a]' "$T/refused.err" || fail "control characters reach the terminal"

# A log that nobody reads, filled, is nothing that it waits for.
mkfifo "$T/pipe"
exec 9<> "$T/pipe"
mkdir -p "$T/f"
"$MOUNT_BIN" "$URL" "$T/f" -F -o "name=f,cache=$T/f.cache,capacity=1G,min-free=0,user=root" 2>&9 &
PIDS+=($!)
eventually 20 has_image f a
dd if=/dev/zero of="$T/pipe" bs=4k oflag=nonblock status=none 2> /dev/null || :
kill "$(supervisor_pid f)"
gone() { [ -z "$(supervisor_pid f)" ]; }
eventually 30 gone
exec 9>&-
