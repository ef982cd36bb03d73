#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Both programs, all verbs: unknown options, units, times, time zones, servers
# and images. One line that says what to do, exit status 2 for what was typed
# wrong and 1 for what is not there, and nothing is changed.
. "$(dirname "$0")/../../lib/common.sh"

# usage 'REGEX' COMMAND..., failure 'REGEX' COMMAND...: the two statuses.
usage() { refused "$@"; equal "$status" 2 "${*:2}: $(cat "$T/refused.err")"; }
failure() { refused "$@"; equal "$status" 1 "${*:2}: $(cat "$T/refused.err")"; }

random_file "$T/f" 100000 1
origin init > /dev/null
publish "$T/f" win/a.wim
sqlite3 "$STORE/origin.db" "INSERT INTO server(name,first_seen_s,last_seen_s,
	time_zone) VALUES('line3',1,1,'Europe/Berlin')"
everything()
{
	sqlite3 "$STORE/origin.db" .dump | grep -v '^PRAGMA'
	ls -R "$STORE/objects" "$STORE/manifests" "$STORE/incoming"
}
before=$(everything | sha256sum)
IMAGE=win/a.wim

# ---- every verb there is, as --help lists them, knows its options
verbs_of() { "$@" --help | sed -n '/^Verbs:$/,/^$/s/^  \([a-z]*\) .*/\1/p'; }
all=0
each_verb() # PROGRAM WORD...
{
	local more
	more=$(verbs_of "$@")
	for verb in $more; do each_verb "$@" "$verb"; done
	[ -z "$more" ] || return 0
	all=$((all + 1))
	usage "unknown (option|argument) '?--nonsense'?.*--help" "$@" --nonsense
	usage "unknown (option|argument) '?-Z'?.*--help" "$@" -Z
	"$@" --help > "$T/help" || fail "$* --help"
	grep -q "^Usage: " "$T/help"
}
each_verb "$ORIGIN_BIN" -C "$STORE"
each_verb "$STAGEFS_BIN"
say "$all verbs"
[ $all -ge 35 ] || fail "only $all verbs"
for verb in "image show" "image remove" "plan show" "plan remove" \
	"plan import" "server show" "server set" "server remove" \
	"order prefetch" "order delete" "order reclaim" "order hold" \
	"order release" "order cancel"; do
	# shellcheck disable=SC2086
	usage "needs" origin $verb
done
for verb in init serve "plan list" "plan export" "server list" log; do
	# shellcheck disable=SC2086
	usage "unexpected word 'one'" origin $verb one two three
done
for verb in "" image plan server order; do
	# shellcheck disable=SC2086
	usage "a verb is missing: " origin $verb
	# shellcheck disable=SC2086
	usage "no verb 'publish': there are " origin $verb publish
done
usage "option '.*' needs a value" origin plan add --server
usage "option '-s' needs a value" origin plan add -s
usage "takes no value" origin image list --json=yes
usage "column" origin image list -o NAME,COLOUR
usage "column" origin log -o +
failure "$T/none is not a store.*init" "$ORIGIN_BIN" -C "$T/none" image list

# ---- what a name is; a line break in it does not make two lines
add() { origin plan add "$@"; }
AT="2031-12-01 06:00"
usage "server" add --image $IMAGE --at "$AT"
usage "image" add --server line3 --at "$AT"
usage "at" add --server line3 --image $IMAGE
failure "no server 'line9': .*--force" add --server line9 --image $IMAGE --at "$AT"
usage "server name 'li.ne'" add --server $'li\nne' --image $IMAGE --at "$AT"
usage "server name '../x'" add --server ../x --image $IMAGE --at "$AT"
failure "no image named win/b.wim" add --server line3 --image win/b.wim --at "$AT"
failure "folder" add --server line3 --image win --at "$AT"
usage "starts with '/'" add --server line3 --image /etc/passwd --at "$AT"
usage "must not be '..'" add --server line3 --image ../$IMAGE --at "$AT"
usage "control character" add --server line3 --image $'win\n/a.wim' --at "$AT"
usage "no verb 'a.b'" origin $'a\nb'
usage "unknown option '--a.b'" origin plan add $'--a\nb'
failure "not a store" "$ORIGIN_BIN" -C "$T/a"$'\n'b image list

