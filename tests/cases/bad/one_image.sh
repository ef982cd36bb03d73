#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An origin that cannot give one image (its disk has lost it) gives all others
# as ever, while readers of that one wait.
. "$(dirname "$0")/../../lib/common.sh"

origin init > /dev/null
for i in $(seq 0 8); do
	random_file "$T/$i" 3000000 "$i"
	publish "$T/$i" "$i"
done
origin_start
proxy_start
bad=/v1/data/$(origin image show --json 0 | jq -r .image.digest)
mount_fs m io-timeout=6s
n=0
for fault in '"status","status":503' '"wrong-range"' '"close","after":100000' '"reset","after":100000'; do
	proxy _script "{\"path\":\"$bad\",\"fault\":$fault}"
	(while :; do cat "$T/m/0" > /dev/null 2>&1 || :; done) &
	reader=$!
	PIDS+=("$reader")
	struck() { [ "$(proxy _log | jq '.rules[0].hits')" -gt 2 ]; }
	eventually 20 struck
	for _ in 1 2; do
		n=$((n + 1))
		same_bytes "$T/$n" "$T/m/$n"
	done
	equal "$(status_of m '.sources[0].reachable')" true "$fault"
	[ "$(status_of m '.sources[0].failures')" -gt 0 ]
	kill "$reader"
	wait "$reader" || :
	unset 'PIDS[-1]'
done
equal "$(grep -c 'origin unreachable' "$T/m.log" || :)" 0
proxy _script '[]'
eventually 30 cmp "$T/0" "$T/m/0"
umount_fs m
