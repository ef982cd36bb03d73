#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 15
# Each thing that can go wrong on the way happens to an image of its own,
# twice; every reader gets the right bytes all the same (R1), and a whole image
# in place of a range is never downloaded.
. "$(dirname "$0")/../../lib/common.sh"

# "fault members": what badorigin.py does to the first data requests.
FAULTS=(
	'status'
	'status,"status":416'
	'reset,"after":-1'
	'reset,"after":700000'
	'close,"after":700000'
	'stall,"after":700000'
	'whole'
	'wrong-range'
	'wrong-total'
	'no-range'
	'wrong-length'
	'gzip'
	'redirect,"to":"ftp://127.0.0.1/x"'
	'redirect,"to":"file:///etc/passwd"'
	'loop'
	'garbage'
	'headers'
	'long'
	'html'
	'truncate'
)
# One bit that flips on the way; the only origin gets a second chance.
ONCE=('flip' 'shift')

rules=
rule() # FAULT,MEMBERS IMAGE TIMES
{
	local digest
	digest=$(origin image show --json "$2" | jq -r .image.digest)
	equal ${#digest} 64
	rules+="${rules:+,}{\"name\":\"$2\",\"path\":\"/v1/data/$digest\",\"times\":$3,\"fault\":\"${1%%,*}\""
	case $1 in *,*) rules+=",${1#*,}" ;; esac
	rules+='}'
}

origin init > /dev/null
i=0
for fault in "${FAULTS[@]}" "${ONCE[@]}"; do
	size=2500000
	[ "$fault" = whole ] && size=60000000
	random_file "$T/$i" $size "$i"
	publish "$T/$i" "$i"
	times=2
	[ $i -lt ${#FAULTS[@]} ] || times=1
	[[ $fault != stall* ]] || times=1 # ten seconds each
	rule "$fault" $i $times
	i=$((i + 1))
done
n=$i
origin_start
proxy_start
proxy _script "[$rules]"
mount_fs m io-timeout=200s

for i in $(seq 0 $((n - 1))); do
	(same_bytes "$T/$i" "$T/m/$i") &
	readers[i]=$!
done
for i in $(seq 0 $((n - 1))); do
	wait "${readers[i]}" || fail "reader of image $i: ${FAULTS[i]-once}"
	eventually 20 image_is m "$i" complete
done

# Did each of them happen?
equal "$(proxy _log | jq -r '.rules[] | select(.hits == 0) | .name')" ""
# At most what was on its way when the connection was dropped.
digest=$(origin image show --json 6 | jq -r .image.digest)
left=$(proxy _log | jq ".by_path[\"/v1/data/$digest\"].bytes")
[ "$left" -lt 90000000 ] || fail "200 to a range: $left bytes left the origin"
umount_fs m