# ---- times and time zones
when() { usage "$1" add --server line3 --image $IMAGE --at "$2"; }
when "." ""
when "." "soon"
when "." "2031-13-01 06:00"
when "." "2031-02-30 06:00"
when "." "2031-12-01 25:00"
when "." "2031-12-01 06:60"
when "." "2031-12-01"
when "." "01.12.2031 06:00"
when "." "1031-12-01 06:00"
when "." "2131-12-01 06:00"
when "Mars" "2031-12-01 06:00 Mars/Olympus"
when "." "2031-12-01 06:00 ../../etc/passwd"
when "." "2031-12-01 06:00 +25:00"
when "." "2031-12-01T06:00:00Zebra"
when "." "+2 fortnights"
when "." "+99999999999h"
when "." $'2031-12-01 06:00\n'
# The clock there shows it twice, or never.
when "twice|\+0[12]:00" "2031-10-26 02:30"
when "skip|never|does not" "2031-03-30 02:30"
when "past" "2001-12-01 06:00"
over() { usage "$1" add --server line3 --image $IMAGE --at "$AT" "${@:2}"; }
usage "end .* before it begins" add --server line3 --image $IMAGE --at "$AT" --until "2031-11-01 06:00"
over "until" --until never
over "repeat|rule" --repeat SOMETIMES
over "repeat|rule|FREQ" --repeat "FREQ=SECONDLY"
over "repeat|rule|COUNT" --repeat "FREQ=DAILY;COUNT=99999999"
over "repeat|rule" --repeat "FREQ=DAILY;BYDAY=XX"
over "priority" --priority high
over "priority" --priority 1001
over "unexpected word" more

# ---- the plan's other verbs
failure "no entry 7|7" origin plan show 7
usage "number" origin plan show x
failure "7" origin plan remove 7
usage "number" origin plan remove 1x
failure "7" origin plan check 7
usage "ahead" origin plan check --ahead 1y
usage "ahead" origin plan check --ahead 400d
failure "server 'line9'|line9" origin plan list --server line9
failure "No such file" origin plan import "$T/none"
printf 'line3\t%s\t%s\n\nline3\tnone\t%s\n' $IMAGE "$AT" "$AT" > "$T/plan.tsv"
failure ":3: |line 3" origin plan import "$T/plan.tsv"
printf 'line3 %s %s\n' $IMAGE "$AT" > "$T/plan.tsv"
failure ":1: |line 1" origin plan import "$T/plan.tsv"
printf 'line3\t%s\tnoon\n' $IMAGE > "$T/plan.tsv"
failure ":1: |line 1" origin plan import "$T/plan.tsv"
head -c 1000000 /dev/zero > "$T/plan.tsv"
failure "." origin plan import "$T/plan.tsv"
head -c 100000 /dev/urandom > "$T/plan.tsv"
failure "." origin plan import "$T/plan.tsv"
failure "." origin plan import "$T"

# ---- servers and orders
failure "line9" origin server show line9
failure "line9" origin server remove line9
failure "line9" origin server set line9 --prefetch-rate 1M/s
usage "set" origin server set line3
for rate in fast 5 "5Q/s" "08:00" "25:00 1M/s" "08:00 1M/s, 08:00 2M/s" "-1M/s" "08:00 1M/s,"; do
	usage "rate" origin server set line3 --prefetch-rate "$rate"
done
for size in lots 5Q -1 1e3 "" 99999999999T 0x10; do
	usage "." origin order reclaim line3 -- "$size"
