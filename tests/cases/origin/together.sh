#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Many people at once, beside the daemon and a mount: every verb does what it
# says, none is told that the database is busy, and all is in order at the end.
. "$(dirname "$0")/../../lib/common.sh"

origin_start
random_file "$T/a" 300000 1
publish "$T/a" a.img
mount_fs line3
eventually 20 origin server show line3

person()
{
	local n=$1 i e o
	for i in 1 2 3 4; do
		head -c 20000 /dev/urandom > "$T/new.$n"
		origin image add "$T/new.$n" --name "of$n/$i.img"
		e=$(origin plan add --server line3 --image "of$n/$i.img" --at "+2h" |
			sed -n 's/^entry \([0-9]*\): .*/\1/p')
		o=$(origin order prefetch line3 a.img | sed -n 's/^order \([0-9]*\): .*/\1/p')
		origin server group add "g$n" line3 "hall$i"
		origin plan list --json | jq -e ".plan[] | select(.entry == $e)"
		origin order list --all --json | jq -e ".orders[] | select(.number == $o)"
		origin server list
		origin log --last 5
		origin plan remove "$e"
		origin server group remove "g$n" line3
		origin image remove "of$n/$i.img" --force
	done
}
for n in 1 2 3 4 5 6; do
	( set -e; person "$n" ) > "$T/person.$n.log" 2>&1 & people[n]=$!
done
for n in 1 2 3 4 5 6; do
	wait "${people[n]}" || { cat "$T/person.$n.log"; fail "person $n"; }
done
equal "$(origin image list --json | jq -r '[.images[].name] | join(" ")')" a.img
equal "$(origin plan list --json | jq '.plan | length')" 0
equal "$(origin server group list -n | wc -l)" 24
equal "$(sqlite3 "$STORE/origin.db" 'PRAGMA integrity_check; PRAGMA foreign_key_check')" ok
one_name() { [ "$(ls "$T/line3")" = a.img ]; }
eventually 20 one_name
idle() { [ "$(origin order list --json | jq '.orders | length')" = 0 ]; }
eventually 30 idle
if grep -E "busy|locked|error:" "$T/origin.log"; then fail "the daemon complains"; fi
umount_fs line3
