#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Orders for what does not exist, through the real daemon and a real mount:
# unknown ids, wrong digests, folders, more room than there is, holds in the
# past. Each comes to an end that says why, harms nothing, and keeps no other
# order from being carried out. (The command line refuses most of them, so they
# are put into the database.)
. "$(dirname "$0")/../../lib/common.sh"

for i in a b; do random_file "$T/$i" 3000000 $i; done
origin_start
publish "$T/a" win/a
publish "$T/b" win/b
mount_fs m
same_bytes "$T/a" "$T/m/win/a"
eventually 20 image_is m win/a complete
known() { origin server show m > /dev/null; }
eventually 20 known
a=$(xattr m win/a id) b=$(xattr m win/b id) folder=$(xattr m win id)
da=$(xattr m win/a digest) db=$(xattr m win/b digest)
none=$(printf '%064d' 7)

# order 'WANTED: state message' KIND COLUMN=VALUE...
declare -A wanted
order()
{
	local want=$1 kind=$2 columns= values= c
	shift 2
	for c; do
		columns+=",${c%%=*}"
		case $c in
		digest=*) values+=",x'${c#*=}'" ;;
		*) values+=",'${c#*=}'" ;;
		esac
	done
	n=$(sqlite3 -cmd '.timeout 10000' "$STORE/origin.db" "INSERT INTO
		orders(server,kind,created_s$columns) VALUES('m',$kind,1$values);
		SELECT last_insert_rowid()")
	wanted[$n]=$want
}
# Somebody reads a all the while.
exec 7< "$T/m/win/a"
prefetch=0 delete=1 reclaim=2 hold=3 release=4 cancel=5
year=$(($(date +%s) + 31536000))
order 'failed not in the catalog' $prefetch id=9999 "digest=$none" name=x size=1
order 'failed not in the catalog' $prefetch "id=$folder" "digest=$none" name=win size=1
order "failed id $b is another version here: plan it anew" $prefetch "id=$b" "digest=$da" name=win/b size=3000000
order "failed id $b is another version here: plan it anew" $prefetch "id=$b" "digest=$none" name=win/b size=3000000
order 'done ' $delete id=9999 "digest=$none" name=x
order "failed id $a has another digest here" $delete "id=$a" "digest=$none" name=win/a
order 'failed (open|being fetched)' $delete "id=$a" "digest=$da" name=win/a
order 'failed neither in the catalog nor stored' $hold id=9999 "digest=$none" "hold_until_s=$year"
order "failed id $a is another version here" $hold "id=$a" "digest=$none" "hold_until_s=$year"
order 'done ' $hold "id=$a" "digest=$da" hold_until_s=1
order 'done ' $release id=9999 "digest=$none"
order 'done ' $cancel cancels=9999
order 'failed .* were asked for, .* are free after deleting 0' $reclaim bytes=9000000000000000000
# What says another size than the catalog: the catalog is right.
order 'done ' $prefetch "id=$b" "digest=$db" name=win/b size=17
over() { [ "$(origin order list --json | jq '.orders | length')" = 0 ]; }
eventually 40 over
origin order list --all --json > "$T/orders"
for n in "${!wanted[@]}"; do
	got=$(jq -r ".orders[] | select(.number == $n) | \"\(.state) \(.message)\"" "$T/orders")
	[[ $got =~ ^${wanted[$n]} ]] || fail "order $n: '$got' is not '${wanted[$n]}'"
	# One line, also in the server's log.
	[ "${got%% *}" = done ] || grep -q "order $n (.*) failed: ${got#failed }" "$T/m.log" ||
		fail "order $n: not in the log"
done
equal "$(status_of m .agent.orders_refused)" 0
equal "$(jq '[.orders[] | select(.state == "failed")] | length' "$T/orders")" "$(status_of m .agent.orders_failed)"

# Nothing was harmed.
exec 7<&-
for i in a b; do
	image_is m win/$i complete
	same_bytes "$T/$i" "$T/m/win/$i"
done
equal "$(xattr m win/a held_until)" -
