#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The origin is away, or another one, or none at all.
. "$(dirname "$0")/../../lib/common.sh"

random_file "$T/stored" 5000000 stored
random_file "$T/cold" 5000000 cold
origin init > /dev/null
origin image add "$T/stored" --name stored > /dev/null
origin image add "$T/cold" --name cold > /dev/null
cp "$STORE"/*.pub "$T/" 2>/dev/null || :

# 1. An empty cache and no origin: mounts, empty, with a warning; fills when
#    the origin comes.
PORT=$(free_port)
URL=http://127.0.0.1:$PORT
mkdir "$T/m"
mount_fs m io-timeout=1s 2> "$T/warning"
grep -q '^mount.stagefs: warning: ' "$T/warning" || fail "no warning: $(cat "$T/warning")"
equal "$(ls "$T/m")" ""
origin_start
eventually 30 has_image m stored
eventually 30 cmp "$T/stored" "$T/m/stored" # a second may be too little

# 2. A second mount on this cache.
mkdir "$T/second"
refused 'cache|in use|busy' "$MOUNT_BIN" "$URL" "$T/second" -o "name=second,cache=$T/m.cache,user=root,min-free=0"

# 3. The origin goes: what is stored reads, the rest is ETIMEDOUT in time.
end_fs m
origin_stop
mount_fs m io-timeout=1s 2> "$T/warning"
grep -q 'warning: .*what the cache holds' "$T/warning" || fail "no warning: $(cat "$T/warning")"
equal "$(ls "$T/m")" "$(printf 'cold\nstored')"
same_bytes "$T/stored" "$T/m/stored"
refused 'timed out' cat "$T/m/cold"
origin_start
eventually 30 cmp "$T/cold" "$T/m/cold"
end_fs m

# 4. Another origin with this cache.
origin_stop
STORE=$T/other
random_file "$T/else" 100000 else
origin init > /dev/null
origin image add "$T/else" --name else > /dev/null
origin_start
refused 'cache .* is of another origin' mount_fs m
equal "$(mounts_below)" ""

# 5. Something that is no stagefs origin, at the first contact.
origin_stop
mkdir "$T/www"
(cd "$T/www" && exec /usr/bin/python3 -m http.server --bind 127.0.0.1 "$PORT" > /dev/null 2>&1) &
PIDS+=($!)
eventually 10 curl -fsS "$URL/"
refused 'is this a stagefs origin' mount_fs fresh
equal "$(mounts_below)" ""

# ... and later: the mount stands on what it has.
mount_fs m 2> "$T/warning"
grep -q warning "$T/warning" || fail "no warning: $(cat "$T/warning")"
same_bytes "$T/stored" "$T/m/stored"
umount_fs m
