#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 20
# Ganesha, with packaging/share/ganesha.conf, over a mount: NFS v4 and v3.
. "$(dirname "$0")/../../lib/common.sh"
. "$TESTS/lib/share.sh"

share_images
ganesha_start

list() { in_share nfs-ls "nfs://127.0.0.1/images/${2:-}?version=$1"; }
listed() { list "$1" "${2:-}" | awk '{ print $6 }' | sort | xargs; }
lists() { [ "$(listed "$1" "$2")" = "$3" ]; }
reads_as() { nfs_read "$2" "$1" | cmp -s - "$3"; }
no_read() { ! nfs_read "$2" "$1"; }
lists_all() { [[ " $(listed 4) " = *" $1 "* ]]; }
has_read() { [ "$(xattr m "$1" cached_bytes)" -gt 0 ]; }
forget() { "$STAGEFS_BIN" evict "$T/m" "$1"; }

for v in 4 3; do
	equal "$(listed $v)" 'boot.iso far win11'
	equal "$(list $v win11 | awk '{ print $1, $2, $5, $6 }')" \
		'-r--r--r-- 1 30000000 base.wim'

	# Cold, then cached, from front to back and at random.
	same_bytes "$T/b" <(nfs_read boot.iso $v)
	for bytes in 65536 262144 1048576; do
		netread -b $bytes "$T/a" "$(nfs_url win11/base.wim $v)"
		netread -b $bytes -n 50 -s $bytes "$T/a" "$(nfs_url win11/base.wim $v)"
	done
	eventually 10 image_is m win11/base.wim complete
	same_bytes "$T/a" <(nfs_read win11/base.wim $v)
	# What is stored shows in st_blocks: all of it, and nothing.
	info_is "$(nfs_url win11/base.wim $v)" "$T/m/win11/base.wim" EROFS
	[ "$(stat -c %b "$T/m/win11/base.wim")" -ge $((30000000 / 512)) ] || fail "st_blocks"

	# Evicted it reads as before. What Ganesha keeps open for v3 it closes
	# after some seconds, because of the section MDCACHE.
	eventually 30 forget boot.iso
	eventually 30 forget win11/base.wim
	equal "$(xattr m boot.iso state)" absent
	equal "$(stat -c %b "$T/m/boot.iso")" 0
	info_is "$(nfs_url boot.iso $v)" "$T/m/boot.iso" EROFS
	forget_pages
	same_bytes "$T/b" <(nfs_read boot.iso $v)

	for name in new boot.iso; do
		! in_share nfs-cp "$T/b" "$(nfs_url $name $v)" 2> "$T/said" ||
			fail "wrote $name"
		grep -q ROFS "$T/said" || fail "writing: $(cat "$T/said")"
	done
done

# A cold end far away, before the front is there (R5).
for v in 4 3; do
	netread -b 4096 -n 3 -s "7$v" "$T/far" "$(nfs_url far $v)"
	[ "$(xattr m far cached_bytes)" -lt 30000000 ] || fail "far seeks fetched all"
	[ $v = 3 ] || eventually 30 forget far
done
netread -b 1000000 -n 20 "$T/far" "$(nfs_url far 3)"
# Ganesha takes a lock for a write, even one to read.
equal "$(in_share "$TOOLS/netinfo" -l "$(nfs_url far)")" 'lock EROFS'

# Names that come, change and go: seen as soon as they are seen in the mount,
# because of Attr_Expiration_Time.
for v in 4 3; do
	publish "$T/b" "win11/new$v"
	eventually 10 lists $v win11 "base.wim new$v"
	eventually 10 reads_as $v "win11/new$v" "$T/b"
	publish "$T/a" "win11/new$v"
	eventually 10 reads_as $v "win11/new$v" "$T/a"
	origin image remove "win11/new$v" > /dev/null
	eventually 10 no_read $v "win11/new$v"
	eventually 10 lists $v win11 'base.wim'
done

# A reader keeps its version when the name gets another one, also where it is
# not stored yet; who opens the name gets the new one.
for v in 4 3; do
	random_file "$T/old$v" 20000000 "old$v"
	publish "$T/old$v" "changes$v"
	eventually 10 lists_all "changes$v"
	in_share_bg "reader$v" "$TOOLS/netread" -l -n 10 -b 65536 "$T/old$v" "$(nfs_url "changes$v" $v)"
	eventually 10 has_read "changes$v"
	publish "$T/b" "changes$v"
	eventually 10 reads_as $v "changes$v" "$T/b"
	pid=READER${v}_PID
	kill -USR1 "${!pid}"
	wait "${!pid}" || fail "the old version over NFS v$v: $(cat "$T/reader$v.log")"
done
share_end
umount_fs m
