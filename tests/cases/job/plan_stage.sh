#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A plan carried out on real mounts: staged before its time, held over what is
# older, room made for it; a change of plan, a replaced image, a server that
# comes later, and what the log tells of it.
. "$(dirname "$0")/../../lib/common.sh"

job() { origin plan show "$1" --json | jq -r ".dates[0].$2"; }
job_is() { [ "$(job "$1" state)" = "$2" ]; }
image_on() { origin server show "$1" --json | jq -r ".images[] | select(.name == \"$2\") | .$3"; }
add() { origin plan add "$@" | sed -n 's/^entry \([0-9]*\): .*/\1/p'; }

for i in 1 2 3 4; do random_file "$T/i$i" 30000000 "$i"; done
origin_start
publish "$T/i1" win/one.wim
publish "$T/i2" win/two.wim
publish "$T/i3" three.iso
mount_fs line3 capacity=80M
eventually 20 origin server show line3

# ---- staged, said by the server from its own hashes, and right
one=$(add --server line3 --image win/one.wim --at "+2h" --until "+1h")
eventually 20 job_is "$one" staged
equal "$(job "$one" late)" 0
eventually 5 image_is line3 win/one.wim complete
held() { [ "$(image_on line3 win/one.wim held_until)" != null ]; }
eventually 10 held
sent=$(origin_sent)
same_bytes "$T/i1" "$T/line3/win/one.wim"
equal "$(origin_sent)" "$sent" "it was there already"
grep -q "one.wim" <(origin log)
# `plan show` works it out itself; the daemon notes it at its next run.
noted() { [ "$(origin log --json | jq -r '[.log[] | select(.event == "staged")] | length')" = 1 ]; }
eventually 10 noted

# ---- room: two.wim is older than three.iso, but nobody holds it
cat "$T/line3/win/two.wim" > /dev/null
eventually 20 image_is line3 win/two.wim complete
known() { [ "$(image_on line3 win/two.wim state)" = complete ]; }
eventually 10 known
three=$(add --server line3 --image three.iso --at "+2h" --until "+1h")
# It was just read: passed over for a minute, and nothing else can go.
says() { prints "^ *$1 .*$2" origin plan list; }
eventually 20 says "$three" "order [0-9]*, to make room: .* just read"
reclaims_are() { [ "$(origin order list line3 --all --json | jq -r '[.orders[] | select(.kind == "reclaim") | .state] | unique | join(" ")')" = "$1" ]; }
eventually 10 reclaims_are failed
equal "$(image_on line3 win/one.wim state)" complete
origin plan remove "$one" > /dev/null
released() { [ "$(image_on line3 win/one.wim held_until)" = null ]; }
eventually 20 released

# ---- a change of plan stops what it had begun
random_file "$T/big" 60000000 9
publish "$T/big" big.wim
origin server set line3 --prefetch-rate 1M/s > /dev/null
origin plan remove "$three" > /dev/null
mount_fs line4 capacity=200M
eventually 20 origin server show line4
origin server set line4 --prefetch-rate 1M/s > /dev/null
big=$(add --server line4 --image big.wim --at "+1h")
eventually 20 job_is "$big" staging
origin plan remove "$big" > /dev/null
cancelled() { [ "$(origin order list line4 --all --json | jq -r '[.orders[] | select(.kind == "prefetch") | .state] | unique | join(" ")')" = cancelled ]; }
eventually 10 cancelled
# "" if not even its first block had come.
stopped() { case $(image_on line4 big.wim state) in partial | "") ;; *) false ;; esac; }
eventually 20 stopped

# ---- a new version under the name is what gets staged
four=$(add --server line4 --image win/one.wim --at "+1h")
origin server set line4 --prefetch-rate "" > /dev/null
eventually 20 job_is "$four" staged
publish "$T/i4" win/one.wim
version() { origin image list --json | jq -r '.images[] | select(.name == "win/one.wim") | .id'; }
new_one() { job_is "$four" staged && [ "$(job "$four" version)" = "$(version)" ]; }
eventually 20 new_one
same_bytes "$T/i4" "$T/line4/win/one.wim"

# ---- planned before the server was ever seen
five=$(add --force --server line5 --image three.iso --at "+1h")
prints "server line5 has not reported yet" origin plan list
mount_fs line5
eventually 20 job_is "$five" staged
same_bytes "$T/i3" "$T/line5/three.iso"
for m in line3 line4 line5; do umount_fs "$m"; done
