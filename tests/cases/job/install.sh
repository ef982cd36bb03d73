#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `cmake --install` puts every file in its place, with its mode, and nothing
# else; each of them belongs to one Debian package.
. "$(dirname "$0")/../../lib/common.sh"

cache() { sed -n "s/^$1:[A-Z]*=//p" "$STAGEFS_BUILD/CMakeCache.txt"; }
prefix=$(cache CMAKE_INSTALL_PREFIX)
sbin=$(cache STAGEFS_SBINDIR)
root=$T/root

DESTDIR=$root cmake --install "$STAGEFS_BUILD" > "$T/install.log"

cat > "$T/expected" <<END
777 $sbin/mount.stagefs
755 $prefix/bin/stagefs
755 $prefix/bin/stagefs-origin
755 $prefix/libexec/stagefs/stagefs-supervisor
644 $prefix/lib/systemd/system/stagefs-origin.service
644 $prefix/lib/sysusers.d/stagefs-origin.conf
644 $prefix/lib/sysusers.d/stagefs.conf
644 $prefix/lib/tmpfiles.d/stagefs-origin.conf
644 $prefix/lib/tmpfiles.d/stagefs.conf
644 $prefix/share/doc/stagefs/examples/exports
644 $prefix/share/doc/stagefs/examples/ganesha.conf
644 $prefix/share/doc/stagefs/examples/images.mount
644 $prefix/share/doc/stagefs/examples/nfs.conf
644 $prefix/share/doc/stagefs/examples/smb.conf
644 $prefix/share/doc/stagefs/examples/stagefs-origin.default
644 $prefix/share/doc/stagefs/examples/sysctl.conf
644 $prefix/share/man/man5/stagefs-cache.5
644 $prefix/share/man/man7/stagefs-export.7
644 $prefix/share/man/man7/stagefs-protocol.7
644 $prefix/share/man/man8/mount.stagefs.8
644 $prefix/share/man/man8/stagefs-origin.8
644 $prefix/share/man/man8/stagefs.8
END
find "$root" ! -type d -printf '%m /%P\n' | sort -k 2 > "$T/installed"
sort -k 2 "$T/expected" | diff - "$T/installed" || fail "other files than expected"

# They run from there, and are those of this source.
version=$(sed -n 's/^project(stagefs VERSION \([0-9.]*\).*/\1/p' "$TOP/CMakeLists.txt")
equal "$("$root$prefix/bin/stagefs" --version)" "stagefs $version"
equal "$("$root$prefix/bin/stagefs-origin" --version)" "stagefs-origin $version"
equal "$(readlink "$root$sbin/mount.stagefs")" "$prefix/bin/stagefs"
equal "$(exec -a mount.stagefs "$root$prefix/bin/stagefs" --version)" "mount.stagefs $version"
STORE=$T/installed-store
"$root$prefix/bin/stagefs-origin" -C "$STORE" init > /dev/null
[ -f "$STORE/origin.db" ] || fail "no store"

# The page of mount.stagefs leads to one that is there.
equal "$(cat "$root$prefix/share/man/man8/mount.stagefs.8")" ".so man8/stagefs.8"

# Units that systemd understands.
if command -v systemd-analyze > /dev/null; then
	systemd-analyze verify --man=no \
		"$root$prefix/lib/systemd/system/stagefs-origin.service" \
		"$root$prefix/share/doc/stagefs/examples/images.mount" 2>&1 |
		grep -E '/(stagefs-origin.service|images.mount):' &&
		fail "systemd complains"
fi

# Debian: usr/... of one of the .install files, or a file that debhelper takes
# by its name.
debian=$TOP/packaging/debian
while read -r _ path; do
	name=$(basename "$path" .conf)
	case $path in
	"$sbin"/*) in_package=usr/sbin/${path##*/} ;;
	*/lib/systemd/*) in_package=lib/systemd/system/${path##*/} ;;
	*/sysusers.d/*) same_bytes "$debian/$name.sysusers" "$root$path"; continue ;;
	*/tmpfiles.d/*) same_bytes "$debian/$name.tmpfiles" "$root$path"; continue ;;
	*.default) same_bytes "$debian/${path##*/}" "$root$path"; continue ;;
	*) in_package=usr${path#"$prefix"} ;;
	esac
	equal "$(cat "$debian"/*.install | grep -cxF "$in_package")" 1 "packages with $in_package"
done < "$T/expected"
equal "$(cat "$debian"/*.install | wc -l)" 17 "lines of .install files"
