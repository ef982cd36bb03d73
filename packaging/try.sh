#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Shows the whole job on this one machine: it is the origin and a production
# server at once.
#
#	sudo packaging/try.sh [IMAGE]	build, install, publish, mount, read, plan
#	sudo packaging/try.sh --down	remove everything it made
#
# IMAGE is any file; without one it takes bootable images out of two Debian
# packages. Everything lies under /srv/stagefs-try; what is running goes on
# running, so that you can play with it.

set -Eeuo pipefail
cd "$(dirname "$0")/.."
top=$PWD
base=/srv/stagefs-try
store=$base/store images=$base/images cache=$base/cache
port=${STAGEFS_TRY_PORT:-8420}
url=http://127.0.0.1:$port

bold=$(tput bold 2>/dev/null || :) plain=$(tput sgr0 2>/dev/null || :)
step() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
note() { printf '   %s\n' "$*"; }
show() { printf '%s$ %s%s\n' "$bold" "$*" "$plain"; "$@"; }
die() { echo "try.sh: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "it mounts a file system and installs packages: run it with sudo"

down()
{
	local pid
	if mountpoint -q "$images"; then
		umount "$images" || die "$images is busy: end what reads from it (see: fuser -vm $images), then try again"
	fi
	if [ -f $base/origin.pid ]; then
		pid=$(cat $base/origin.pid)
		if [ "$(readlink "/proc/$pid/exe")" = /usr/local/bin/stagefs-origin ]; then
			kill "$pid"
			timeout 10 tail --pid="$pid" -f /dev/null || kill -9 "$pid"
		fi
	fi
	if [ -f $base/installed ]; then
		xargs -r -d '\n' rm -f < $base/installed
	fi
	rm -rf $base "$top/build/try"
}

case ${1:-} in
--down)
	down
	echo "Removed: the mount, the origin, $base and the installed files. (Debian packages stay.)"
	exit 0
	;;
-h | --help)
	sed -n 's/^# \{0,1\}//; 3,11p' "$0"
	exit 0
	;;
-*) die "unknown option $1: see --help" ;;
esac
image=${1:-}
[ -z "$image" ] || [ -f "$image" ] || die "$image: no such file"
[ -z "$image" ] || image=$(realpath "$image")
[ ! -e $base ] || down

trap 'echo "try.sh: stopped at line $LINENO ($BASH_COMMAND). Logs: $base/*.log. To remove everything: sudo packaging/try.sh --down" >&2' ERR

step "1. Install what it needs, and build"
packages=$(awk '$1 == "build" { print $2 }' tests/lib/packages)
[ -n "$image" ] || packages="$packages ipxe debian-installer-12-netboot-amd64"
missing=
for p in $packages; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
mkdir -p $base
if [ -n "$missing" ]; then
	note "apt-get install$missing"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq > $base/apt.log 2>&1
	# shellcheck disable=SC2086
	apt-get install -y -qq --no-install-recommends $missing >> $base/apt.log 2>&1 ||
		{ tail -5 $base/apt.log >&2; die "apt-get failed: see $base/apt.log"; }
fi
# Any build by hand works the same way: cmake, ninja, cmake --install.
cmake -S . -B build/try -G Ninja -DBUILD_TESTING=OFF -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	-DCMAKE_INSTALL_PREFIX=/usr/local > $base/build.log 2>&1 &&
	ninja -C build/try >> $base/build.log 2>&1 &&
	cmake --install build/try >> $base/build.log 2>&1 ||
	{ tail -20 $base/build.log >&2; die "the build failed: see $base/build.log"; }
cp build/try/install_manifest.txt $base/installed
note "installed: $(grep -E 'bin/' $base/installed | tr '\n' ' ')"
[ -e /dev/fuse ] || modprobe fuse || die "this kernel has no /dev/fuse"

step "2. The origin: a store, and the daemon that serves it"
show stagefs-origin -C $store init
setsid stagefs-origin -C $store serve --listen 127.0.0.1:"$port" \
	> $base/origin.log 2>&1 < /dev/null &
echo $! > $base/origin.pid
for _ in $(seq 100); do
	curl -fs $url/healthz > /dev/null && break
	sleep 0.1
done
curl -fs $url/healthz > /dev/null || { tail -3 $base/origin.log >&2; die "the origin did not start (is port $port taken? STAGEFS_TRY_PORT=PORT chooses another)"; }

step "3. Publish images"
if [ -n "$image" ]; then
	first=$image first_name=yours/$(basename "$image")
	second=$image second_name=yours/again-$(basename "$image")
else
	di=/usr/lib/debian-installer/images/12/amd64
	first=$(find $di -name '*.iso' -type f 2>/dev/null | xargs -r ls -S | head -1)
	[ -n "$first" ] || first=$(find $di -type f -printf '%s %p\n' | sort -n | tail -1 | cut -d' ' -f2-)
	first_name=debian12/$(basename "$first")
	second=$di/text/debian-installer/amd64/initrd.gz
	[ -f "$second" ] || second=$first
	second_name=debian12/text-$(basename "$second")
fi
show stagefs-origin -C $store image add "$first" --name "$first_name"
show stagefs-origin -C $store image add "$second" --name "$second_name"
[ -n "$image" ] || show stagefs-origin -C $store image add /usr/lib/ipxe/ipxe.iso --name boot/ipxe.iso
show stagefs-origin -C $store image list

step "4. A production server mounts it"
mkdir -p $images
show mount -t stagefs $url $images -o name=line3,capacity=20G,cache=$cache,log=$base/mount.log
show ls -lR $images
show df -h $images

step "5. A cold read: nothing is stored yet, the blocks stream through, each verified"
note "stored on this server so far: $(stagefs list --noheadings $images | wc -l) images"
show dd if="$images/$first_name" of=/dev/null bs=1M count=1 status=none
note "the first mebibyte is here; now the whole image, compared with the source:"
equal=no
[ "$(sha256sum < "$images/$first_name")" = "$(sha256sum < "$first")" ] && equal=yes
note "sha256 of what was read and of the source: equal=$equal"
[ $equal = yes ] || die "the bytes differ: this must not happen"
for _ in $(seq 200); do
	[ "$(getfattr --only-values -n user.stagefs.state "$images/$first_name" 2>/dev/null)" = complete ] && break
	sleep 0.1
done
show getfattr --absolute-names -d "$images/$first_name"
show stagefs list $images

step "6. The plan: line3 needs the other image in ten seconds"
show stagefs-origin -C $store plan add --server line3 --image "$second_name" --at "+10s"
for _ in $(seq 300); do
	stagefs-origin -C $store plan list --json | grep -q '"state": *"staged"' && break
	sleep 0.1
done
show stagefs-origin -C $store plan list
note "'staged' is said by the server, from its own verified blocks."

step "7. What everybody knows now"
sleep 1.5 # the server reports at most once a second
show stagefs-origin -C $store server list
show stagefs-origin -C $store server show line3
show stagefs-origin -C $store log
show stagefs status $images

step "It goes on running. Try:"
cat <<MSG
   ls -l $images
   stagefs-origin -C $store image add FILE --name some/name    (then look into $images)
   stagefs-origin -C $store order prefetch line3 NAME          (or: order delete, order reclaim)
   stagefs-origin -C $store plan add --server line3 --image NAME --at "tomorrow 06:00"
   stagefs evict $images $second_name
   curl -s $url/metrics
   man stagefs ; man stagefs-origin
 To remove everything: sudo packaging/try.sh --down
MSG
