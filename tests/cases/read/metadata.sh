#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# R8: nothing but data needs the origin. It is stopped, and then gone; lists,
# attributes and sizes are answered as before, also when the kernel has
# forgotten them, also in pieces as small as a client likes.
. "$(dirname "$0")/../../lib/common.sh"

random_file "$T/a" 5000000 a
echo small > "$T/small"
origin init > /dev/null
publish "$T/a" win11/base.wim
for i in $(seq -w 300); do printf 'many/a rather long name, number %s\t' "$i"; done |
	tr '\t' '\n' > "$T/names"
while read -r name; do publish "$T/small" "$name"; done < "$T/names"
origin_start
mount_fs m io-timeout=1h
M=$T/m
same_bytes "$T/a" "$M/win11/base.wim"
eventually 10 image_is m win11/base.wim complete
sleep 1.5 # whatever is still to be told to the kernel

# All that one can ask without reading. The guard is for a hanging test only.
ask()
{
	echo 2 > /proc/sys/vm/drop_caches
	timeout 60 ls -lR "$M"
	timeout 60 find "$M" -printf '%i %s %n %m %T@ %P\n'
	timeout 60 getfattr -R -d "$M" 2> /dev/null
	timeout 60 df -B1 --output=size "$M"
	timeout 60 du -s "$M"
	timeout 60 stat -f -c '%T %s %b %l' "$M"
	timeout 60 stat "$M/nothing" 2>&1 || :
	timeout 60 bash -c ': < "$1"' - "$M/many/a rather long name, number 007"
}

ask > "$T/with"
kill -STOP "$ORIGIN_PID"
ask > "$T/stopped"
cmp "$T/with" "$T/stopped"

# A read is parked at the same time, and a stored image still reads.
cat "$M/many/a rather long name, number 001" > /dev/null &
reader=$!
PIDS+=($reader)
waits() { [ "$(status_of m .reads.parked)" = 1 ]; }
eventually 10 waits
ask > "$T/parked"
cmp "$T/with" "$T/parked"
same_bytes "$T/a" "$M/win11/base.wim"

# Small buffers, and every cookie on its own.
(cd "$M/many" && ls) > "$T/listed"
equal "$(wc -l < "$T/listed")" 300
for bytes in 64 100 333 4096 65536; do
	timeout 60 "$TOOLS/dents" "$M/many" "$bytes" | cmp - "$T/listed"
done
equal "$("$TOOLS/dents" "$M" 280)" "$(printf 'many\nwin11')"

# Gone for good.
kill -CONT "$ORIGIN_PID"
wait $reader
origin_stop -KILL
eventually 10 image_is m "many/a rather long name, number 001" complete
ask > "$T/gone"
diff <(grep -v 'number 001' "$T/with") <(grep -v 'number 001' "$T/gone") > "$T/diff" || :
# But for the space that the small image took since.
! grep -E '^[<>]' "$T/diff" | grep -vE '^[<>] (total [0-9]+|[0-9]+.*|user\.stagefs\..*)$' ||
	fail "$(cat "$T/diff")"
end_fs m

# And at a mount without it.
mount_fs m 2> /dev/null
ask > "$T/offline"
cmp "$T/gone" "$T/offline"
umount_fs m
