#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: tsan
# Descriptors, orders and reports as a server sends and gets them, with curl in
# the server's place; and what `server` and `order` show and refuse.
. "$(dirname "$0")/../../lib/common.sh"

random_file "$T/a" 3000000 1
origin init > /dev/null
origin image add "$T/a" --name win/a.img > /dev/null
origin_start --threads 2
S=$URL/v1/servers/line3
UUID=$(curl -fsS "$URL/v1/catalog" | tail -n +2 | jq -r .store)
ID=$(origin image list --json | jq -r '.images[0].id')
DIGEST=$(origin image list --json | jq -r '.images[0].digest')
BOOT=11111111-1111-4111-8111-111111111111

# descriptor SEQ BASE [JQ-CHANGE]
descriptor()
{
	jq -cn --arg store "$UUID" --arg boot "$BOOT" --arg digest "$DIGEST" \
		--argjson id "$ID" --argjson seq "$1" --argjson base "$2" "
	{format: 1, kind: \"descriptor\", store: \$store, name: \"line3\", boot: \$boot,
	 version: \"0.1.0\", time_zone: \"Europe/Berlin\", seq: \$seq, base: \$base,
	 time: $(date +%s), catalog_revision: 1, capacity: 1000000000, used: 1000,
	 reserved: 0, free: 999999000, evictable: 1000,
	 images: [{id: \$id, name: \"win/a.img\", digest: \$digest, size: 3000000,
	   stored: 1000, state: \"partial\", stored_seq: 1, stored_at: 1700000000,
	   held_until: 0, open: false}], gone: []} ${3:+| $3}"
}
code() { curl -sS -o "$T/body" -w '%{http_code}' "$@"; }
put() { code -X PUT -H 'Content-Type: application/json' --data-binary @- "$S/descriptor"; }
orders() { curl -fsS "$S/orders?$1" | tail -n +2; }
# report NUMBER STATE [STORED [MESSAGE]]
report()
{
	code -X POST --data-binary "{\"format\":1,\"kind\":\"report\",\"number\":$1,\"state\":\"$2\",\"stored\":${3:-0},\"size\":3000000,\"message\":\"${4:-}\"}" "$S/orders/$1"
}
new_order() { "$@" | sed -n 's/^order \([0-9]*\): .*/\1/p'; }

# ---- descriptors
equal "$(descriptor 2 1 | put)" 409	# changes, but of what?
equal "$(descriptor 1 0 | put)" 204
equal "$(descriptor 1 0 | put)" 204	# again: nothing
equal "$(origin server show line3 --json | jq -r .bad_blocks)" 0 "of an older server"
equal "$(descriptor 2 1 '.used = 2000 | .bad_blocks = 7 | .repaired_blocks = 6' | put)" 204
equal "$(descriptor 4 3 | put)" 409
equal "$(descriptor 3 2 '.name = "line4"' | put)" 400
equal "$(descriptor 3 2 ".store = \"$BOOT\"" | put)" 403
equal "$(descriptor 3 2 '.used = -1' | put)" 400
equal "$(wc -l < "$T/body")" 1
equal "$(echo '{' | put)" 400
equal "$(head -c 70000000 /dev/zero | put)" 413
equal "$(origin server list --json | jq -r '.servers[0] | "\(.name) \(.used) \(.address)"')" "line3 2000 127.0.0.1"
equal "$(origin server show line3 --json | jq -r '.images[0] | "\(.name) \(.stored) \(.state)"')" "win/a.img 1000 partial"
origin server show line3 > "$T/out"
grep -q '^Capacity: *953.7M' "$T/out"
grep -q '^Bad blocks: *7 found on its disk, 6 of them repaired$' "$T/out"
equal "$(origin server list -n -o NAME,BAD-BLOCKS,REPAIRED-BLOCKS | tr -s ' ')" "line3 7 6"
grep -q '^State: *online$' "$T/out"
equal "$(origin server list --json | jq -r '.servers[0].state')" online
sqlite3 "$STORE/origin.db" "UPDATE server SET last_seen_s=last_seen_s-4*86400"
origin server list > "$T/out"
grep -Eq '^line3 +silent 4d0h ' "$T/out"
origin server show line3 > "$T/out"
grep -q '^State: *silent 4d0h: what follows is what it said last$' "$T/out"
equal "$(origin server show line3 --json | jq -r .state)" silent
equal "$(origin server list --json | jq -r '.servers[0].state')" silent

# ---- an order is there within the wait; a catalog change too
started=$(date +%s)
orders "after=0&catalog=1&wait=60" > "$T/held" &
held=$!
sleep 1
n=$(new_order origin order prefetch line3 win/a.img --hold-until "+2h")
wait "$held"
[ $(($(date +%s) - started)) -lt 30 ] || fail "the held request was not answered by the order"
equal "$(jq -r '.orders[0] | "\(.number) \(.kind) \(.name) \(.digest)"' "$T/held")" "$n prefetch win/a.img $DIGEST"
equal "$(jq -r .catalog_revision "$T/held")" 1
equal "$(orders after=0 | jq '.orders | length')" 1 "redelivered"
equal "$(orders "after=$n" | jq '.orders | length')" 0
equal "$(orders "after=$n&catalog=7&wait=60" | jq '.orders | length')" 0 "another revision is an answer"
orders "after=$n&catalog=1&wait=60" > "$T/held" &
held=$!
sleep 1
origin image add "$T/a" --name win/b.img > /dev/null
wait "$held"
equal "$(jq -r .catalog_revision "$T/held")" 2
curl -fsS "$S/orders?after=0" -o "$T/sealed"
head -n 1 "$T/sealed" | grep -q '^stagefs-signed 1 '

