#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What mount.stagefs refuses: one line, the right exit status, nothing left.
# Needs no origin.
. "$(dirname "$0")/../../lib/common.sh"

URL=http://127.0.0.1:9
mkdir "$T/m"
touch "$T/file"
m() { "$MOUNT_BIN" "$URL" "$T/m" -o "name=x,cache=$T/c,min-free=0,user=root,$1"; }

refused 'takes an origin' "$MOUNT_BIN"
refused 'takes an origin' "$MOUNT_BIN" "$URL"
refused 'unknown argument --nonsense' "$MOUNT_BIN" --nonsense "$URL" "$T/m"
refused "nowhere: No such file" "$MOUNT_BIN" "$URL" "$T/nowhere"
refused 'is not a folder' "$MOUNT_BIN" "$URL" "$T/file"
refused 'cache=.* lies below the mount point' m "cache=$T/m/cache"
refused 'log=.* lies below the mount point' m "log=$T/m/log"
refused 'log=.*No such file' m "log=$T/nowhere/log"
refused 'log=x: give an absolute path' m log=x

# Options that the worker validates come back as mount.stagefs's own line.
refused '^mount.stagefs: unknown option capcity' m capcity=1G
refused 'capacity=12Q' m capacity=12Q
refused 'capacity=1k: takes' m capacity=1k
refused 'io-timeout=soon' m io-timeout=soon
refused 'serve=maybe' m serve=maybe
refused 'cache=c: give an absolute path' m cache=c
refused 'user=nosuchuser: there is no such user' m user=nosuchuser
refused 'option name' m 'name=a b'
refused 'key' m "key=$T/nokey"
refused 'cache .*' m "cache=$T/file"
# It is said when the worker has ended: trying again, nobody meets the last one.
equal "$(worker_pid m)" "" "a worker is left"

for url in ftp://x:1 http://user@x:1 x http://x/path; do
	refused . "$MOUNT_BIN" "$url" "$T/m" -o "cache=$T/c,user=root"
done

# Something is mounted there already.
mount -t tmpfs none "$T/m"
refused 'in use \(tmpfs\)' m debug=all
umount "$T/m"

# mount -f only looks at the arguments.
"$MOUNT_BIN" -f "$URL" "$T/m" -o "cache=$T/fake"
[ ! -e "$T/fake" ] || fail "mount -f made a cache"

equal "$(mounts_below)" "" "something is mounted"
eventually 10 nothing_left
equal "$(ls "$T/m")" ""
