# SPDX-License-Identifier: Apache-2.0
# The verbs of the cases. A case starts with
#
#	. "$(dirname "$0")/../../lib/common.sh"
#
# and owns from there on: $T, a folder that goes with it; what it starts with
# the verbs below; the mounts below $T. At its end, however it ends, mounts are
# taken down, processes ended by their pid, and the case fails if it left one
# behind, if a mount would not go, or if a sanitizer or a core spoke.
#
# Programs are taken from $STAGEFS_BUILD (default: build/release).

set -Eeuo pipefail

TESTS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TOP=$(dirname "$TESTS")
STAGEFS_BUILD=${STAGEFS_BUILD:-$TOP/build/release}
PATH=$STAGEFS_BUILD/fs:$STAGEFS_BUILD/origin:$PATH
ORIGIN_BIN=$STAGEFS_BUILD/origin/stagefs-origin
STAGEFS_BIN=$STAGEFS_BUILD/fs/stagefs
MOUNT_BIN=$STAGEFS_BUILD/fs/mount.stagefs
TOOLS=$STAGEFS_BUILD/tools	# of tests/tools/*.c
export LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1

[ "$(id -u)" = 0 ] || { echo "this case needs root"; exit 77; }

T=$(mktemp -d "${TMPDIR:-/tmp}/stagefs-case.XXXXXX")
STORE=$T/store
SANITIZER_LOG=$T/sanitizer
export ASAN_OPTIONS=log_path=$SANITIZER_LOG:detect_leaks=1:abort_on_error=0:exitcode=99
export UBSAN_OPTIONS=log_path=$SANITIZER_LOG:print_stacktrace=1
export TSAN_OPTIONS=log_path=$SANITIZER_LOG:exitcode=99:suppressions=$TESTS/lib/tsan.supp
ulimit -c 0
# How long a mount waits for the origin's first answer, which may take a while
# on a busy machine: without it names that a case expects are not there.
export STAGEFS_CONTACT_MS=60000
PIDS=()		# what we started ourselves, to be ended
ORIGIN_PID=
PORT=

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*"; }

fail()
{
	say "FAILED: $*" | tee -a "$T/why" >&2
	exit 1
}

# What is mounted below $T, deepest first.
mounts_below()
{
	awk -v t="$T/" 'index($5, t) == 1 { print $5 }' /proc/self/mountinfo |
		sort -r
}

