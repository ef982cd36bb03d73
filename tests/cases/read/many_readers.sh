#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# labels: tsan
# R2: however many read a cold image at once, each block comes once. Half of
# them past the kernel's page cache, so that it is not the kernel that shares.
. "$(dirname "$0")/../../lib/common.sh"

origin_start
mount_fs m

# many IMAGE READERS BYTES
many()
{
	local image=$1 readers=$2 bytes=$3 before sent i pids=()
	random_file "$T/$image" "$bytes" "$image"
	publish "$T/$image" "$image"
	eventually 10 has_image m "$image"
	before=$(origin_sent)
	for i in $(seq "$readers"); do
		if [ $((i % 2)) = 0 ]; then
			sha256sum < "$T/m/$image"
		else
			dd if="$T/m/$image" bs=1M iflag=direct status=none |
				sha256sum
		fi | cut -c 1-64 > "$T/sum.$image.$i" &
		pids+=($!)
	done
	wait "${pids[@]}"
	equal "$(cat "$T/sum.$image".* | sort | uniq -c | awk '{ print $1, $2 }')" \
		"$readers $(sum "$T/$image")" "$readers readers"
	eventually 10 image_is m "$image" complete
	sent=$(($(origin_sent) - before))
	[ "$sent" -ge "$bytes" ] || fail "only $sent bytes were counted"
	[ "$((sent * 100))" -le "$((bytes * 101))" ] ||
		fail "$readers readers: $sent bytes left the origin for $bytes"
	say "$readers readers of $bytes bytes: $sent left the origin"
}

many two 2 40000000
many many 64 10000000
equal "$(status_of m .reads.failed)" 0
umount_fs m