done
failure "line9.*--force" origin order reclaim line9 5G
usage "server name 'li ne'" origin order reclaim "li ne" 5G
failure "no image named none" origin order prefetch line3 none
failure "folder" origin order delete line3 win
failure "no image named" origin order hold line3 none --until "$AT"
usage "until" origin order hold line3 $IMAGE
usage "Mars" origin order hold line3 $IMAGE --until "$AT Mars/Olympus"
usage "past" origin order hold line3 $IMAGE --until "2001-01-01 06:00"
usage "." origin order prefetch line3 $IMAGE --deadline tomorrow-ish
usage "." origin order prefetch line3 $IMAGE --hold-until ""
failure "no image named" origin order release line3 none
failure "99" origin order cancel 99
usage "number" origin order cancel 0x1
failure "line9" origin order list line9
failure "line9" origin log --server line9
failure "none" origin log --image none
usage "number" origin log --last many
usage "number" origin log --order first
failure "no image named none" origin image show none
failure "folder" origin image show win
failure "no image named none" origin image verify none
failure "no image named none" origin image remove none

equal "$(everything | sha256sum)" "$before" "something was changed"

# ---- the daemon
for wrong in "--listen x" "--listen 127.0.0.1:99999" "--debug nope" \
	"--debug http," "--threads 0" "--prefetch-rate fast" "--lead soon"; do
	# shellcheck disable=SC2086
	usage . timeout 120 "$ORIGIN_BIN" -C "$STORE" serve $wrong
done

# ---- stagefs mount: as the other verbs; mount.stagefs: as mount(8) has it
for wrong in "" "http://x:1" "--nonsense http://x:1 $T" "http://x:1 $T y" \
	"http://x:1 $T -o capacity=12Q" "http://x:1 $T -o colour=red" \
	"http://x:1 $T -o debug=all+cash" "http://x:1 $T -o cache=c"; do
	# shellcheck disable=SC2086
	usage . "$STAGEFS_BIN" mount $wrong
	# shellcheck disable=SC2086
	refused . "$MOUNT_BIN" $wrong
	equal "$status" 1 "mount.stagefs $wrong"
done
failure "nowhere: No such file" "$STAGEFS_BIN" mount http://x:1 "$T/nowhere"
failure "is not a folder" "$STAGEFS_BIN" mount http://x:1 "$T/f"

# ---- stagefs
mkdir "$T/plain"
s() { "$STAGEFS_BIN" "$@"; }
usage "a verb is missing" s
usage "no verb 'mend'" s mend "$T/plain"
for verb in umount status list fetch evict verify; do
	usage "unknown option '--nonsense'" s $verb --nonsense "$T/plain"
	usage "needs|takes" s $verb
done
for verb in umount status list verify; do
	usage "unexpected word" s $verb "$T/plain" x y z
	failure "plain.* (is not|no) .*stagefs" s $verb "$T/plain"
	failure "nowhere: no stagefs is mounted there" s $verb "$T/nowhere"
done
for verb in fetch evict; do
	usage "needs" s $verb "$T/plain"
	failure "plain.* (is not|no) .*stagefs" s $verb "$T/plain" $IMAGE
done
usage "column" s list -o COLOUR "$T/plain"

origin_start
mount_fs m
for verb in fetch evict; do
	failure "win/b.wim: (no such image|not stored)" s $verb "$T/m" win/b.wim
	usage "must not be '..'" s $verb "$T/m" ../x
	usage "empty" s $verb "$T/m" ""
	usage "control character" s $verb "$T/m" $'a\nb'
	usage "UTF-8" s $verb "$T/m" $'\xff\xfe'
	usage "longer than" s $verb "$T/m" "$(printf '%05000d' 0)"
done
failure "win: a folder" s fetch "$T/m" win
failure "none: not stored" s verify "$T/m" none
umount_fs m
equal "$(origin order list --all --json | jq -c .)" '{"orders":[]}'
