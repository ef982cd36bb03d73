#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# read.sh [SIZE_MIB [ROUNDS]] - what a line station sees, as ratios in one run:
#
#	miss		a whole image that is not there, against `curl -o` of the
#			same object from the same origin (goal: 0.6), and against
#			rclone mount over nginx (goal: 2)
#	first byte	of an image that is not there, against curl of its first
#			mebibyte (goal: at most 2)
#	cached		an image that is there, against the native file
#
# All on one machine over loopback, in turns. All free memory is touched once
# before: a virtual machine gets its memory from the host at the first touch of
# each page, which costs more than all that is measured here. Needs root, and the
# packages curl, nginx-light and rclone (without those two: no row for them).
#
#	sudo STAGEFS_BUILD=build/release TMPDIR=/big tests/bench/read.sh 1024 3

. "$(dirname "$0")/../lib/common.sh"
size_mib=${1:-1024}
rounds=${2:-3}

took() # FILE COMMAND...: appends microseconds
{
	local out=$1 start=${EPOCHREALTIME/./}
	shift
	"$@" > /dev/null
	echo $((${EPOCHREALTIME/./} - start)) >> "$T/$out.us"
}
median() { sort -n "$T/$1.us" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
row() # WHAT A B UNIT: median of A, and B over A as a rate
{
	awk -v what="$1" -v a="$(median "$2")" -v b="$(median "$3")" -v goal="$4" \
		'BEGIN { printf "%-52s %6.2f   (goal %s)\n", what, b / a, goal }'
}
rate()
{
	awk -v what="$1" -v us="$(median "$2")" -v mib="$size_mib" \
		'BEGIN { printf "%-52s %6.0f MiB/s\n", what, mib / (us / 1e6) }'
}
settle() { eventually 60 image_is "$1" "$2" complete 2>/dev/null; }

/usr/bin/python3 - << 'WARM'
free = next(int(l.split()[1]) for l in open("/proc/meminfo") if l.startswith("MemFree"))
bytearray(b"x") * (max(0, free - (2 << 20)) * 1024)
WARM
origin_start
random_file "$T/image" $((size_mib << 20)) 1
origin image add "$T/image" --name image > /dev/null
object=$URL/v1/data/$(origin image show image --json | jq -r '.. | .digest? // empty' | head -1)
for i in $(seq $((rounds * 5))); do
	random_file "$T/small" $((8 << 20)) "small$i"
	origin image add "$T/small" --name "small/$i" > /dev/null
	echo "$URL/v1/data/$(origin image show "small/$i" --json | jq -r '.. | .digest? // empty' | head -1)" >> "$T/objects"
done

have_rclone=
if command -v rclone > /dev/null && command -v nginx > /dev/null; then
	have_rclone=1
	nginx_port=$(free_port)
	mkdir -p "$T/www" "$T/nginx"
	ln "$T/image" "$T/www/image"
	chmod 755 "$T"
	cat > "$T/nginx.conf" <<CONF
user root; worker_processes auto; pid $T/nginx/pid; error_log $T/nginx/log;
events { worker_connections 1024; }
http { access_log off; sendfile on; tcp_nopush on;
server { listen 127.0.0.1:$nginx_port; root $T/www; autoindex on; } }
CONF
	nginx -c "$T/nginx.conf" -p "$T/nginx" -g 'daemon off;' & PIDS+=($!)
	eventually 10 curl -fsS "http://127.0.0.1:$nginx_port/"
fi

peak=0
for round in $(seq "$rounds"); do
	cat "$T/image" > /dev/null
	took curl curl -fs -o "$T/out" "$object"
	rm -f "$T/out"

	mount_fs "m$round" capacity=$((size_mib * 4))M
	took miss dd if="$T/m$round/image" of=/dev/null bs=1M status=none
	settle "m$round" image
	took hot dd if="$T/m$round/image" of=/dev/null bs=1M status=none
	took native dd if="$T/image" of=/dev/null bs=1M status=none
	for i in $(seq $((round * 5 - 4)) $((round * 5))); do
		took first head -c 4096 "$T/m$round/small/$i"
		took mebibyte curl -fs -r 0-1048575 "$(sed -n "${i}p" "$T/objects")" -o "$T/out"
	done
	hwm=$(awk '/VmHWM/ { print int($2 / 1024) }' "/proc/$(pgrep -f "stagefs worker .*$T/m$round" | head -1)/status")
	[ "$hwm" -le "$peak" ] || peak=$hwm
	umount_fs "m$round"
	rm -rf "$T/m$round.cache"

	if [ -n "$have_rclone" ]; then
		mkdir -p "$T/rclone"
		rclone mount ":http:" "$T/rclone" --http-url "http://127.0.0.1:$nginx_port" \
			--vfs-cache-mode full --cache-dir "$T/rclone.cache" --read-only --config "$T/none" 2> "$T/rclone.log" &
		PIDS+=($!)
		eventually 20 test -e "$T/rclone/image"
		took rclone dd if="$T/rclone/image" of=/dev/null bs=1M status=none
		took rclonehot dd if="$T/rclone/image" of=/dev/null bs=1M status=none
		umount "$T/rclone"
		rm -rf "$T/rclone.cache"
	fi
done

rate "curl -o" curl
rate "miss: whole image, not there" miss
rate "native file, page cache hot" native
rate "cached image, page cache hot" hot
row "miss against curl -o" miss curl ">= 0.6"
[ -z "$have_rclone" ] || {
	rate "rclone mount over nginx, first read" rclone
	row "miss against rclone mount" miss rclone ">= 2"
	row "cached against rclone mount, again" hot rclonehot "more"
}
awk -v f="$(median first)" -v m="$(median mebibyte)" 'BEGIN {
	printf "%-52s %6.2f   (goal <= 2)\n", "first byte: time against curl of the first MiB", f / m }'
row "cached against the native file" hot native ">= 0.5, passthrough 0.95"
printf '%-52s %6d MiB  (goal <= 400)\n' "peak memory of the worker" "$peak"
