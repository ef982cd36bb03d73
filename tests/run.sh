#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Everything: packages, builds, unit tests, fuzz corpora, lint, cases.
#
#	sudo tests/run.sh [--long] [--only REGEX] [--build-only]
#
# --long runs the storms too (label "long"); --only runs the tests whose name
# matches. Builds lie in build/{release,asan,tsan}. All output of a test that
# failed is shown as it happens; at the end once more, in short:
#
#	the slowest tests of each build
#	--- unsteady: ..., --- FAILED: ...	their last lines
#	unsteady: NAME (...; passed alone)	failed beside others, not alone
#	FAILED: NAME (...)
#	N passed, N failed, N skipped, N unsteady

set -eu
cd "$(dirname "$0")/.."
top=$PWD
long=0 only='' build_only=0
while [ $# -gt 0 ]; do
	case $1 in
	--long) long=1 ;;
	--only) only=$2; shift ;;
	--build-only) build_only=1 ;;
	-h | --help) sed -n 's/^# \{0,1\}//; 3,16p' "$0"; exit 0 ;;
	*) echo "run.sh: unknown option $1: see --help" >&2; exit 2 ;;
	esac
	shift
done

[ "$(id -u)" = 0 ] || { echo "run.sh: the tests mount file systems: run it with sudo" >&2; exit 1; }

# ---- packages
missing=
while read -r kind package; do
	case $kind in
	build | test) ;;
	long) [ $long = 1 ] || continue ;;
	*) continue ;;
	esac
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
		missing="$missing $package"
done < tests/lib/packages
if [ -n "$missing" ]; then
	echo "installing:$missing"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	# shellcheck disable=SC2086
	apt-get install -y -qq --no-install-recommends $missing > /tmp/stagefs-apt.log 2>&1 ||
		{ tail -20 /tmp/stagefs-apt.log; exit 1; }
fi
[ -e /dev/fuse ] || modprobe fuse 2>/dev/null || :

# ---- builds
build()
{
	local dir=build/$1
	shift
	cmake -S . -B "$dir" -G Ninja "$@" > "$dir.log" 2>&1 || { cat "$dir.log"; return 1; }
	ninja -C "$dir" > "$dir.log" 2>&1 || { grep -E 'error|warning|FAILED' "$dir.log" || tail -30 "$dir.log"; return 1; }
	echo "built $dir"
}
mkdir -p build
build release -DCMAKE_BUILD_TYPE=RelWithDebInfo
build asan -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 -DSTAGEFS_SANITIZE=address
build tsan -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 -DSTAGEFS_SANITIZE=thread
[ $build_only = 0 ] || exit 0

# ---- tests: everything on the release build; all but lint once more under
# ASan+UBSan; units under TSan.
#
# More than there are processors at once: cases wait most of the time. A case
# that failed is run once more, alone: tests/tools/results.py says which.
builds=()
run()
{
	local name=$1 again
	local results=$top/build/$name
	shift
	builds+=("$name")
	rm -f "$results.xml" "$results.again.xml"
	echo "=== build/$name"
	ctest --test-dir "build/$name" --output-on-failure -j $(($(nproc) + 1)) \
		--timeout 600 --output-junit "$results.xml" ${only:+-R "$only"} "$@" 2>&1 |
		tee "$results.ctest.log" | grep -vE '^ +Start |^ *[0-9]+/[0-9]+ Test .* Passed' || :
	again=$(/usr/bin/python3 tests/tools/results.py again "$results.xml") || return 0
	[ -n "$again" ] || return 0
	echo "=== build/$name, once more, alone"
	ctest --test-dir "build/$name" --output-on-failure -j 1 \
		--timeout 600 --output-junit "$results.again.xml" -R "^($again)\$" 2>&1 |
		tee "$results.again.log" | grep -vE '^ +Start ' || :
}
skip='^long$'
[ $long = 0 ] || skip='^$'
run release -LE "$skip"
# Storms have bounds of time that sanitizers cannot keep.
run asan -L 'unit|fuzz|case' -LE '^long$'
run tsan -L 'unit|tsan' -LE '^long$'
exec /usr/bin/python3 tests/tools/results.py end "$top/build" "${builds[@]}"
