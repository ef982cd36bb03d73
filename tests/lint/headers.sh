#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every header compiles alone, and twice: it includes what it needs and has a
# guard.
#
# usage: headers.sh ROOT [CC [FLAG...]]
set -u
root=$1
cc=${2:-cc}
shift; [ $# -eq 0 ] || shift
cd "$root" || exit 1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

n=0 bad=0
while read -r header; do
	n=$((n + 1))
	printf '#include "%s"\n#include "%s"\nextern int nothing;\n' \
		"$header" "$header" > "$tmp/alone.c"
	if ! "$cc" -std=gnu11 -D_GNU_SOURCE -fsyntax-only -Wall -Wextra \
		-Werror -I. "$@" "$tmp/alone.c" 2> "$tmp/log"; then
		echo "$header does not compile alone:"
		grep -E 'error' "$tmp/log" | head -3
		bad=$((bad + 1))
	fi
done < <(find common fs origin -name '*.h' 2>/dev/null | sort)
[ $n -gt 0 ] || { echo "no headers found in $root"; exit 1; }
[ $bad = 0 ] && echo "$n headers compile alone"
[ $bad = 0 ]
