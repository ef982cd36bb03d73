#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# R2: eight stations read one cold image at once, over NFS v4, v3, SMB, and all
# of these together: each block leaves the origin once.
. "$(dirname "$0")/../../lib/common.sh"
. "$TESTS/lib/share.sh"

BYTES=30000000
origin_start
mount_fs m
share_start m
ganesha_start
samba_start

# read_by HOW IMAGE
read_by()
{
	case $1 in
	v*) nfs_read "$2" "${1#v}" ;;
	smb) smb_read "$2" ;;
	esac
}

# eight HOW...: so many clients of these kinds, in turns.
eight()
{
	local image="by.${1}.$#" before sent i pids=() how=("$@")
	random_file "$T/$image" $BYTES "$image"
	publish "$T/$image" "$image"
	eventually 10 has_image m "$image"
	# What NFS clients find by name first, Samba and Ganesha remember.
	before=$(origin_sent)
	for i in $(seq 0 7); do
		read_by "${how[i % $#]}" "$image" | sha256sum | cut -c 1-64 \
			> "$T/sum.$image.$i" &
		pids+=($!)
	done
	for i in "${pids[@]}"; do wait "$i"; done
	equal "$(cat "$T/sum.$image".* | sort | uniq -c | awk '{ print $1, $2 }')" \
		"8 $(sum "$T/$image")" "$*"
	eventually 10 image_is m "$image" complete
	sent=$(($(origin_sent) - before))
	[ "$sent" -ge $BYTES ] || fail "only $sent bytes were counted"
	[ $((sent * 100)) -le $((BYTES * 101)) ] ||
		fail "$*: $sent bytes left the origin for $BYTES"
	say "$*: $sent of $BYTES"
}

eight v4
eight v3
eight smb
eight v4 smb v3
equal "$(status_of m .reads.failed)" 0
share_end
umount_fs m
