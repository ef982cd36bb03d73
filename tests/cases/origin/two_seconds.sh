#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: long
# serial
# What the issue bounds in time: a new image shows on all mounted servers, and a
# change of the plan acts, within two seconds. Twenty times each; the time runs
# from the end of the verb to when it is seen.
. "$(dirname "$0")/../../lib/common.sh"

SERVERS="s1 s2 s3 s4 s5 s6 s7 s8"
random_file "$T/a" 1000000 1
origin_start
for s in $SERVERS; do mount_fs "$s"; done
for s in $SERVERS; do eventually 20 origin server show "$s"; done

# within NAME COMMAND...: milliseconds until it is true; more than 2000 fails.
worst=0
within()
{
	local what=$1 began ms
	shift
	began=$(date +%s%N)
	until "$@"; do
		[ $(($(date +%s%N) - began)) -lt 20000000000 ] || fail "never: $what"
		sleep 0.02
	done
	ms=$((($(date +%s%N) - began) / 1000000))
	[ "$ms" -le "$worst" ] || worst=$ms
	[ "$ms" -le 2000 ] || fail "$what took $ms ms"
}
all_show() { local s; for s in $SERVERS; do [ -e "$T/$s/$1" ] || return 1; done; }
none_shows() { local s; for s in $SERVERS; do [ ! -e "$T/$s/$1" ] || return 1; done; }
for i in $(seq 20); do
	head -c 5000 /dev/urandom > "$T/new"
	publish "$T/new" "new/$i.img"
	within "image $i on all servers" all_show "new/$i.img"
done
for i in $(seq 20); do
	origin image remove "new/$i.img" > /dev/null
	within "image $i gone from all servers" none_shows "new/$i.img"
done
say "images: $worst ms at the worst"

worst=0
publish "$T/a" a.img
orders() { sqlite3 -readonly "$STORE/origin.db" "SELECT count(*) FROM orders WHERE server='$1' AND kind=$2"; }
sent() { [ "$(sqlite3 -readonly "$STORE/origin.db" "SELECT count(*) FROM orders WHERE server='$1' AND kind=$2 AND sent_s>0")" -gt "$3" ]; }
entry=
for i in $(seq 20); do
	s=s$((i % 8 + 1))
	before=$(orders $s 0)
	[ -z "$entry" ] || origin plan remove "$entry" > /dev/null
	head -c 20000 /dev/urandom > "$T/new"
	publish "$T/new" "plan/$i.img"
	entry=$(origin plan add --server "$s" --image "plan/$i.img" --at "+1h" | sed -n 's/^entry \([0-9]*\): .*/\1/p')
	within "the order of entry $entry" sent "$s" 0 "$before"
	eventually 20 image_is "$s" "plan/$i.img" complete
done
say "plan: $worst ms at the worst"
for s in $SERVERS; do umount_fs "$s"; done
