#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 14
# A real line that nobody told the origin of, slower than everything before it:
# prefetch fills it without filling its queue, as demand does. Bytes that wait
# are compared with each other. (The simulation of the same, with its numbers:
# unit.origin.pacing.)
. "$(dirname "$0")/../../lib/common.sh"

# A proportion, on a line of its own: nothing more to see under a sanitizer,
# where link.sh runs the same code.
! sanitized || { say "not under a sanitizer: skipped"; exit 77; }
command -v tc > /dev/null || { say "no tc: skipped"; exit 77; }
# origin A -- switch S -- server B, and the slow line behind the switch: in a
# queue of its own machine the kernel leaves no more than a few packets.
A=sfq-a-$$ S=sfq-s-$$ B=sfq-b-$$
at_end()
{
	local n
	for n in "$A" "$S" "$B"; do ip netns del "$n" 2>/dev/null; done
}
ip netns add "$A" 2>/dev/null || { say "no network namespaces: skipped"; exit 77; }
ip netns add "$S"
ip netns add "$B"
ip -n "$A" link add line type veth peer name origin netns "$S"
ip -n "$S" link add line type veth peer name line netns "$B"
ip -n "$S" link add switch type bridge || { say "no bridge: skipped"; exit 77; }
ip -n "$A" addr add 10.99.7.1/24 dev line
ip -n "$B" addr add 10.99.7.2/24 dev line
for l in "$A line" "$B line" "$S origin" "$S line" "$S switch"; do
	read -r n dev <<< "$l"
	ip -n "$n" link set "$dev" up
done
ip -n "$S" link set origin master switch
ip -n "$S" link set line master switch
tc -n "$S" qdisc add dev line root tbf rate 80mbit burst 64k limit 8m ||
	{ say "no tbf: skipped"; exit 77; }
# One that fills queues, as most systems' does.
ip -n "$A" route change 10.99.7.0/24 dev line src 10.99.7.1 congctl cubic ||
	{ say "no cubic: skipped"; exit 77; }

random_file "$T/a" 40000000 1
origin init > /dev/null
publish "$T/a" a.img
D=$(origin image show a.img --json | jq -r .image.digest)
nsenter --net="/run/netns/$A" "$ORIGIN_BIN" -C "$STORE" serve --listen 10.99.7.1:8420 >> "$T/origin.log" 2>&1 &
PIDS+=($!)
there() { nsenter --net="/run/netns/$B" curl -fsS "$@"; }
eventually 20 there http://10.99.7.1:8420/healthz

backlog() { tc -n "$S" -s -j qdisc show dev line | jq '.[0].backlog'; }
# waits_in CLASS: how many bytes wait in the line's queue, in the median, while
# the second half of the image goes through it.
waits_in()
{
	local pid samples=$T/samples.$1 received
	date +%s%N > "$T/began.$1"
	there -o "$T/got" -H "X-Stagefs-Class: $1" -H "X-Stagefs-Server: far" \
		"http://10.99.7.1:8420/v1/data/$D" & pid=$!
	: > "$samples"
	while kill -0 "$pid" 2>/dev/null; do
		received=$(stat -c %s "$T/got" 2>/dev/null || echo 0)
		[ "$received" -lt 20000000 ] || backlog >> "$samples"
		sleep 0.05
	done
	wait "$pid"
	date +%s%N > "$T/ended.$1"
	same_bytes "$T/a" "$T/got"
	rm "$T/got"
	sort -n "$samples" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
# took CLASS: milliseconds
took() { echo $((($(cat "$T/ended.$1") - $(cat "$T/began.$1")) / 1000000)); }
# On a busy machine a transfer may be held up by other things than the line:
# of some tries one has to show it.
few_wait()
{
	demand=$(waits_in demand)
	prefetch=$(waits_in prefetch)
	say "in the queue: $demand bytes of demand, $prefetch of prefetch"
	say "which took $(took demand) and $(took prefetch) ms"
	[ "$demand" -gt 1000000 ] || return 2
	# And it is no excuse to be slow.
	[ "$prefetch" -lt $((demand / 3)) ] &&
		[ "$(took prefetch)" -lt $(($(took demand) * 3)) ]
}
for _ in 1 2 3 4 5; do
	status=0
	few_wait || status=$?
	[ $status != 0 ] || break
done
[ $status != 2 ] || { say "this line has no queue to speak of: skipped"; exit 77; }
[ $status = 0 ] || fail "prefetch makes a queue of $prefetch bytes, or leaves the line unused"
prints '^stagefs_origin_prefetch_queueing_servers' there http://10.99.7.1:8420/metrics