# Every process whose executable is one of ours and whose command line names
# $T.
processes_left()
{
	local p
	for p in $(grep -laF -- "$T" /proc/[0-9]*/cmdline 2>/dev/null || :); do
		p=${p%/cmdline}
		case $(readlink "$p/exe" 2>/dev/null || :) in
		"$STAGEFS_BUILD"/* | "$T"/*) echo "${p#/proc/}" ;;
		esac
	done
	return 0
}

# drop_copies FOLDER: in a new namespace of mounts, those of other cases, whose
# workers they would keep alive. Not those below FOLDER.
drop_copies()
{
	local point
	awk -v t="$1/" '$5 ~ /\/stagefs-case\./ && index($5 "/", t) != 1 { print $5 }' \
		/proc/self/mountinfo | sort -r |
		while read -r point; do printf '%b\0' "$point"; done |
		xargs -0r umount -l || : # one may have gone meanwhile
}
# A case that runs in one.
parents_mounts=$(readlink "/proc/$PPID/ns/mnt" || :)
case $parents_mounts in
"" | "$(readlink /proc/self/ns/mnt)") ;;
*) drop_copies "$T" ;;
esac

case_end()
{
	local status=$? m p left
	trap - EXIT ERR INT TERM
	set +eE
	! declare -F at_end > /dev/null || at_end # the case's own
	for m in $(mounts_below); do
		if ! timeout 60 umount "$m" 2>> "$T/umount.err"; then
			timeout 60 umount -l "$m"
			case_left="$case_left mount:$m"
		fi
	done
	# Some may have been stopped.
	for p in "${PIDS[@]}"; do kill "$p" 2>/dev/null; kill -CONT "$p" 2>/dev/null; done
	for p in "${PIDS[@]}"; do
		timeout 30 tail -s 0.02 --pid="$p" -f /dev/null 2>/dev/null ||
			{ kill -9 "$p"; case_left="$case_left process:$p"; }
		wait "$p" 2>/dev/null
	done
	# Who begins a namespace has a copy of each mount in it for a moment,
	# on a loaded machine for seconds.
	for _ in $(seq 300); do
		left=$(processes_left)
		[ -z "$left" ] && break
		sleep 0.1
	done
	for p in $left; do
		case_left="$case_left process:$p:$(tr '\0' ' ' < "/proc/$p/cmdline")"
		kill -9 "$p"
	done
	if [ "$status" = 0 ] && [ -n "$case_left" ]; then
		say "FAILED: left behind:$case_left"
		cat "$T/umount.err" 2>/dev/null
		status=1
	fi
	compgen -G "$SANITIZER_LOG*" > /dev/null && status=1
	if [ "$status" != 0 ] && [ "$status" != 77 ]; then
		for p in "$T"/*.log; do
			[ -s "$p" ] && { echo "--- $(basename "$p")"; tail -n 40 "$p"; }
		done
		compgen -G "$SANITIZER_LOG*" > /dev/null && {
			say "FAILED: a sanitizer spoke:"
			head -n 80 "$SANITIZER_LOG"*
		}
		tail -n 5 "$T/why" 2>/dev/null # where one looks first
	fi
	mountpoint -q "$T" && umount "$T" # share.sh
	rm -rf "$T"
	exit $status
}
case_left=
trap case_end EXIT
trap 'echo "$0:$LINENO: $BASH_COMMAND: status $?" | tee -a "$T/why" >&2' ERR
trap 'exit 130' INT TERM

# ---- checks ---------------------------------------------------------------

# eventually SECONDS COMMAND...: until it succeeds. The time is a limit for a
# broken program, never a measurement: more than enough on a machine that does
# nothing else, and a loaded one gets four times as much, a minute at least.
# What stands in COMMAND's words is worked out once, before the first try.
eventually()
{
	local end=$((EPOCHSECONDS + ($1 > 15 ? 4 * $1 : 60)))
	shift
	until "$@" > "$T/eventually.log" 2>&1; do
		[ "$EPOCHSECONDS" -lt "$end" ] ||
			{ cat "$T/eventually.log" >&2; fail "never came true: $*"; }
		sleep 0.05
	done
}

# refused 'REGEX' COMMAND...: fails with exactly one line on stderr, which
# matches. Its exit status is in $status.
refused()
{
	local pattern=$1
	shift
	status=0
	"$@" > "$T/refused.out" 2> "$T/refused.err" || status=$?
	[ "$status" != 0 ] || fail "should have been refused: $*"
	[ "$status" -lt 99 ] || fail "status $status, crashed? $*: $(cat "$T/refused.err")"
	[ "$(wc -l < "$T/refused.err")" = 1 ] ||
		fail "not one line: $*: $(cat "$T/refused.err")"
	grep -Eq -- "$pattern" "$T/refused.err" ||
		fail "$*: said '$(cat "$T/refused.err")', expected /$pattern/"
}

equal() { [ "$1" = "$2" ] || fail "'$1' is not '$2' ${3:+($3)}"; }
sum() { sha256sum < "$1" | cut -c 1-64; }
same_bytes() { equal "$(sum "$1")" "$(sum "$2")" "$1 and $2 differ"; }

# prints REGEX COMMAND...: it succeeds, and a line of what it prints matches.
# (A pipe into grep -q ends a COMMAND that has more to say by SIGPIPE.)
prints()
{
	local pattern=$1 said
	shift
	said=$("$@") || return
	grep -Eq -- "$pattern" <<< "$said" ||
		{ echo "$*: no line matches /$pattern/: $said" >&2; return 1; }
}

# free_port: one that nobody else gets: below those that the kernel gives to
# whoever connects, and the next case's are others.
free_port()
{
	echo >> "$T/ports"
	/usr/bin/python3 - $(($$ * 8 + $(wc -l < "$T/ports"))) << 'END'
import socket, sys
for n in range(int(sys.argv[1]), int(sys.argv[1]) + 20000):
    port = 10000 + n % 20000
    try:
        socket.socket().bind(("127.0.0.1", port))
    except OSError:
        continue
    print(port)
    break
END
}

# random_file PATH BYTES SEED: reproducible, not compressible.
random_file()
{
	# A subshell without pipefail: openssl ends by SIGPIPE.
	(set +o pipefail
	openssl enc -aes-128-ctr -nosalt -pass "pass:$3" -pbkdf2 -iter 1 \
		-in /dev/zero 2>/dev/null | head -c "$2" > "$1")
}

# ---- the origin -----------------------------------------------------------

origin() { "$ORIGIN_BIN" -C "$STORE" "$@"; }

origin_start()
{
	[ -d "$STORE" ] || origin init > /dev/null
	PORT=${PORT:-$(free_port)}
	"$ORIGIN_BIN" -C "$STORE" serve --listen "127.0.0.1:$PORT" "$@" \
		>> "$T/origin.log" 2>&1 &
	ORIGIN_PID=$!
	PIDS+=("$ORIGIN_PID")
	URL=http://127.0.0.1:$PORT
	eventually 20 curl -fsS "$URL/healthz"
}

origin_stop()
{
	local p keep=()
	kill "${1:--TERM}" "$ORIGIN_PID"
	wait "$ORIGIN_PID" || :
	for p in "${PIDS[@]}"; do [ "$p" = "$ORIGIN_PID" ] || keep+=("$p"); done
	PIDS=("${keep[@]}")
	ORIGIN_PID=
}

# Bytes of images that left the origin since it started. It counts a moment
# after they left: asked until it says the same twice, if nobody reads on.
origin_sent()
{
	local n='' again
	for _ in 1 2 3 4 5; do
		again=$(curl -fsS "$URL/metrics" | awk '
			/^stagefs_origin_data_bytes_total/ { n += $2 }
			END { printf "%.0f\n", n }')
		[ "$n" != "$again" ] || break
		n=$again
		sleep 0.02
	done
	echo "$again"
}

# publish FILE NAME: `image add`, quietly.
publish() { origin image add "$1" --name "$2" > /dev/null 2>&1 || fail "cannot add $2"; }

# proxy_start: tests/tools/badorigin.py between the origin and those who mount
# from then on (through $MOUNT_URL). It can be told to lie, stall, slow down or
# go away: see its top.
proxy_start()
{
	/usr/bin/python3 "$TESTS/tools/badorigin.py" --upstream "$URL" \
		--port-file "$T/proxy.port" --control-file "$T/proxy.control" \
		>> "$T/proxy.log" 2>&1 &
	PIDS+=($!)
	eventually 10 test -s "$T/proxy.port"
	MOUNT_URL=http://127.0.0.1:$(cat "$T/proxy.port")
	PROXY_CONTROL=http://127.0.0.1:$(cat "$T/proxy.control")
}

# proxy VERB [JSON]: proxy _script '[{"fault": "stall", ...}]'; proxy _log
proxy()
{
	if [ $# = 1 ] && [[ $1 = _l* ]]; then
		curl -fsS "$PROXY_CONTROL/$1"
	else
		curl -fsS -X POST -d "${2:-}" "$PROXY_CONTROL/$1" > /dev/null
	fi
}

# ---- a production server --------------------------------------------------

# mount_fs NAME [OPTIONS]: at $T/NAME with cache $T/NAME.cache. More options
# override.
mount_fs()
{
	local name=$1 options=${2:-}
	mkdir -p "$T/$name"
	"$MOUNT_BIN" "${MOUNT_URL:-$URL}" "$T/$name" -o \
		"name=$name,cache=$T/$name.cache,capacity=1G,min-free=0,log=$T/$name.log,user=root${options:+,$options}"
}

# Whoever looks at all mounts of the machine keeps one busy for a moment.
umount_fs() { eventually 20 timeout 60 umount "$T/$1"; }

# end_fs NAME: the same, and waits until its processes have let the cache go.
# A case that makes a namespace (share.sh) may have a copy of the mount there
# for a moment: it is over when that is.
end_fs()
{
	"$STAGEFS_BIN" umount "$T/$1" 2> "$T/end.err" ||
		grep 'its processes are still at work' "$T/end.err" ||
		{ cat "$T/end.err" >&2; return 1; }
	eventually 60 test ! -e "$(socket_of "$1")"
}

# status_of NAME JQ: from `stagefs status --json`.
status_of() { "$STAGEFS_BIN" status --json "$T/$1" | jq -r "$2"; }

# worker_pid NAME, supervisor_pid NAME: of that mount; nothing if there is none.
worker_pid() { pgrep -f "^stagefs worker .*--mountpoint $T/$1 " || :; }
supervisor_pid() { pgrep -f "mount.stagefs [^ ]* $T/$1 -o" || :; }

# socket_of NAME: the control socket's path (stagefs(8), FILES).
socket_of()
{
	/usr/bin/python3 -c 'import sys
h = 0xcbf29ce484222325
for b in sys.argv[1].encode(): h = (h ^ b) * 0x100000001b3 % 2**64
print("/run/stagefs/%016x.sock" % h)' "$T/$1"
}

# xattr NAME IMAGE ATTRIBUTE: its value; "-" if there is none.
xattr()
{
	getfattr --absolute-names --only-values -n "user.stagefs.$3" "$T/$1/$2" 2>/dev/null || echo -
}

# sanitized: is this a build that takes more time and memory?
sanitized() { grep -q '^STAGEFS_SANITIZE:[^=]*=.' "$STAGEFS_BUILD/CMakeCache.txt"; }

# memory_bounded NAME: the worker never took 400 MiB.
memory_bounded()
{
	local kib
	kib=$(awk '$1 == "VmHWM:" { print $2 }' "/proc/$(worker_pid "$1")/status")
	sanitized || [ "$kib" -lt $((400 << 10)) ] || fail "the worker took $kib KiB"
}

# nothing_left: of the processes of mounts.
nothing_left() { [ -z "$(processes_left | grep -vx "${ORIGIN_PID:-0}")" ]; }

# quiet NAME: nothing is on its way from the origin.
quiet() { [ "$(status_of "$1" '.reads.streams + .fetch.in_flight + .fetch.waiting')" = 0 ]; }

# durable NAME IMAGE [HOW]: the index on disk, in a copy, says that some of it
# is stored; with "all", all of it.
durable()
{
	rm -rf "$T/index.copy"
	mkdir "$T/index.copy"
	cp "$T/$1.cache"/index.db* "$T/index.copy"
	[ -n "$(sqlite3 "$T/index.copy/index.db" "SELECT 1 FROM version
		WHERE name='$2' AND hex(bits) GLOB '*[1-9A-F]*'
		AND (complete_at > 0 OR '${3:-}' <> 'all')")" ]
}

# forget_pages: clean pages of all files leave memory.
forget_pages() { echo 1 > /proc/sys/vm/drop_caches; }

# has_image NAME IMAGE: it is in the mount's listing.
has_image() { [ -e "$T/$1/$2" ]; }

# image_is NAME IMAGE STATE
image_is() { [ "$(getfattr --absolute-names --only-values -n user.stagefs.state "$T/$1/$2")" = "$3" ]; }

# metric NAME FIGURE: "stagefs_FIGURE" of `stagefs status --metrics`.
metric() { "$STAGEFS_BIN" status --metrics "$T/$1" | awk -v f="stagefs_$2" '$1 == f { print $2 }'; }

# kill_worker NAME: kill -9; returns when its successor serves.
kill_worker()
{
	local old
	old=$(worker_pid "$1")
	# A thread that dies while the kernel copies a request to it: on x86 the
	# copy is made, user-mode-linux gives the reader EIO (it looks for signals
	# when it pins the page). Stopped, no thread is at that point.
	[ -z "${STAGEFS_IN_UML:-}" ] || { kill -STOP "$old"; sleep 0.3; }
	kill -9 "$old"
	eventually 30 worker_is_not "$1" "$old"
	eventually 30 status_of "$1" .name
}
worker_is_not() { [ -n "$(worker_pid "$1")" ] && [ "$(worker_pid "$1")" != "$2" ]; }
