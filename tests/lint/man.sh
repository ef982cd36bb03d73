#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# mandoc has nothing to say about the man pages, none refers to a page of ours
# that is not there, stagefs(8) has the mount options that there are, and
# stagefs-export(7) explains each line of packaging/share.
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
options=$(sed -n 's/^\t{"\([a-z-]*\)", KIND_.*/\1/p' ../fs/options.c | sort)
written=$(sed -n 's/^\.It Cm \([a-z-]*\)= Ns .*/\1/p' stagefs.8 | sort)
[ -n "$options" ] && [ "$options" = "$written" ] ||
	{ echo "mount options:"; diff <(echo "$options") <(echo "$written"); bad=1; }
# "Key = value;", "key = value", and what stands between the brackets of exports
while read -r line; do
	sed -n '/^\.It Li /{ s///; s/ , /\n/g; p }' stagefs-export.7 | grep -qxF -- "$line" ||
		{ echo "packaging/share: '$line' is not explained"; bad=1; }
done < <(cd ../packaging/share && sed -n 's/^[[:space:]]*\([^#]* = [^;]*\);\{0,1\}$/\1/p' ganesha.conf smb.conf
	sed -n 's/^[^#].*(\(.*\))$/\1/p' exports | tr , '\n')
[ $bad = 0 ] && echo "${#pages[@]} pages"
exit $bad
