#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The verbs of stagefs on a mount: what they show, what they do, and what each
# says when it cannot.
. "$(dirname "$0")/../../lib/common.sh"

random_file "$T/a" 30000000 a
random_file "$T/b" 30000000 b
random_file "$T/huge" 90000000 huge
origin_start
publish "$T/a" win/a.wim
publish "$T/b" b.iso
publish "$T/huge" huge
M=$T/m
mount_fs m capacity=64M
fs() { "$STAGEFS_BIN" "$@"; }

# ---- status: for people, for programs, for Prometheus
fs status "$M" > "$T/status"
grep -qx 'open       0 images, 0 of them read by the kernel itself' "$T/status"
grep -qx 'images     0 stored, 0 of them complete' "$T/status"
if grep -q ORDER "$T/status"; then fail "a table of no orders"; fi
equal "$(fs status --json "$M" | jq -r '.mount + " " + .name')" "$M m"
fs status --metrics "$M" > "$T/metrics"
# Each name has one TYPE above it, and _total is what a counter is called.
awk '$1 == "#" && $2 == "TYPE" {
		if ($3 in type || ($4 == "counter") != ($3 ~ /_total$/)) exit 1
		type[$3] = $4; next
	}
	$1 == "#" { next }
	{ name = $1; sub(/{.*/, "", name)
		if (!(name in type) || $1 in seen || $NF !~ /^[0-9]+$/) exit 1
		seen[$1]; n++ }
	END { if (n < 30) exit 1 }' "$T/metrics" || fail "$(cat "$T/metrics")"

# ---- fetch: whole, once, quiet in a pipe
equal "$(fs fetch "$M" win/a.wim 2>&1)" ""
equal "$(xattr m win/a.wim state)" complete
sent=$(origin_sent)
fs fetch "$M" win/a.wim
same_bytes "$T/a" "$M/win/a.wim"
equal "$(origin_sent)" "$sent" "it was there"
refused '^stagefs: win: a folder' fs fetch "$M" win
refused '^stagefs: win/none: no such image in the catalog' fs fetch "$M" win/none
refused '^stagefs: huge: no room: it needs .* more, free are .* of a capacity of 64M' \
	fs fetch "$M" huge
equal "$(xattr m huge state)" absent "nothing was fetched that cannot fit"

# Interrupted it keeps what it has; the next one fetches the rest (R2).
origin_stop
origin_start --prefetch-rate 4M/s
before=$(status_of m .fetched.bytes.prefetch)
"$STAGEFS_BIN" fetch "$M" b.iso &
fetch=$!
partly() { [ "$(xattr m b.iso cached_bytes)" -ge 4000000 ]; }
eventually 20 partly
kill $fetch
status=0
wait $fetch || status=$?
[ "$status" != 0 ] || fail "an interrupted fetch said that it was done"
idle() { [ "$(xattr m b.iso state)" = partial ]; }
eventually 10 idle
origin_stop
origin_start
fs fetch "$M" b.iso
same_bytes "$T/b" "$M/b.iso"
equal $(($(status_of m .fetched.bytes.prefetch) - before)) 30000000

# ---- list
equal "$(fs list -n -r -o NAME,STATE,OPEN "$M" | tr '\n' ' ')" \
	'win/a.wim complete no b.iso complete no '
refused 'unknown column|NOPE' fs list -o NOPE "$M"

# ---- verify: a byte that the disk has changed is found, and mended (C7)
id=$(xattr m b.iso id)
printf X | dd of="$M.cache/data/$id" bs=1 seek=5000000 conv=notrunc status=none
fs verify "$M" > "$T/verify"
grep -q '^b.iso .* 1 repaired' "$T/verify"
grep -q '^win/a.wim .* 0 ok' "$T/verify"
same_bytes "$T/b" "$M/b.iso"
refused 'none: not stored here' fs verify "$M" none

# ---- why: of each image what there is to say, and nothing else
# says IMAGE LINE...: exactly these, but for times.
says()
{
	local image=$1
	shift
	fs why "$M" "$image" | sed -E 's/[0-9-]{10} [0-9:]{5,8}[^ :,]*( [A-Z0-9+-]+)?/TIME/' > "$T/why"
	printf '%s\n' "$@" | diff - "$T/why" || fail "why $image"
}
tail -c 1 "$M/huge" > /dev/null
says win/a.wim 'win/a.wim: here: all of its 28.6M, verified, since TIME' \
	'  it is not evicted now: open, just read or being fetched'
fs why "$M" huge > "$T/why"
grep -q '^huge: here in part: 1M of 85.8M$' "$T/why" || grep -q '^huge: not here: nothing of its 85.8M is stored$' "$T/why"
grep -q '^  there is no room: it needs .* of a capacity of 64M; it is read without being stored$' "$T/why"
equal "$(fs why --json "$M" b.iso | jq -r '[.name, .published, .complete, .size] | join(" ")')" \
	'b.iso true true 30000000'
refused '^stagefs: none: not known: the origin publishes no image of that name .*none is stored here' fs why "$M" none
refused '^stagefs: win: a folder' fs why "$M" win

# ---- evict
exec 7< "$M/b.iso"
refused '^stagefs: b.iso: open: wait until nobody reads it' fs evict "$M" b.iso
exec 7<&-
origin order hold m b.iso --until +1h > /dev/null
held() { [ "$(xattr m b.iso held_until)" != - ]; }
eventually 20 held
refused '^stagefs: b.iso: on hold until .*--force' fs evict "$M" b.iso
prints '^b.iso: .* freed$' fs evict --force "$M" b.iso
equal "$(xattr m b.iso state)" absent
refused '^stagefs: b.iso: not stored here' fs evict "$M" b.iso
# Its bytes are free when the last who looked at it has let go.
room() { prints 'there is room for all of it' fs why "$M" b.iso; }
eventually 10 room
says b.iso 'b.iso: not here: nothing of its 28.6M is stored' '  there is room for all of it' \
	'  it was evicted last at TIME: it was asked for, by order or `stagefs evict`'

# ---- who may, and what is none of it
other() { setpriv --reuid 65534 --regid 65534 --clear-groups "$STAGEFS_BIN" "$@"; }
chmod 755 "$T"
if other --version > /dev/null 2>&1; then # unless it lies where they cannot go
	other status "$M" > /dev/null
	other list "$M" > /dev/null
	for verb in fetch evict verify; do
		refused "^stagefs: $verb is for root only" other "$verb" "$M" win/a.wim
	done
fi
refused 'no stagefs is mounted there' fs status "$T"
refused 'no stagefs is mounted there' fs list "$T/nowhere"
for verb in status list fetch evict verify why; do
	refused "^stagefs: $verb needs DIR" fs "$verb"
	equal "$status" 2
done
refused "no.*verb|unknown" fs nonsense
equal "$status" 2

# Asked between two workers: the next one answers.
kill -9 "$(worker_pid m)"
timeout 120 "$STAGEFS_BIN" status "$M" > /dev/null

# ---- the origin goes: mending cannot
id=$(xattr m win/a.wim id)
origin_stop
printf X | dd of="$M.cache/data/$id" bs=1 seek=5000000 conv=notrunc status=none
timeout 60 "$STAGEFS_BIN" verify "$M" win/a.wim > "$T/verify" 2>&1 &
verify=$!
found() { [ "$(xattr m win/a.wim state)" != complete ]; }
eventually 20 found
kill $verify
wait $verify || :
away() { [ "$(status_of m '.sources[0].reachable')" = false ]; }
eventually 30 away
fs why "$M" win/a.wim > "$T/why"
grep -q '^  1 blocks were found bad on the disk and are to be fetched again$' "$T/why"
grep -q "^  $URL does not answer since " "$T/why"
grep -q '^  what is missing cannot be read until a source answers$' "$T/why"
umount_fs m
