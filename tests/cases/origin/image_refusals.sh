#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `image` refuses: one line that says what to do, and nothing published.
. "$(dirname "$0")/../../lib/common.sh"

origin init > /dev/null
random_file "$T/f" 100000 1
origin image add "$T/f" --name win11/base.wim > /dev/null
before=$(origin image list --json)

add() { refused "$1" origin image add "$2" --name "$3"; }
add "folder" "$T" x
add "device" /dev/null x
mkfifo "$T/pipe"
add "pipe" "$T/pipe" x
add "No such file" "$T/missing" x
add "'\.\.'" "$T/f" ../x
add "." "$T/f" /x
add "." "$T/f" a//b
add "control" "$T/f" $'a\nb'
add "UTF-8" "$T/f" $'a\xff'
add "." "$T/f" "$(printf '%0256d' 0)"
add "." "$T/f" "$(printf 'a/%.0s' $(seq 70))x"
add "differs only in case from win11/base.wim" "$T/f" win11/Base.WIM
add "differs only in case from win11," "$T/f" WIN11/x
add "is a folder" "$T/f" win11
add "is an image" "$T/f" win11/base.wim/x
refused "name is missing" origin image add "$T/f"
equal "$status" 2
refused "." origin image add
equal "$status" 2
refused "." origin image add "$T/f" --name x --keep never
equal "$status" 2
refused "." origin image add "$T/f" --name x --wrong
equal "$status" 2
refused "no image named y" origin image remove y
refused "no image named y" origin image show y
refused "no image named y" origin image verify y
refused "is a folder" origin image remove win11
refused "is not a store.*init" "$ORIGIN_BIN" -C "$T/nowhere" image list
refused "not empty" "$ORIGIN_BIN" -C "$T" init

# The plan needs it: refused, unless forced.
sqlite3 "$STORE/origin.db" "INSERT INTO plan(server,image,at_s,created_s)
	VALUES('line3','win11/base.wim',4000000000,1)"
refused "plan entry 1 needs it on line3" origin image remove win11/base.wim

equal "$(origin image list --json)" "$before"
equal "$(ls "$STORE/incoming" | wc -l)" 0
origin image remove win11/base.wim --force > /dev/null

# A file that somebody is writing to.
random_file "$T/big" 60000000 2
while :; do printf x >> "$T/big"; done &
PIDS+=($!)
# On a busy machine it may be read between two changes: once more.
noticed()
{
	origin image add "$T/big" --name big > "$T/out" 2> "$T/err" || return 0
	origin image remove big
	return 1
}
eventually 20 noticed
equal "$(wc -l < "$T/err")" 1
grep -q "changed while it was read" "$T/err"
kill "${PIDS[0]}"
equal "$(origin image list --json | jq -c .)" '{"images":[]}'
equal "$(ls "$STORE/incoming" "$STORE/objects" | grep -c '^[^/]')" 0
equal "$(ls "$STORE/incoming" | wc -l)" 0

# A database of a newer program.
sqlite3 "$STORE/origin.db" "PRAGMA user_version=99"
refused "newer" origin image list
