#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# umount by anybody and SIGTERM end everything, with reads parked and the origin
# gone; what was stored is there at the next mount, which may come at once.
. "$(dirname "$0")/../../lib/common.sh"

random_file "$T/stored" 20000000 stored
random_file "$T/cold" 50000000 cold
origin init > /dev/null
origin image add "$T/stored" --name stored > /dev/null
origin image add "$T/cold" --name cold > /dev/null
origin_start
socket=$(socket_of m)
mount_fs m
[ -S "$socket" ] || fail "no control socket"
same_bytes "$T/stored" "$T/m/stored"

parked() { [ "$(status_of m .reads.parked)" -ge 1 ]; }

# 1. umount, and at once another mount of the same cache.
umount_fs m
mount_fs m
sent=$(origin_sent)
same_bytes "$T/stored" "$T/m/stored"
equal "$(origin_sent)" "$sent" "a complete image was transferred again"

# 2. `stagefs umount` returns when the processes have gone.
refused 'files are open' bash -c "exec 5< '$T/m/stored'; '$STAGEFS_BIN' umount '$T/m'"
"$STAGEFS_BIN" umount "$T/m"
eventually 10 nothing_left
[ ! -e "$socket" ] || fail "the control socket is left"
refused 'no stagefs is mounted' "$STAGEFS_BIN" umount "$T/m"

refused 'no stagefs is mounted' "$STAGEFS_BIN" umount "$T/nowhere"

#    Also under a name that the mount table has to write in another way.
mkdir "$T/odd name\\x"
"$MOUNT_BIN" "$URL" "$T/odd name\\x" -o "name=m,cache=$T/m.cache,user=root,log=$T/m.log"
same_bytes "$T/stored" "$T/odd name\\x/stored"
refused 'no stagefs is mounted' "$STAGEFS_BIN" umount "$T"
equal "$(cd "$T" && "$STAGEFS_BIN" umount "odd name\\x/")" ""
equal "$(mounts_below)" ""

# 3. Reads are parked, the origin has gone, a file stays open: umount -l, then
#    the clients are killed.
mount_fs m io-timeout=1h
origin_stop -KILL
readers=()
for i in $(seq 20); do
	dd if="$T/m/cold" of=/dev/null bs=4k count=1 skip=$((i * 500)) status=none 2>/dev/null &
	readers+=($!)
done
eventually 10 parked
refused 'busy' umount "$T/m"
umount -l "$T/m"
kill -9 "${readers[@]}"
wait "${readers[@]}" 2>/dev/null || :
eventually 10 nothing_left

# 4. The same with SIGTERM to the supervisor: readers get an error.
mount_fs m io-timeout=1h
dd if="$T/m/cold" of=/dev/null bs=4k count=1 status=none 2>/dev/null &
reader=$!
eventually 10 parked
for p in $(processes_left); do
	tr '\0' ' ' < "/proc/$p/cmdline" | grep -q 'mount.stagefs ' && kill -TERM "$p"
done
! wait $reader || fail "a read without an origin succeeded"
eventually 10 nothing_left
equal "$(mounts_below)" ""
[ ! -e "$socket" ] || fail "the control socket is left"

# 5. umount -f while reads wait.
mount_fs m io-timeout=1h
dd if="$T/m/cold" of=/dev/null bs=4k count=1 status=none 2>/dev/null &
reader=$!
eventually 10 parked
# "busy" is what umount(8) may say; it has ended the connection all the same.
umount -f "$T/m" 2>/dev/null || :
! wait $reader || fail "a read without an origin succeeded"
eventually 10 nothing_left
equal "$(mounts_below)" ""
