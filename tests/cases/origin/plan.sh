#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The plan on the command line: what is refused and why, what is foretold, and
# what goes out comes in again. No daemon runs.
. "$(dirname "$0")/../../lib/common.sh"
export TZ=Europe/Berlin

random_file "$T/a" 3000000 1
origin init > /dev/null
publish "$T/a" win11/base.wim
add() { origin plan add --image win11/base.wim "$@"; }

# ---- refused, in one line
refused "there is no server 'line3'.*server list.*--force" add --server line3 --at "+1h"
equal "$status" 1
equal "$(origin plan list --json | jq -c .)" '{"plan":[]}'
line3() { add --force --server line3 "$@"; }
refused "no image named nope" origin plan add --force -s line3 -i nope -a "+1h"
refused "is a folder.*win11/ for all" origin plan add --force -s line3 -i win11 -a "+1h"
refused "needed" origin plan add --server line3
refused "server" add --force --server "../etc" --at "+1h"
while IFS=$'\t' read -r at pattern; do
	refused "at: .*$pattern" line3 --at "$at"
	equal "$status" 2
done <<'TIMES'
soon	is not a time
2036-02-30 06:00	there is no 2036-02-30
2036-12-01	time of day is missing
2036-12-01 24:00	on a clock
2036-12-01 06:00 Europe/Berlim	there is no time zone
2037-03-29 02:30	does not exist .*write 03:30
2037-10-25 02:30	occurs twice .*[+]02:00 .*[+]01:00
2037-12-01 06:00 +09:00 America/New_York	is at -05:00 then
2099-12-01 06:00	between 1970 and 2037
2020-01-01 06:00	is in the past
TIMES
refused "until: " line3 --at "+1h" --until "later"
refused "end .* before it begins" line3 --at "+2h" --until "2020-01-01 06:00"
refused "repeat: .*RFC 5545" line3 --at "+1h" --repeat daily
refused "repeat: .*never comes true" line3 --at "+1h" --repeat "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"
refused "priority" line3 --at "+1h" --priority high
refused "is not the number of an entry" origin plan remove one
refused "there is no plan entry 7" origin plan remove 7
refused "there is no plan entry 7" origin plan show 7
refused "no date to come" origin plan check 7
refused "not a time span" origin plan check --ahead far
equal "$(origin plan list --json | jq '.plan | length')" 0 "something refused was added"

# ---- added, and told at once
line3 --at "2036-12-01 06:00" > "$T/out"
grep -q "^entry 1: line3 needs win11/base.wim at 2036-12-01 06:00 +01:00: server line3 has not reported yet$" "$T/out"
status=0
origin plan check 1 > "$T/out" 2> "$T/err" || status=$?
equal "$status" 1 "an entry of an unknown server is not well"
[ ! -s "$T/err" ] || fail "the table says it all"

# As it would be after a descriptor: 4 MB free of 5, in Tokyo.
sqlite3 "$STORE/origin.db" "INSERT INTO server(name, first_seen_s, last_seen_s, capacity, free, time_zone)
	VALUES('line3', 1, strftime('%s', 'now'), 5000000, 4000000, 'Asia/Tokyo')"
line3 --at "2036-12-01 06:00" --until "18:00" --priority 5 > "$T/out"
grep -q "^entry 2: .* at 2036-12-01 06:00 +09:00: in time, ready 2036-11-30 06:00" "$T/out"
equal "$(origin plan list --json | jq -r '.plan[] | select(.entry == 2) | "\(.at) \(.until) \(.priority) \(.state) \(.size)"')" \
	"2036-12-01T06:00:00+09:00 2036-12-01T18:00:00+09:00 5 waiting 3000000"
origin plan check > "$T/out"

random_file "$T/b" 6000000 2
publish "$T/b" huge
refused_check() { status=0; origin plan check "$@" > "$T/out" || status=$?; equal "$status" 1; }
origin plan add -s line3 -i huge -a "+2h" > "$T/out"
grep -q "does not fit: needs 5.7M, capacity 4.8M" "$T/out"
refused_check
grep -q "does not fit" "$T/out"
refused_check --json -o +FITS,EVICTS 3
equal "$(jq -r '.check[0] | "\(.ok) \(.fits) \(.evicts)"' "$T/out")" "false false null"
origin plan remove 3 > /dev/null

# Late is known ahead: 3 MB at 1 MB/s, with nothing but two seconds.
sqlite3 "$STORE/origin.db" "INSERT OR REPLACE INTO setting VALUES('prefetch_rate', '100000/s')"
line3 --at "+20s" > "$T/out"
grep -q ": late by 1[0-9]s, ready " "$T/out"
refused_check 4
prints '^entry 4: removed$' origin plan remove 4
refused "is removed already" origin plan remove 4
prints '^Entry: *4, removed' origin plan show 4

