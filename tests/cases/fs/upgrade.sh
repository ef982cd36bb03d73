#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: tsan
# cost: 16
# `stagefs upgrade` under load: other programs, the same mount, the same open
# files, no error (DESIGN.md section 4). New programs that do not run, or not
# far enough, change nothing.
. "$(dirname "$0")/../../lib/common.sh"

ROUNDS=${ROUNDS:-8}
mkdir "$T/bin"
install_programs()
{
	local p
	for p in stagefs stagefs-supervisor; do
		cp "$STAGEFS_BUILD/fs/$p" "$T/bin/$p.new"
		mv "$T/bin/$p.new" "$T/bin/$p" # as dpkg does
	done
}
install_programs
ln -s stagefs "$T/bin/mount.stagefs"
MOUNT_BIN=$T/bin/mount.stagefs

random_file "$T/stored" 30000000 stored
random_file "$T/through" 20000000 through
random_file "$T/cold" 120000000 cold
origin_start
for i in stored through cold; do publish "$T/$i" $i; done
proxy_start
mount_fs m
same_bytes "$T/stored" "$T/m/stored"
supervisor=$(supervisor_pid m)
mount_before=$(grep -F " $T/m " /proc/self/mountinfo)

upgrade() { "$STAGEFS_BIN" upgrade "$T/m" > "$T/upgrade.out" 2> "$T/upgrade.err"; }
starts() { status_of m .worker.starts; }

# An open directory with a place in it, an open file, readers of what is stored
# and of what is on its way.
exec 7< "$T/m/cold"
proxy _cap '{"rate": 12000000}'
"$TOOLS/stalls" -t 3 "$T/m/stored" "$T/stored" "$T/m/through" "$T/through" > "$T/stalls" 2> "$T/stalls.err" &
reader=$!
PIDS+=($reader)
sha256sum < "$T/m/cold" > "$T/cold.sum" &
cold=$!
PIDS+=($cold)

for i in $(seq "$ROUNDS"); do
	install_programs
	was=$(starts)
	upgrade || fail "round $i: $(cat "$T/upgrade.err")"
	equal "$(starts)" $((was + 1)) "workers started"
	equal "$(supervisor_pid m)" "$supervisor" "another supervisor process"
	w=$(worker_pid m)
	[ "$i" != 1 ] || fds=$(ls /proc/"$supervisor"/fd | wc -l)
	for p in "$supervisor" "$w"; do
		[[ $(readlink "/proc/$p/exe") != *deleted* ]] ||
			fail "round $i: process $p still runs the old program"
	done
	sleep "0.$((RANDOM % 5))"
done
proxy _cap '{"rate": 0}'
wait $cold || fail "a reader of missing bytes saw an error"
kill -USR1 $reader
wait $reader || fail "errors: $(head -3 "$T/stalls.err")"
say "$ROUNDS upgrades: $(cat "$T/stalls")"
equal "$(cut -c 1-64 "$T/cold.sum")" "$(sum "$T/cold")"
equal "$(sha256sum <&7 | cut -c 1-64)" "$(sum "$T/cold")" "the file opened before"
exec 7<&-
equal "$(grep -F " $T/m " /proc/self/mountinfo)" "$mount_before"
few_fds() { [ "$(ls /proc/"$supervisor"/fd | wc -l)" -le "$fds" ]; }
eventually 10 few_fds # one may be on its way

# A killed worker is followed by one of the new version.
kill -9 "$(worker_pid m)"
same_bytes "$T/stored" "$T/m/stored"

# Programs that are no programs, that refuse, that are not there; and one that
# starts, but whose worker does not: nothing happens but a line in the log.
was=$(starts)
not_upgraded()
{
	refused "$1" "$STAGEFS_BIN" upgrade "$T/m"
	same_bytes "$T/stored" "$T/m/stored"
	equal "$(supervisor_pid m)" "$supervisor"
}
install_bad()
{
	chmod 755 "$T/bin/bad"
	mv "$T/bin/bad" "$T/bin/stagefs"
}
echo nonsense > "$T/bin/bad"
install_bad
not_upgraded 'does not run'
printf '#!/bin/sh\nexit 1\n' > "$T/bin/bad"
install_bad
not_upgraded 'does not run'
printf '#!/bin/sh\nsleep 60\n' > "$T/bin/bad"
install_bad
not_upgraded 'does not run'
chmod 644 "$T/bin/stagefs"
not_upgraded 'does not run'
rm "$T/bin/stagefs"
not_upgraded 'does not run'
# The same with the supervisor's program, and a good stagefs.
install_programs
mv "$T/bin/stagefs-supervisor" "$T/bin/elsewhere"
not_upgraded 'does not run'
echo nonsense > "$T/bin/stagefs-supervisor"
not_upgraded 'does not run'
chmod 755 "$T/bin/stagefs-supervisor"
not_upgraded 'does not run'
printf '#!/bin/sh\nkill -SEGV $$\n' > "$T/bin/stagefs-supervisor"
not_upgraded 'does not run'
head -c 9000 "$T/bin/elsewhere" > "$T/bin/stagefs-supervisor"
not_upgraded 'does not run'
equal "$(starts)" "$was" "workers started"
install_programs
perl -pe 's/(?<=\0)mountpoint\0/mauntpoint\0/g' < "$STAGEFS_BUILD/fs/stagefs" > "$T/bin/bad"
! cmp -s "$T/bin/bad" "$STAGEFS_BUILD/fs/stagefs" || fail "not another program"
install_bad
not_upgraded 'the new worker did not start'
equal "$(status_of m .worker.fallback)" true

# Mended.
install_programs
upgrade || fail "$(cat "$T/upgrade.err")"
equal "$(status_of m .worker.fallback)" false
same_bytes "$T/stored" "$T/m/stored"

# Two at once: one, or one after the other.
was=$(starts)
upgrade &
first=$!
"$STAGEFS_BIN" upgrade "$T/m" > "$T/second.out" 2>&1 || fail "$(cat "$T/second.out")"
wait $first || fail "$(cat "$T/upgrade.err")"
[[ $(($(starts) - was)) = [12] ]] || fail "$(starts) workers, $was before"
same_bytes "$T/stored" "$T/m/stored"

# One of whom the worker dies that was to say what it is: not that one's end is
# taken for the upgrade.
was=$(starts)
/usr/bin/python3 - "$(socket_of m)" "$T/taken" <<'END' &
import os, socket, sys
path, taken = sys.argv[1:]
s = socket.socket(socket.AF_UNIX)
s.bind(path + ".new")
s.listen()
os.rename(path, path + ".old")
os.rename(path + ".new", path)
open(taken, "w").close()
c = s.accept()[0]
os.rename(path + ".old", path)
c.close()
END
PIDS+=($!)
eventually 10 test -e "$T/taken"
install_programs
upgrade || fail "$(cat "$T/upgrade.err")"
equal "$(starts)" $((was + 1)) "workers started"
[[ $(readlink "/proc/$(worker_pid m)/exe") != *deleted* ]] || fail "not upgraded"

# Only root and the worker's user may.
if id nobody > /dev/null 2>&1; then
	chmod 755 "$T" "$T/bin"
	refused 'root' setpriv --reuid nobody --clear-groups "$STAGEFS_BIN" upgrade "$T/m"
fi
umount_fs m
