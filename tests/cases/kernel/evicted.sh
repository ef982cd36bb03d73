#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An image that the kernel reads itself is not evicted while it is open. What a
# client has mapped stays right over its eviction, and over a new version. Then
# nothing holds the file: its space is free.
. "$(dirname "$0")/../../lib/common.sh"

random_file "$T/c" 20000000 c
random_file "$T/c2" 10000000 c2
origin_start
publish "$T/c" c
mkdir "$T/t.cache"
mount -t tmpfs -o size=200M none "$T/t.cache"
mount_fs t capacity=150M
used() { df --output=used -B 1 "$T/t.cache" | tail -n 1; }
open_images() { [ "$(metric t open_images)" = "$1" ]; }
empty=$(used)
same_bytes "$T/c" "$T/t/c"
durable() { head -c 1 "$T/t/c" > /dev/null; [ "$(metric t opens_passthrough_total)" -gt 0 ]; }
eventually 20 durable
eventually 20 open_images 0

exec 7< "$T/t/c"
open_passthrough() { [ "$(metric t open_images_passthrough)" = 1 ]; }
eventually 20 open_passthrough
before=$("$TOOLS/sumfd" 7)
refused 'open' "$STAGEFS_BIN" evict "$T/t" c
equal "$("$TOOLS/sumfd" 7)" "$before" "what is open, after an eviction was tried"
equal "$before" "$(sum "$T/c")"

# Mapped, and closed: for the kernel that is no open file any more.
mkfifo "$T/go"
"$TOOLS/sumfd" 8 later 8< "$T/t/c" 7<&- < "$T/go" > "$T/mapped" &
mapper=$!
PIDS+=($mapper)
exec 9> "$T/go"
eventually 20 grep -q mapped "$T/mapped"
exec 7<&-
eventually 20 open_images 0
eventually 20 "$STAGEFS_BIN" evict "$T/t" c
publish "$T/c2" c
new() { cmp -s "$T/c2" "$T/t/c"; }
eventually 20 new
forget_pages
exec 9>&-
wait $mapper
equal "$(tail -n 1 "$T/mapped")" "$before" "what is mapped, after the eviction"

eventually 20 "$STAGEFS_BIN" evict "$T/t" c
gone() { [ "$(used)" -lt $((empty + 5000000)) ]; }
eventually 20 gone
umount_fs t
eventually 20 umount "$T/t.cache"