# ---- reports
equal "$(report "$n" running 500)" 204
equal "$(origin order list --json | jq -r '.orders[0] | "\(.state) \(.stored)"')" "running 500"
equal "$(report "$n" done 3000000)" 204
equal "$(report "$n" done 3000000)" 204
equal "$(report "$n" failed 0 late)" 204	# the first result stands
equal "$(origin order list --all --json | jq -r '.orders[0].state')" done
equal "$(report 999 done)" 404
equal "$(code -d '{"format":1,"kind":"report","number":7,"state":"done"}' "$S/orders/8")" 400
equal "$(code -d "{\"format\":1,\"kind\":\"report\",\"number\":$n,\"state\":\"done\"}" "$URL/v1/servers/line4/orders/$n")" 404
equal "$(head -c 100000 /dev/zero | code --data-binary @- "$S/orders/$n")" 413
equal "$(origin log --json | jq -r "[.log[] | select(.order == $n) | .event] | join(\" \")")" "ordered sent done"

# ---- by hand
d=$(new_order origin order delete line3 win/a.img)
r=$(new_order origin order reclaim line3 100M)
h=$(new_order origin order hold line3 win/a.img --until "2035-01-01 06:00")
l=$(new_order origin order release line3 win/a.img)
orders after=0 > "$T/list"
equal "$(jq -r '[.orders[].kind] | join(" ")' "$T/list")" "delete reclaim hold release"
equal "$(jq -r '.orders[1].bytes' "$T/list")" $((100 << 20))
refused "no order 999: .*none was cancelled" origin order cancel "$r" 999 "$l"
equal "$(orders after=0 | jq -r '[.orders[].kind] | join(" ")')" "delete reclaim hold release"
origin order cancel "$r" "$l" > "$T/out"
grep -q "order $r: cancelled" "$T/out"
equal "$(orders after=0 | jq -r '[.orders[].kind] | join(" ")')" "delete hold cancel cancel"
equal "$(report "$r" done 5)" 204
equal "$(origin order list --all --json | jq -r ".orders[] | select(.number == $r) | .state")" cancelled
equal "$(report "$d" failed 0 'it is open')" 204
origin order list line3 --all > "$T/out"
grep -q 'it is open' "$T/out"

refused "server 'line9' is not known.*--force" origin order prefetch line9 win/a.img
origin order prefetch line9 win/a.img --force > "$T/out"
grep -q 'on line9' "$T/out"
refused "nothing" origin order prefetch line3 win/nothing
refused "folder" origin order prefetch line3 win
refused "unit|100" origin order reclaim line3 100Q
equal "$status" 2
refused "past" origin order hold line3 win/a.img --until "2001-01-01 00:00"
refused "until" origin order hold line3 win/a.img
refused "no order 999" origin order cancel 999
refused "already cancelled" origin order cancel "$r"
refused "not a number|no number" origin order cancel 1x
refused "not known" origin order list line8
refused "not known" origin server show line8
refused "not known" origin server set line8 --prefetch-rate 1M/s
refused "rate" origin server set line3 --prefetch-rate fast
refused "what to set" origin server set line3
origin server set line3 --prefetch-rate "08:00 200M/s, 20:00 unlimited" > /dev/null
equal "$(origin server list --json | jq -r '.servers[0].prefetch_rate')" "08:00 200M/s, 20:00 unlimited"

# ---- a plan entry becomes an order in the time of its change, and not only
# when the schedule runs anyway (every ten seconds)
last=$(orders after=0 | jq -r '.orders[-1].number')
origin plan add --server line3 --image win/b.img --at "+1h" > /dev/null
equal "$(orders "after=$last&catalog=2&wait=6" | jq -r '.orders[0].name')" win/b.img

# ---- a hundred servers that wait, and an order for one of them
for i in $(seq 100); do
	curl -fsS "$URL/v1/servers/many$i/orders?wait=60&catalog=2" -o "$T/many.$i" &
	waiting[i]=$!
done
all_wait() { [ "$(curl -fsS "$URL/metrics" | awk '/^stagefs_origin_connections / { print $2 }')" -ge 101 ]; }
eventually 20 all_wait
origin order reclaim many37 5M --force > /dev/null
wait "${waiting[37]}"
equal "$(tail -n +2 "$T/many.37" | jq -r '.orders[0].kind')" reclaim
[ ! -s "$T/many.38" ] || fail "a server got an answer for nothing"
curl -fsS "$URL/metrics" > "$T/metrics"
grep -q '^stagefs_origin_orders_open{state="pending"} ' "$T/metrics"
grep -q '^stagefs_origin_server_capacity_bytes{server="line3"} 1000000000' "$T/metrics"
grep -q '^stagefs_origin_server_bad_blocks_total{server="line3"} 7$' "$T/metrics"
grep -q '^stagefs_origin_server_repaired_blocks_total{server="line3"} 6$' "$T/metrics"

# ---- one that hangs up is forgotten; an end answers the others
kill "${waiting[38]}"
wait "${waiting[38]}" || :
few() { [ "$(curl -fsS "$URL/metrics" | awk '/^stagefs_origin_connections / { print $2 }')" -le 99 ]; }
eventually 10 few
origin_stop
for i in $(seq 100); do
	case $i in 37 | 38) continue ;; esac
	wait "${waiting[i]}" || fail "the held request of many$i was not answered at the end"
	equal "$(tail -n +2 "$T/many.$i" | jq -r '.orders | length')" 0
done
origin server remove line3 > /dev/null
equal "$(origin server list --json | jq -c .)" '{"servers":[]}'