# A server that is off will not be in time, unless its transfer begins later.
sqlite3 "$STORE/origin.db" "DELETE FROM setting WHERE name='prefetch_rate';
	UPDATE server SET last_seen_s=last_seen_s-7*86400"
line3 --at "+5h" > "$T/out"
grep -q ": in time, ready .*, if line3 comes back: it was last seen 7d" "$T/out"
refused_check 5
origin plan check 2 > "$T/out"
grep -q "in time.*if line3 comes back" "$T/out"
origin plan remove 5 > /dev/null
sqlite3 "$STORE/origin.db" "DELETE FROM plan WHERE entry=5; UPDATE sqlite_sequence SET seq=4 WHERE name='plan';
	UPDATE server SET last_seen_s=last_seen_s+7*86400"

# ---- dates that come back, and the two ways out
line3 --at "2036-12-01 06:00 America/New_York" --repeat "FREQ=WEEKLY;BYDAY=MO,TU" > /dev/null
equal "$(origin plan show 5 --json | jq -r '"\(.zone) \(.repeat) \(.dates | length)"')" \
	"America/New_York FREQ=WEEKLY;BYDAY=MO,TU 1"
origin plan export > "$T/plan.tsv"
equal "$(grep -vc '^#' "$T/plan.tsv")" 3
printf 'line3\twin11/base.wim\tyesterday\n' > "$T/bad.tsv"
refused "bad.tsv, line 1: at: 'yesterday'.*nothing was added" origin plan import "$T/bad.tsv"
cat "$T/plan.tsv" "$T/bad.tsv" > "$T/half.tsv"
refused "half.tsv, line 5: .*nothing was added" origin plan import "$T/half.tsv"
equal "$(origin plan export | grep -vc '^#')" 3
# What would be refused alone is refused in a table, and takes all with it.
printf 'line3\twin11/base.wim\t+1h\nline3\twin11/base.wim\t+2h\t2020-01-01 06:00\n' > "$T/bad.tsv"
refused "line 2: .*end .* before it begins.*nothing was added" origin plan import "$T/bad.tsv"
equal "$(origin plan export | grep -vc '^#')" 3
# Several are removed, or none.
refused "there is no plan entry 77: see .*; nothing was removed" origin plan remove 1 77 2
refused "plan entry 4 is removed already.*; nothing was removed" origin plan remove 2 4
equal "$(origin plan export | grep -vc '^#')" 3
origin plan remove 1 2 5 2 > "$T/out"
equal "$(tr '\n' ' ' < "$T/out")" "entry 1: removed entry 2: removed entry 5: removed "
prints '^3 entries added$' origin plan import "$T/plan.tsv"
origin plan export > "$T/again.tsv"
same_bytes "$T/plan.tsv" "$T/again.tsv"
origin plan list > "$T/out"
grep -Eq '^ +8 line3 ' "$T/out"

# ---- groups and folders
sqlite3 "$STORE/origin.db" "UPDATE server SET capacity=50000000, free=40000000"
refused "no group '@hall1'.*group list.*--force" origin plan add -s @hall1 -i win11/ -a "+1h"
refused "not in @hall1" origin server group remove hall1 line3
refused "no group @hall1" origin server group remove @hall1
refused "group: server name 'a b'" origin server group add "a b" line3
equal "$status" 2
refused "server name '@line3'" origin server group add hall1 @line3
refused "needs GROUP" origin server group add hall1
equal "$(origin server group list --json | jq -c .)" '{"groups":[]}'
prints '^@hall1: 2 servers added$' origin server group add @hall1 line3 line9
origin server group add hall2 line4 > /dev/null
equal "$(origin server group list -n -r | tr '\n' ' ')" "hall1 line3 hall1 line9 hall2 line4 "
group() { origin plan add -s @hall1 "$@"; }
refused "no image named nope" group -i nope/ -a "+1h"
refused "not a folder" group -i win11/base.wim/ -a "+1h"
refused "must not be empty" group -i / -a "+1h"
publish "$T/a" win11/drivers/net.img
group -i win11/ -a "2036-12-02 06:00" > "$T/out"
# line9 has told no zone: Tokyo it is.
grep -q '^entry 9: @hall1 needs win11/ at 2036-12-02 06:00 +09:00: 4 images on servers, 2 in time$' "$T/out"
equal "$(grep -c '^  line9 .*has not reported yet$' "$T/out")" 2
equal "$(origin plan list --json | jq -r '.plan[] | select(.entry == 9) | "\(.server) \(.image) \(.state) \(.staged) \(.size) \(.expected) \(.message)"')" \
	"@hall1 win11/ waiting 0/4 12000000 null server line9 has not reported yet"
