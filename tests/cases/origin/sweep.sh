#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The daemon removes what no version needs any more by itself: a replaced
# version's object once its time to be kept is over, and half-done adds.
. "$(dirname "$0")/../../lib/common.sh"

origin init > /dev/null
random_file "$T/old" 3000000 old
random_file "$T/new" 3000000 new
origin image add "$T/old" --name a.img > /dev/null
old=$(origin image show a.img --json | jq -r '.. | .digest? // empty' | head -1)
origin image add "$T/new" --name a.img --keep 1s > /dev/null
new=$(origin image show a.img --json | jq -r '.. | .digest? // empty' | head -1)
[ -e "$STORE/objects/$old" ] || fail "removed before its time"
sleep 2
origin_start
gone() { [ ! -e "$STORE/objects/$old" ] && [ ! -e "$STORE/manifests/$old" ]; }
eventually 20 gone
[ -e "$STORE/objects/$new" ] || fail "removed what is published"
equal "$(curl -fsS "$URL/v1/data/$new" | sha256sum | cut -c 1-64)" "$(sum "$T/new")"

# And of the history what is older than it is to be kept; by default 90 days.
origin_stop
old_lines() { sqlite3 "$STORE/origin.db" "SELECT count(*) FROM log WHERE event='old'"; }
sqlite3 "$STORE/origin.db" "INSERT INTO log(time_s,event,text) VALUES
	(strftime('%s','now')-91*86400,'old','older'),(strftime('%s','now')-80*86400,'old','young')"
origin_start
pruned() { [ "$(old_lines)" = 1 ]; }
eventually 20 pruned
origin_stop
origin_start --history 30d
pruned_more() { [ "$(old_lines)" = 0 ]; }
eventually 20 pruned_more
eventually 20 grep -q "rows of old history removed: 1$" "$T/origin.log"
