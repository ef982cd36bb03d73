#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# origin.sh [SIZE_MIB [ROUNDS [SECONDS]]] - the origin against nginx: random
# 1 MiB ranges over kept connections (wrk), and whole files (curl), with the same
# number of threads and workers, sendfile on both, in turns on one file in the
# page cache. Prints medians and ratios; above 1 the origin is faster. Goal: 0.9.
#
#	ORIGIN=build/release/origin/stagefs-origin tests/bench/origin.sh 1024 5 5
set -euo pipefail
export LC_ALL=C

size_mib=${1:-1024}
rounds=${2:-5}
seconds=${3:-4}
threads=${THREADS:-$(nproc)}
connections=${CONNECTIONS:-16}
origin=${ORIGIN:-build/release/origin/stagefs-origin}
for tool in "$origin" nginx wrk curl; do
	command -v "$tool" >/dev/null ||
		{ echo "origin.sh: needs $tool" >&2; exit 2; }
done

dir=$(mktemp -d "${TMPDIR:-/tmp}/stagefs-bench-XXXXXX")
pids=()
cleanup() {
	local p

	for p in "${pids[@]}"; do kill "$p" 2>/dev/null && wait "$p" || :; done
	rm -rf "$dir"
}
trap cleanup EXIT
free_port() {
	python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
median() { sort -g | sed -n "$(((rounds + 1) / 2))p"; }

head -c "${size_mib}M" /dev/urandom >"$dir/file"
"$origin" -C "$dir/store" init >/dev/null
"$origin" -C "$dir/store" image add "$dir/file" --name file >/dev/null
rm "$dir/file"
object=$(ls "$dir/store/objects")
cat "$dir/store/objects/$object" >/dev/null
chmod -R a+rX "$dir"

ours=$(free_port)
"$origin" -C "$dir/store" serve --listen "127.0.0.1:$ours" \
	--threads "$threads" 2>"$dir/origin.log" &
pids+=($!)

theirs=$(free_port)
cat >"$dir/nginx.conf" <<CONF
worker_processes $threads;
daemon off;
pid $dir/nginx.pid;
error_log $dir/nginx.log;
events { worker_connections 1024; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	tcp_nodelay on;
	open_file_cache max=100;
	keepalive_requests 1000000;
	client_body_temp_path $dir/b; proxy_temp_path $dir/p;
	fastcgi_temp_path $dir/f; uwsgi_temp_path $dir/u;
	scgi_temp_path $dir/s;
	server { listen 127.0.0.1:$theirs; root $dir/store; }
}
CONF
nginx -c "$dir/nginx.conf" -e "$dir/nginx.log" &
pids+=($!)
url_ours=http://127.0.0.1:$ours/v1/data/$object
url_theirs=http://127.0.0.1:$theirs/objects/$object
for url in "$url_ours" "$url_theirs"; do
	curl -fsS --retry 50 --retry-connrefused --retry-delay 0 \
		--retry-max-time 20 -r 0-0 -o /dev/null "$url"
done

cat >"$dir/ranges.lua" <<LUA
local blocks = $size_mib
request = function()
	local first = math.random(0, blocks - 1) * 1048576
	return wrk.format("GET", nil, { ["Range"] = string.format(
		"bytes=%d-%d", first, first + 1048575) })
end
LUA

ranges() { # URL -> MiB/s
	wrk -t "$threads" -c "$connections" -d "${seconds}s" \
		-s "$dir/ranges.lua" "$1" |
		awk '/Non-2xx/ { bad = 1 } /^Requests\/sec/ { v = $2 }
			END { if (bad) exit 1; print v }'
}
whole() { # URL -> MiB/s of four curls at once
	local start=${EPOCHREALTIME/./} p list=()

	for p in 1 2 3 4; do
		curl -fsS -o /dev/null "$1" &
		list+=($!)
	done
	wait "${list[@]}"
	awk -v us="$((${EPOCHREALTIME/./} - start))" -v mib="$size_mib" \
		'BEGIN { print 4 * mib / (us / 1e6) }'
}

for ((i = 0; i < rounds; i++)); do
	for what in ranges whole; do
		"$what" "$url_ours" >>"$dir/$what.ours"
		"$what" "$url_theirs" >>"$dir/$what.theirs"
	done
done
for what in ranges whole; do
	awk -v what="$what" -v a="$(median <"$dir/$what.ours")" \
		-v b="$(median <"$dir/$what.theirs")" 'BEGIN {
		printf "%-7s origin %7.0f MiB/s  nginx %7.0f MiB/s  ratio %.2f\n",
			what, a, b, a / b }'
done
