#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Adds that are killed at random moments leave nothing visible, and nothing at
# all after the next add; an interrupted one cleans up itself.
. "$(dirname "$0")/../../lib/common.sh"

origin init > /dev/null
random_file "$T/big" 150000000 1
random_file "$T/small" 1000 2
origin image add "$T/small" --name small > /dev/null

for i in $(seq 12); do
	"$ORIGIN_BIN" -C "$STORE" image add "$T/big" --name dir/big \
		> "$T/add.log" 2>&1 &
	pid=$!
	sleep "0.$(printf %03d $((i * 35)))"
	kill -9 "$pid" 2> /dev/null || :
	wait "$pid" 2> /dev/null || :
	if origin image show dir/big > /dev/null 2>&1; then
		origin image verify dir/big > /dev/null
		origin image remove dir/big > /dev/null
	fi
	printf '%s\n' "$i" > "$T/small"
	origin image add "$T/small" --name small --keep 0s > /dev/null
	equal "$(ls "$STORE/incoming" | wc -l)" 0
	# What it replaced goes with the add after it.
	printf 'again %s\n' "$i" > "$T/small"
	origin image add "$T/small" --name small --keep 0s > /dev/null
	[ "$(ls "$STORE/objects" | wc -l)" -le 2 ] || fail "objects are left"
	equal "$(origin image list --json | jq '.images | length')" 1
done

# SIGINT: one line, status 1, and clean at once.
"$ORIGIN_BIN" -C "$STORE" image add "$T/big" --name dir/big \
	> "$T/add.log" 2> "$T/add.err" &
pid=$!
begun() { [ -n "$(ls "$STORE/incoming")" ] || [ ! -d "/proc/$pid" ]; }
eventually 10 begun
kill -TERM "$pid" 2> /dev/null || :
status=0
wait "$pid" || status=$?
if [ "$status" != 0 ]; then
	equal "$status" 1
	grep -q "interrupted: nothing was added" "$T/add.err"
	refused "no image named" origin image show dir/big
fi
equal "$(ls "$STORE/incoming" | wc -l)" 0

# Two at once, one content: both names, one object.
origin image add "$T/big" --name one > /dev/null &
first=$!
origin image add "$T/big" --name two > /dev/null
wait "$first"
origin image verify > /dev/null
equal "$(origin image list --json | jq -r '[.images[].name] | join(" ")' |
	tr ' ' '\n' | grep -c -e one -e two)" 2
