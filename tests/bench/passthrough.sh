#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# passthrough.sh [SIZE_MIB [ROUNDS]] - reading an image that is complete, as
# ratios to the native file in one run:
#
#	passthrough	page cache hot and cold, 1 and 4 readers (goal: 0.95)
#	without		the same on a mount with passthrough=off, as on a kernel
#			that has it not: hot (goal: 0.5), and cold for comparison
#
# The native file is the image's own data file in the cache, read by its path:
# the same file system, the same blocks of the disk. In turns, so that what
# else the machine does hits all alike; each reader reads the whole file in
# pieces of 1 MiB, and a hot read follows two that are not measured. Cold: its
# pages are dropped (POSIX_FADV_DONTNEED of both files). All free memory is
# touched once before: a virtual machine gets it from the host at the first
# touch, which costs more than what is measured here. Needs root. Status 1 if a goal is missed.
#
#	sudo STAGEFS_BUILD=build/release TMPDIR=/big tests/bench/passthrough.sh 1024 7

. "$(dirname "$0")/../lib/common.sh"
size_mib=${1:-1024}
rounds=${2:-7}

# read_all READERS FILE: microseconds until all have it.
read_all()
{
	local start=${EPOCHREALTIME/./} i p=()
	for i in $(seq "$1"); do
		dd if="$2" of=/dev/null bs=1M status=none &
		p+=($!)
	done
	wait "${p[@]}"
	echo $((${EPOCHREALTIME/./} - start))
}
# drop FILE...: its pages.
drop() { for f in "$@"; do dd if="$f" iflag=nocache count=0 status=none; done; }
median() { sort -n "$T/$1.us" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
row() # WHAT KIND GOAL READERS
{
	awk -v what="$1" -v a="$(median "$2")" -v b="$(median "native.${2#*.}")" -v n="$4" \
		-v mib="$size_mib" -v goal="$3" 'BEGIN {
			printf "%-44s %7.0f %7.0f MiB/s %6.2f   %s\n", what,
				n * mib / (a / 1e6), n * mib / (b / 1e6), b / a,
				goal ? ">= " goal : ""
			exit b / a < goal
		}' || missed=1
}

/usr/bin/python3 - << 'WARM'
free = next(int(l.split()[1]) for l in open("/proc/meminfo") if l.startswith("MemFree"))
bytearray(b"x") * (max(0, free - (2 << 20)) * 1024)
WARM
origin_start
random_file "$T/image" $((size_mib << 20)) 1
publish "$T/image" image
for m in pass through; do
	o=capacity=$((size_mib * 2))M
	[ $m = pass ] || o=$o,passthrough=off
	mount_fs $m "$o"
	same_bytes "$T/image" "$T/$m/image"
	eventually 60 image_is $m image complete
done
rm "$T/image"
passes() { head -c 1 "$T/pass/image" > /dev/null; [ "$(metric pass opens_passthrough_total)" -gt 0 ]; }
eventually 30 passes
data() { echo "$T/$1.cache/data/$(xattr "$1" image id)"; }
native=$(data pass)
through=$(data through)
requests() { echo $(($(metric "$1" reads_stored_total) + $(metric "$1" reads_waited_total))); }

# through_hot READERS: pages stay over opens, so no READ comes; if one does,
# somebody has dropped the pages of all files, and it was not hot.
through_hot()
{
	local before us _
	for _ in $(seq 20); do
		for _ in 1 2; do read_all 1 "$T/through/image" > /dev/null; done
		before=$(requests through)
		us=$(read_all "$1" "$T/through/image")
		[ "$(requests through)" != "$before" ] || { echo "$us"; return; }
	done
	fail "READ requests of every hot read"
}

before=$(requests pass)
for round in $(seq "$rounds"); do
	for n in 1 4; do
		for i in 1 2; do read_all 1 "$native" > /dev/null; done
		read_all $n "$native" >> "$T/native.hot$n.us"
		read_all $n "$T/pass/image" >> "$T/pass.hot$n.us"
		drop "$native"
		read_all $n "$native" >> "$T/native.cold$n.us"
		drop "$native" "$T/pass/image"
		read_all $n "$T/pass/image" >> "$T/pass.cold$n.us"
		drop "$native"
		through_hot $n >> "$T/through.hot$n.us"
		drop "$through" "$T/through/image"
		read_all $n "$T/through/image" >> "$T/through.cold$n.us"
		drop "$through" "$T/through/image"
	done
done
equal "$(requests pass)" "$before" "READ requests with passthrough"

printf '%-44s %7s %7s %12s\n' "" stagefs native ratio
for n in 1 4; do
	row "passthrough, hot, readers: $n" pass.hot$n 0.95 $n
	row "passthrough, cold, readers: $n" pass.cold$n 0.95 $n
done
for n in 1 4; do
	row "without, hot, readers: $n" through.hot$n 0.5 $n
	row "without, cold, readers: $n" through.cold$n "" $n
done
[ -z "${missed:-}" ] || fail "a goal was missed"
