#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the daemon refuses to start with, one line each.
. "$(dirname "$0")/../../lib/common.sh"

origin init > /dev/null
serve() { timeout 120 "$ORIGIN_BIN" -C "$STORE" serve "$@"; }

refused "no address to listen on.*0.0.0.0:8420" serve --listen 127.0.0.1
refused "no address to listen on" serve --listen 127.0.0.1:99999
refused "no address to listen on" serve --listen ::1:8420
refused "no address to listen on" serve --listen "[::1:8420"
refused "cannot listen on no-such-host.invalid:1" serve --listen no-such-host.invalid:1
refused "no network interface 'nosuch0'" serve --link nosuch0=1G/s --listen 127.0.0.1:0
refused "IF=RATE" serve --link 10G/s
refused "link" serve --link lo=fast
refused "link: .0. is not a rate" serve --link lo=0
refused "no interface carries" serve --link lo=unlimited
refused "prefetch-rate" serve --prefetch-rate "25:00 1M/s"
refused "demand-rate" serve --demand-rate 5x
refused "lead" serve --lead soon
refused "lead: '400d' is not between 0d and 366d" serve --lead 400d
refused "history: '1h' is not between 1d and 3660d" serve --history 1h
refused "margin" serve --margin much
refused "threads.*number" serve --threads 0
refused "threads" serve --threads many
refused "nonsense" serve --nonsense
equal "$status" 2
refused "not a store" "$ORIGIN_BIN" -C "$T/nothing" serve

# A second daemon on one store, a port that is taken.
origin_start
refused "serve" serve --listen 127.0.0.1:0
first=$PORT
"$ORIGIN_BIN" -C "$T/other" init > /dev/null
refused "cannot listen on 127.0.0.1:$first: another program does" \
	"$ORIGIN_BIN" -C "$T/other" serve --listen "127.0.0.1:$first"

# What it was started with is kept for `plan check`; what is not given is not.
setting() { sqlite3 "$STORE/origin.db" "SELECT value FROM setting WHERE name='$1'"; }
origin_stop
origin_start --prefetch-rate "08:00 200M/s, 20:00 none" --link lo=10G/s --lead 6h
kept() { [ "$(setting prefetch_rate)|$(setting link)|$(setting lead)" = "$1" ]; }
eventually 10 kept "08:00 200M/s, 20:00 none|10G/s|6h"
origin_stop
origin_start
eventually 10 kept "||"

# Its terminal is closed: an end like any other.
origin_stop -HUP
eventually 10 grep -q 'SIGHUP: ending' "$T/origin.log"
origin_start

# It tells its service manager when it is ready.
origin_stop
/usr/bin/python3 - "$T/notify" "$ORIGIN_BIN" "$STORE" <<'PY'
import os, signal, socket, subprocess, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(20)
p = subprocess.Popen([sys.argv[2], "-C", sys.argv[3], "serve", "--listen", "127.0.0.1:0"],
                     env=dict(os.environ, NOTIFY_SOCKET=sys.argv[1]), stderr=subprocess.DEVNULL)
assert s.recv(100) == b"READY=1"
p.send_signal(signal.SIGINT)
assert s.recv(100) == b"STOPPING=1"
assert p.wait(20) == 0
PY

# Two addresses, IPv6 among them, if this machine has it.
if [ -e /proc/net/if_inet6 ] && grep -q '^0*1 ' /proc/net/if_inet6; then
	PORT=$(free_port)
	origin_start --listen "127.0.0.1:$PORT,[::1]:$PORT"
	equal "$(curl -fsS -g "http://[::1]:$PORT/healthz")" ok
fi
