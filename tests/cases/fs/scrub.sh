#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cost: 12
# C7: what goes bad on the disk under the cache is found and mended in place, in
# images that nobody has open and in those that the kernel reads itself, whose
# readers keep the good bytes that are still in memory. Without the origin a
# bad block is dropped (R1), and comes back with it.
. "$(dirname "$0")/../../lib/common.sh"

for i in a b; do random_file "$T/$i" 12000000 $i; done
origin_start
for i in a b; do publish "$T/$i" $i; done
proxy_start

# A disk of its own, so that it can go bad beneath the page cache.
truncate -s 400M "$T/disk.img"
mkfs.ext4 -q -m 0 "$T/disk.img"
mkdir "$T/disk"
mount -o loop "$T/disk.img" "$T/disk"

go() { mount_fs m "cache=$T/disk/cache,capacity=300M,io-timeout=2s,${1:-scrub=1s}"; }
data_of() { echo "$T/disk/cache/data/$(xattr m "$1" id)"; }
# spoil IMAGE BYTE: through the page cache, so that whoever looks sees it.
spoil() { printf Spoilt | dd of="$(data_of "$1")" bs=1 seek="$2" conv=notrunc status=none; }
# rot FILE BYTE: on the medium alone. Its bytes name the place on it.
rot()
{
	sync -f "$T/disk"
	/usr/bin/python3 - "$T/disk.img" "$T/$1" "$2" <<'PY'
import mmap, sys
with open(sys.argv[2], 'rb') as f:
    f.seek(int(sys.argv[3]) // 4096 * 4096)
    page = f.read(4096)
with open(sys.argv[1], 'r+b') as disk, mmap.mmap(disk.fileno(), 0) as m:
    at = m.find(page)
    assert at >= 0 and m.find(page, at + 1) < 0
    m[at:at + 6] = b'Rotten'
PY
}
# hold IMAGE: its pages stay in memory, whoever drops those of the machine, until
# let_go.
hold()
{
	/usr/bin/python3 - "$(data_of "$1")" "$T/held" <<'PY' &
import mmap, sys, time
with open(sys.argv[1], 'rb') as f:
    m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
    touched = sum(m[::4096])
    open(sys.argv[2], 'w').close()
    time.sleep(600)
PY
	holder=$!
	PIDS+=($holder)
	eventually 20 test -e "$T/held"
}
let_go()
{
	kill $holder
	wait $holder || :
	rm "$T/held"
}
bad() { status_of m .cache.bad_blocks; }
repaired() { status_of m .cache.repaired_blocks; }
is() { [ "$($1)" = "$2" ]; }
rest_is() { "$TOOLS/sumfd" "$1" > "$T/sumfd"; equal "$(cat "$T/sumfd")" "$(sum "$2")" "${3:-}"; }
file_is() { cmp "$T/$1" "$(data_of "$1")"; }
complete() { image_is m "$1" complete; }
partial() { [ "$(xattr m "$1" state)" != complete ]; }

# ---- nobody has it open
go
"$STAGEFS_BIN" fetch "$T/m" a
"$STAGEFS_BIN" fetch "$T/m" b
spoil a 5000000
eventually 30 is repaired 1
eventually 10 complete a
file_is a
same_bytes "$T/a" "$T/m/a"
# In the last block, which is no whole one, and rot beneath the page cache.
spoil b 11999990
rot a 100000
eventually 30 is repaired 3
eventually 10 complete a
eventually 10 complete b
sync -f "$T/disk"
forget_pages
file_is a
file_is b
equal "$(bad)" 3
equal "$(metric m cache_repaired_blocks_total)" 3
# The planner hears of it.
told() { [ "$(origin server show m --json | jq -r '"\(.bad_blocks) \(.repaired_blocks)"')" = "$1" ]; }
eventually 20 told "3 3"
[ "$(metric m scrub_bytes_total)" -gt 24000000 ] || fail "nothing was read"
prints '^scrub      [0-9.]+% of a round of 1s; 3 stored blocks were found bad, 3 of them repaired$' "$STAGEFS_BIN" status "$T/m"
equal "$(grep -c 'scrub: .* is not what was stored: fetching it again' "$T/m.log")" 3

# ---- the kernel reads it itself, and has its pages
if [ "$(status_of m '.counters[] | select(.name == "opens_passthrough_total").value')" -gt 0 ]; then
	exec 7< "$T/m/a"
	[ "$(metric m open_images_passthrough)" = 1 ] || fail "no passthrough"
	rest_is 7 "$T/a"
	# Bad in memory too: put right there.
	spoil a 7000000
	eventually 30 is repaired 4
	eventually 10 complete a
	rest_is 7 "$T/a" "stale pages"
	# Bad on the medium alone: its reader sees nothing of it at any time.
	rest_is 7 "$T/a"
	hold a
	rot a 3000000
	found()
	{
		rest_is 7 "$T/a" "a reader was sent to the bad disk"
		is repaired 5
	}
	eventually 60 found
	let_go
	sync -f "$T/disk"
	forget_pages
	rest_is 7 "$T/a" "repaired in place"
	exec 7<&-
fi

# ---- what was read of it through us goes from the kernel's memory
end_fs m
go passthrough=off,scrub=1s
exec 7< "$T/m/b"
rest_is 7 "$T/b"
umount_b() { exec 7<&-; end_fs m; }
umount_b

go passthrough=off,scrub=off
spoil b 4000000
exec 7< "$T/m/b"
"$TOOLS/sumfd" 7 > "$T/sumfd"
[ "$(cat "$T/sumfd")" != "$(sum "$T/b")" ] || fail "it was to be bad, for once"
prints '^b .* 1 repaired' "$STAGEFS_BIN" verify "$T/m" b
right_again() { [ "$("$TOOLS/sumfd" 7)" = "$(sum "$T/b")" ]; }
eventually 10 right_again
umount_b

# ---- the origin is away
go
if prints 'scrub      off' "$STAGEFS_BIN" status "$T/m"; then fail "off?"; fi
exec 7< "$T/m/a"
proxy _down
before=$(bad)
spoil a 9000000
eventually 30 partial a
equal "$(bad)" $((before + 1))
# No new reader is given a file with a bad block, whatever the mode.
refused 'timed out' dd if="$T/m/a" bs=1M skip=8 count=1 of=/dev/null status=none
# Nor is one by the next worker.
kill_worker m
partial a || fail "the next worker believes the block"
exec 7<&-
refused 'timed out' dd if="$T/m/a" bs=1M skip=8 count=1 of=/dev/null status=none
cmp -n 8000000 "$T/a" "$T/m/a" # what is right is served
proxy _up
eventually 60 complete a
same_bytes "$T/a" "$T/m/a"
file_is a

end_fs m
umount "$T/disk"
