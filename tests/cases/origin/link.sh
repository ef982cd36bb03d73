#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# --link on a real interface that other programs use too: prefetch takes what
# they leave of it, and all of it when they are gone. Counted in bytes that
# arrive while the other traffic runs, and while it does not.
. "$(dirname "$0")/../../lib/common.sh"

A=sfl-a-$$ B=sfl-b-$$
at_end()
{
	local n
	for n in "$A" "$B"; do ip netns del "$n" 2>/dev/null; done
}
ip netns add "$A" 2>/dev/null || { say "no network namespaces: skipped"; exit 77; }
ip netns add "$B"
ip -n "$A" link add wire type veth peer name wire netns "$B"
ip -n "$A" addr add 10.99.8.1/24 dev wire
ip -n "$B" addr add 10.99.8.2/24 dev wire
for n in "$A" "$B"; do ip -n "$n" link set wire up; done

random_file "$T/a" 200000000 1
origin init > /dev/null
publish "$T/a" a.img
D=$(origin image show a.img --json | jq -r .image.digest)
# sysfs shows the interfaces of the namespace that mounted it; what else is
# mounted by then is let go, or it could not be unmounted.
ip netns exec "$A" bash -c 'umount -l -a -t fuse.stagefs; exec "$@"' - "$ORIGIN_BIN" -C "$STORE" serve --listen 10.99.8.1:8420 --link wire=10M/s >> "$T/origin.log" 2>&1 &
PIDS+=($!)
there() { nsenter --net="/run/netns/$B" curl -fsS "$@"; }
URL=http://10.99.8.1:8420
eventually 20 there "$URL/healthz"
metric() { there "$URL/metrics" | awk -v m="stagefs_origin_$1" '$1 == m { printf "%.0f\n", $2 }'; }

# 7.5 MB/s of somebody else's, for as long as $T/talk is there.
nsenter --net="/run/netns/$B" /usr/bin/python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.99.8.2", 9))
while True: s.recv(65536)' & PIDS+=($!)
touch "$T/talk"
nsenter --net="/run/netns/$A" /usr/bin/python3 -c '
import os, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("10.99.8.2", 9))
sent, began = 0, time.monotonic()
while os.path.exists(sys.argv[1]):
    while sent < (time.monotonic() - began) * 7.5e6:
        try: s.send(b"x" * 1400)
        except OSError: pass
        sent += 1442
    time.sleep(0.002)' "$T/talk" & PIDS+=($!)

sent() { metric 'data_bytes_total{class="prefetch"}'; }
others_seen() { [ "$(metric interface_other_bytes_per_second)" -gt 5000000 ]; }
little() { [ "$(metric prefetch_allotted_bytes_per_second)" -lt 5000000 ]; }
begun() { [ "$(sent)" -gt 0 ]; }
# Two seconds in which the others did talk.
beside_them()
{
	local from
	others_seen && little || return 1
	from=$(sent)
	sleep 2
	others_seen && little || return 1
	beside=$(($(sent) - from))
}
# A second in which more was sent than in two beside them.
more_alone()
{
	local from
	from=$(sent)
	sleep 1
	alone=$(($(sent) - from))
	[ "$alone" -gt "$beside" ]
}
eventually 20 others_seen
eventually 20 little
# Again and again, for as long as $T/wanted is there.
touch "$T/wanted"
while [ -e "$T/wanted" ]; do
	there -s -o /dev/null -H 'X-Stagefs-Class: prefetch' -H 'X-Stagefs-Server: line3' \
		"$URL/v1/data/$D"
done & transfer=$!
PIDS+=("$transfer")
eventually 20 begun
sleep 1	# what the first answers take at once
eventually 20 beside_them
[ "$beside" -gt 0 ] || fail "prefetch starves beside the others"
rm "$T/talk"
eventually 20 more_alone
say "prefetch: $((beside / 2)) bytes a second beside the others, $alone without them"
rm "$T/wanted"
kill "${PIDS[0]}"
wait "$transfer" || : # its last one has lost the origin
PIDS=("${PIDS[@]:1}")
