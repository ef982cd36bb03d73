#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the Debian packages stagefs and stagefs-origin from what is committed.
#
#	packaging/deb.sh [FOLDER]	into FOLDER (default: build/deb)
#
# It needs dpkg-dev, debhelper and the build dependencies of
# packaging/debian/control.

set -eu
cd "$(dirname "$0")/.."
top=$PWD
case ${1:-} in
-h | --help) sed -n 's/^# \{0,1\}//; 3,9p' "$0"; exit 0 ;;
-*) echo "deb.sh: unknown option $1: see --help" >&2; exit 2 ;;
esac
to=$(realpath -m "${1:-build/deb}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

git archive --prefix=stagefs/ HEAD | tar -x -C "$work"
cd "$work/stagefs"
# The links in packaging/debian lead to files beside it.
cp -rL packaging/debian debian
dpkg-buildpackage --no-sign --build=binary > "$work/log" 2>&1 ||
	{ tail -30 "$work/log" >&2; exit 1; }
mkdir -p "$to"
cp "$work"/*.deb "$to"
cd "$top"
ls -1 "$to"/*.deb