equal "$(origin plan list -s line3 --json | jq -r '.plan[] | select(.entry == 9) | "\(.server) \(.image) \(.staged) \(.message)"')" \
	"line3 win11/ 0/2 null"
equal "$(origin plan list --each --json | jq -r '[.plan[] | select(.entry == 9) | "\(.server) \(.image)"] | join(", ")')" \
	"line3 win11/base.wim, line3 win11/drivers/net.img, line9 win11/base.wim, line9 win11/drivers/net.img"
equal "$(origin plan list -s @hall1 -n -o ENTRY | sort -u | tr -d ' ')" 9
refused_check 9
prints '^@hall1: 1 server removed$' origin server group remove hall1 line9
origin plan check 9 > "$T/out"
equal "$(origin plan show 9 --json | jq -r '[.dates[].server] | unique | join(" ")')" line3
sqlite3 "$STORE/origin.db" "INSERT INTO server(name, first_seen_s, last_seen_s, time_zone) VALUES('line9', 1, 1, 'UTC')"
origin server group add hall1 line9 > /dev/null
refused "different time zones.*06:00 Europe/Berlin" group -i win11/ -a "06:00"
equal "$status" 2
group -i win11/ -a "2036-12-02 06:00 Asia/Tokyo" > /dev/null
group -i win11/ -a "+1h" > /dev/null
origin plan remove 10 11 > /dev/null
refused "plan entry 9 needs it" origin image remove win11/drivers/net.img
origin image remove win11/drivers/net.img --force > /dev/null
origin image remove win11/base.wim --force > /dev/null
refused_check 9
grep -q "no image in this folder is published" "$T/out"
prints '^@hall1: removed$' origin server group remove hall1
prints '^ *9 @hall1 ' origin plan list
publish "$T/a" win11/base.wim
prints 'group @hall1 has no servers' origin plan list
prints '^@hall1	win11/	2036-12-02T06:00:00[+]09:00 Asia/Tokyo	' origin plan export
origin plan export > "$T/plan.tsv"
refused "line 6: there is no group '@hall1'.*nothing was added" origin plan import "$T/plan.tsv"
origin plan import --force "$T/plan.tsv" > /dev/null

# ---- all of it, on another origin: groups, zones that are no city's, and what
# has begun; not what is over
origin plan remove 9 > /dev/null
origin server group add hall1 line3 line9 > /dev/null
line3 --at "2036-12-01 06:00 CET" --repeat FREQ=DAILY > /dev/null
entry=$(line3 --at "2036-12-02 06:00" | sed -n 's/^entry \([0-9]*\): .*/\1/p')
sqlite3 "$STORE/origin.db" "UPDATE plan SET at_s=strftime('%s', 'now')-7200 WHERE entry=$entry"
line3 --at "2036-12-03 06:00" > /dev/null
sqlite3 "$STORE/origin.db" "UPDATE plan SET at_s=1700000000 WHERE entry=$((entry + 1))"
origin plan export > "$T/plan.tsv"
grep -q 'T06:00:00+01:00 CET	' "$T/plan.tsv"
if grep -q '2023-11-1' "$T/plan.tsv"; then fail "what is over is exported"; fi
STORE=$T/other
origin init > /dev/null
publish "$T/a" win11/base.wim
refused "line 5: there is no server 'line3'.*nothing was added" origin plan import "$T/plan.tsv"
equal "$(origin server group list -n | wc -l)" 0 "a part of it was added"
origin plan import --force - < "$T/plan.tsv" > "$T/out"
grep -q '^3 servers put into groups$' "$T/out"
origin plan export > "$T/again.tsv"
same_bytes "$T/plan.tsv" "$T/again.tsv"
equal "$(origin server group list -n -r | tr '\n' ' ')" "hall1 line3 hall1 line9 hall2 line4 "
# The groups of a table are known to its own entries.
printf '+@hall3\tline5\t\t\t\t\n@hall3\twin11/\t+1h\n' > "$T/plan.tsv"
origin plan import "$T/plan.tsv" > /dev/null
prints line5 origin plan list -s @hall3 -n -o SERVER
for bad in '+@hall3\t' '+@\tline5' '+@hall 3\tline5' '+@hall3\tli ne' '+@hall3\tline5\tline6'; do
	# shellcheck disable=SC2059
	printf "$bad\n" > "$T/bad.tsv"
	refused "line 1: .*nothing was added" origin plan import "$T/bad.tsv"
done
STORE=$T/store
origin log > "$T/out"
grep -q 'grouped *line9 ' "$T/out"
for verb in add list remove; do
	prints '^Usage: ' origin server group "$verb" --help
done
for verb in add list show remove check import export; do
	prints '^Usage: ' origin plan "$verb" --help
done
