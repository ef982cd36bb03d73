#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# add.sh [SIZE_MIB [ROUNDS]] - `image add` against sha256sum on one core, and
# against cp with fsync, on the same file system, in turns. The file is in the
# page cache for all of them. Prints medians and ratios of rates; a ratio above
# 1 means that `image add` is faster. Goal: 0.8 of sha256sum.
#
#	ORIGIN=build/release/origin/stagefs-origin TMPDIR=/big tests/bench/add.sh 2048
set -euo pipefail
export LC_ALL=C

size_mib=${1:-1024}
rounds=${2:-3}
origin=${ORIGIN:-build/release/origin/stagefs-origin}
[ -x "$origin" ] || { echo "add.sh: no $origin: set ORIGIN" >&2; exit 2; }

dir=$(mktemp -d "${TMPDIR:-/tmp}/stagefs-bench-XXXXXX")
trap 'rm -rf "$dir"' EXIT
file=$dir/image
store=$dir/store

# Seconds that a command takes, with microseconds.
took() {
	local start=${EPOCHREALTIME/./} end

	"$@" >/dev/null
	end=${EPOCHREALTIME/./}
	echo $(((end - start)))
}
median() { sort -n | sed -n "$(((rounds + 1) / 2))p"; }

copy() {
	cp --reflink=never "$file" "$dir/copy"
	sync "$dir/copy"
}

head -c "${size_mib}M" /dev/urandom >"$file"
sync
"$origin" -C "$store" init >/dev/null
for ((i = 0; i < rounds; i++)); do
	cat "$file" >/dev/null
	took taskset -c 0 sha256sum "$file" >>"$dir/sha"
	took copy >>"$dir/cp"
	rm "$dir/copy"
	took "$origin" -C "$store" image add "$file" --name "image$i" \
		>>"$dir/add"
	took "$origin" -C "$store" image add "$file" --name again \
		>>"$dir/again"
	"$origin" -C "$store" image remove again >/dev/null
	"$origin" -C "$store" image remove "image$i" >/dev/null
done

report() { # WHAT FILE
	local us

	us=$(median <"$dir/$2")
	awk -v what="$1" -v us="$us" -v mib="$size_mib" 'BEGIN {
		printf "%-34s %8.2f s %8.0f MiB/s\n", what, us / 1e6,
			mib / (us / 1e6) }'
}
ratio() { # WHAT OURS THEIRS: rate of ours over rate of theirs
	awk -v what="$1" -v a="$(median <"$dir/$2")" \
		-v b="$(median <"$dir/$3")" \
		'BEGIN { printf "%-34s %8.2f\n", what, b / a }'
}
report "sha256sum, one core" sha
report "cp and fsync" cp
report "image add" add
report "image add, the same again" again
ratio "add against sha256sum (>= 0.8)" add sha
ratio "add against cp" add cp
ratio "the same again against sha256sum" again sha
