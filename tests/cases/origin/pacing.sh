#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Prefetch is paced, demand is not; demand makes prefetch yield; a span without
# prefetch holds it back. Rates are compared with each other, never with a
# clock: pacing can only make things slower than the machine is.
# serial
. "$(dirname "$0")/../../lib/common.sh"

# Proportions of time, with nothing else on the machine: under a sanitizer they
# would prove nothing more, and what paces runs there in link.sh too.
! sanitized || { say "not under a sanitizer: skipped"; exit 77; }

random_file "$T/a" 20000000 1
origin init > /dev/null
origin image add "$T/a" --name a.img > /dev/null
D=$(origin image show a.img --json | jq -r .image.digest)

# get CLASS [SERVER [CURL-ARGUMENTS...]]: microseconds that the download took.
get()
{
	local class=$1 server=${2:-line3}
	shift; shift || :
	curl -fsS -o /dev/null -w '%{time_total}' -H "X-Stagefs-Class: $class" \
		-H "X-Stagefs-Server: $server" "$@" "$URL/v1/data/$D" |
		awk '{ printf "%d\n", $1 * 1000000 }'
}
# best TIMES CLASS [SERVER]: the shortest of so many: other work on the machine
# makes them longer only.
best()
{
	local i
	for i in $(seq "$1"); do get "${@:2}"; done | sort -n | head -n 1
}
at_least() { [ "$1" -ge "$2" ] || fail "$3: $1 is below $2"; }
metric() { curl -fsS "$URL/metrics" | awk -v m="stagefs_origin_$1" '$1 == m { print $2 }'; }

# ---- half the rate takes twice the time; demand is not paced at all
origin_start --prefetch-rate 40M/s
fast=$(best 2 prefetch)
demand=$(best 5 demand)
fill=$(best 5 fill)
origin_stop
origin_start --prefetch-rate 20M/s
slow=$(best 2 prefetch)
say "40M/s: $fast us, 20M/s: $slow us, demand: $demand us"
at_least "$slow" $((fast * 3 / 2)) "half the rate"
at_least "$slow" 600000 "20 MB at 20M/s, less what buffers take at once"
at_least "$slow" $((demand * 3)) "prefetch against demand"
at_least "$slow" $((fill * 3)) "prefetch against fill"

# ---- a keep-alive connection that carried prefetch is free for demand
tries=0
free_again()
{
	tries=$((tries + 1))
	curl -fsS -o /dev/null -w '%{time_total}\n' -r 0-4999999 -H 'X-Stagefs-Class: prefetch' "$URL/v1/data/$D" \
		--next -fsS -o /dev/null -w '%{time_total}\n' -H 'X-Stagefs-Class: demand' "$URL/v1/data/$D" > "$T/times"
	[ "$slow" -ge $((3 * $(tail -n 1 "$T/times" | awk '{ printf "%d\n", $1 * 1000000 }'))) ]
}
eventually 20 free_again
equal "$(metric 'data_bytes_total{class="prefetch"}')" $((40000000 + tries * 5000000))

# ---- what is due first goes first: whoever asks, however it is shared else
sqlite3 "$STORE/origin.db" "
	INSERT INTO server(name,first_seen_s,last_seen_s) VALUES('early',1,1),('later',1,1);
	INSERT INTO orders(server,kind,created_s,deadline_s)
	VALUES('later',0,1,strftime('%s','now')+7200),('early',0,1,strftime('%s','now')+3600)"
due_first()
{
	local before later others
	before=$(metric 'data_bytes_total{class="prefetch"}')
	curl -fsS -o /dev/null -H "X-Stagefs-Class: prefetch" -H "X-Stagefs-Server: later" "$URL/v1/data/$D" & later=$!
	get prefetch early
	others=$(($(metric 'data_bytes_total{class="prefetch"}') - before - 20000000))
	kill "$later"; wait "$later" || :
	say "while what is due first left, $others bytes of the other"
	# Shared alike it would be about as much; socket buffers take a few at
	# once.
	[ "$others" -lt 12000000 ]
}
eventually 20 due_first # a change acts within two seconds
sqlite3 "$STORE/origin.db" "UPDATE orders SET state=4"

# ---- two transfers share it; a server's own table holds besides
get prefetch > "$T/one" & one=$!
get prefetch > "$T/two" & two=$!
wait "$one"; wait "$two"
at_least "$(cat "$T/one")" $((slow * 3 / 2)) "one of two"
at_least "$(cat "$T/two")" $((slow * 3 / 2)) "two of two"
# A row of its own: set needs a server that is known.
sqlite3 "$STORE/origin.db" "INSERT INTO server(name,first_seen_s,last_seen_s) VALUES('line3',1,1)"
origin server set line3 --prefetch-rate 10M/s > /dev/null
own_rate() { [ "$(get prefetch)" -ge $(($(get prefetch line4) * 3 / 2)) ]; }
eventually 20 own_rate
origin_stop

# ---- without a rate, prefetch yields while readers are served
origin server set line3 --prefetch-rate "" > /dev/null
origin_start
free=$(best 5 prefetch)
# Readers that take their time, one after another.
(
	trap 'kill $!; exit' TERM
	trap - ERR
	while :; do
		curl -fsS -o /dev/null --limit-rate 5M -H 'X-Stagefs-Class: demand' "$URL/v1/data/$D" &
		wait $!
	done
) & reader=$!
PIDS+=("$reader")
yields() { [ "$(metric prefetch_yielding)" = 1 ]; }
eventually 10 yields
# Two seconds later it is not done. What socket buffers take at once is not
# paced; the rest is. (On a busy machine there may be no reader for a moment.)
held_back()
{
	local before prefetch sent
	before=$(metric 'data_bytes_total{class="prefetch"}')
	curl -fsS -o /dev/null -H 'X-Stagefs-Class: prefetch' -H 'X-Stagefs-Server: line3' "$URL/v1/data/$D" & prefetch=$!
	sleep 2
	sent=$(($(metric 'data_bytes_total{class="prefetch"}') - before))
	kill "$prefetch"; wait "$prefetch" || :
	say "$sent bytes of prefetch beside a reader"
	[ "$sent" -lt 12000000 ]
}
eventually 30 held_back
at_least 2000000 $((free * 4)) "prefetch beside a reader"
kill "$reader"; wait "$reader" || :
recovered() { [ "$(metric prefetch_yielding)" = 0 ]; }
eventually 40 recovered
origin_stop

# ---- no prefetch in this span: held back, demand goes on
origin_start --prefetch-rate none
get prefetch line3 --max-time 3 > /dev/null 2>&1 && fail "prefetch was served in a span of none"
equal "$(metric 'data_bytes_total{class="prefetch"}')" 0
get demand > /dev/null
origin_stop

# ---- a link: what others leave of it, floor included
origin_start --link lo=30M/s
linked=$(get prefetch)
at_least "$linked" $((free * 3)) "prefetch on a link of 30M/s"
equal "$(metric interface_bytes_per_second | grep -c .)" 1
origin_stop

# ---- a cap on readers
origin_start --demand-rate 20M/s
capped=$(get demand)
at_least "$capped" $((demand * 3)) "demand with a cap"
