#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# mandoc has nothing to say about the man pages, and none refers to a page of
# ours that is not there.
#
# usage: man.sh ROOT
set -u
cd "$1/man" || exit 1
pages=(*.[1-9])
[ -f "${pages[0]}" ] || { echo "no man pages in $1/man"; exit 1; }
bad=0
mandoc -T lint -W warning "${pages[@]}" || bad=1
while read -r name section; do
	[ -f "$name.$section" ] ||
		{ echo "$name($section) is referred to, and not there"; bad=1; }
done < <(sed -n 's/^\.Xr \([a-z.-]*stagefs[a-z-]*\) \([1-9]\).*/\1 \2/p' "${pages[@]}" | sort -u)
[ $bad = 0 ] && echo "${#pages[@]} pages"
exit $bad
