#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The disk of the store is full to the last byte: every verb that has to write
# says so in one line and has written nothing, what only reads works, the
# daemon goes on serving, and when there is room again all goes on.
. "$(dirname "$0")/../../lib/common.sh"

truncate -s 64M "$T/disk.img"
mkfs.ext4 -q -m 0 "$T/disk.img"
mkdir "$T/disk"
mount -o loop "$T/disk.img" "$T/disk"
STORE=$T/disk/store
random_file "$T/a" 5000000 a
random_file "$T/b" 5000000 b
origin_start
publish "$T/a" a
mount_fs m
known() { origin server show m > /dev/null; }
eventually 20 known

fill()
{
	cat /dev/zero > "$T/disk/ballast" 2> /dev/null || :
	sync -f "$T/disk"
	cat /dev/zero >> "$T/disk/ballast" 2> /dev/null || :
}
full() { refused "disk is full" "$@"; equal "$status" 1 "$*"; }
AT="2031-12-01 06:00"
all()
{
	origin image list --json
	origin plan list --json | jq -c '[.plan[] | {id, server, image}]'
	origin order list --all --json | jq -c '[.orders[].number]'
	ls "$STORE/objects" "$STORE/manifests" "$STORE/incoming"
}

# The log may have a few pages left that it has used before: so many plan
# entries until it says no.
fill
before=$(all)
full origin image add "$T/b" --name b
equal "$(all)" "$before"
for _ in {1..200}; do
	status=0
	origin plan add --server m --image a --at "$AT" > /dev/null 2> "$T/err" || status=$?
	[ "$status" = 0 ] || break
	n=$((${n:-0} + 1))
done
say "${n:-0} plan entries fitted in"
equal "$status" 1
equal "$(wc -l < "$T/err")" 1
grep -q 'disk is full' "$T/err"
before=$(all)
full origin plan add --server m --image a --at "$AT"
full origin image add "$T/a" --name a2	# stored already; its name is not
equal "$(all)" "$before"
origin image verify > /dev/null
# What changes a row in its place may still fit.
for verb in "order hold m a --until +9d" "server set m --prefetch-rate 5M/s"; do
	# shellcheck disable=SC2086
	origin $verb > /dev/null 2> "$T/err" ||
		{ equal "$(wc -l < "$T/err")" 1; grep -q "disk is full" "$T/err"; }
done

# The daemon: reads are served, it is well, what it cannot write it says.
equal "$(curl -fsS "$URL/healthz")" ok
same_bytes "$T/a" "$T/m/a"
kill -0 "$ORIGIN_PID"
# A second start on a full disk.
origin_stop
"$ORIGIN_BIN" -C "$STORE" serve --listen "127.0.0.1:$PORT" >> "$T/origin.log" 2>&1 &
ORIGIN_PID=$!
PIDS+=("$ORIGIN_PID")
eventually 20 curl -fsS "$URL/healthz"
curl -fsS "$URL/v1/data/$(origin image show --json a | jq -r .image.digest)" > "$T/got"
same_bytes "$T/a" "$T/got"

# ---- room again
rm "$T/disk/ballast"
publish "$T/b" b
eventually 20 has_image m b
same_bytes "$T/b" "$T/m/b"
origin plan add --server m --image b --at "$AT" > /dev/null
equal "$(origin image list --json | jq '.images | length')" 2
origin image verify > /dev/null
end_fs m
origin_stop
umount "$T/disk"
