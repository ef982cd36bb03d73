#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Names and files that are refused when they are published; and the same names
# signed by an origin that has lost its senses: the mount keeps what it had.
. "$(dirname "$0")/../../lib/common.sh"

origin init > /dev/null
random_file "$T/f" 200000 1
publish "$T/f" win11/base.wim
publish "$T/f" "Größe/Ärger.iso"
published() { origin image list --json; ls "$STORE/objects" "$STORE/manifests" "$STORE/incoming"; }
before=$(published)

# ---- names
# name STATUS 'REGEX' NAME
name()
{
	refused "$2" origin image add "$T/f" --name "$3"
	equal "$status" "$1" "$3"
}
long=$(printf '%0255d' 0)
# 128 characters of two bytes each.
wide=$(printf 'ä%.0s' {1..128})
name 2 "empty" ""
name 2 "'\.\.'" ..
name 2 "'\.\.'" ../x
name 2 "'\.\.'" a/../b
name 2 "'\.'" .
name 2 "'\.'" a/./b
name 2 "starts with '/'" /a
name 2 "." a/
name 2 "." a//b
name 2 "control" $'a\nb'
name 2 "control" $'a\tb'
name 2 "control" $'a\x7fb'
name 2 "control" $'a\xc2\x85b'
name 2 "control" $'a\xe2\x80\xa8b'
name 2 "UTF-8" $'a\xff'
name 2 "UTF-8" $'a\xc3'
name 2 "UTF-8" $'\xc0\xae\xc0\xae/x'
name 2 "UTF-8" $'\xed\xa0\x80'
name 2 "'.'|SMB|may not" 'a:b'
name 2 "'.'|SMB|may not" 'a\b'
name 2 "'.'|SMB|may not" 'a*'
name 2 "." 'a.'
name 2 "." 'a '
name 2 "255" "0$long"
name 2 "255" "$wide"
name 2 "1023|deep|long" "$long/$long/$long/$long/x"
name 2 "64|deep" "$(printf 'a/%.0s' {1..64})x"
name 1 "differs only in case from win11/base.wim" win11/BASE.wim
name 1 "differs only in case from win11" Win11/other.wim
name 1 "differs only in case from Größe/Ärger.iso" "Größe/ÄRGER.ISO"
name 1 "is a folder" win11
name 1 "is an image" win11/base.wim/x
equal "$(published)" "$before"
# The longest that there may be.
origin image add "$T/f" --name "$long" > /dev/null
origin image remove "$long" > /dev/null

# ---- files
file() { refused "$1" origin image add "$2" --name x; equal "$status" 1 "$2"; }
mkfifo "$T/pipe"
/usr/bin/python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$T/socket"
ln -s "$T" "$T/to-folder"
ln -s /dev/zero "$T/to-device"
ln -s nowhere "$T/dangling"
ln -s loop "$T/loop"
file "is a folder" "$T"
file "is a folder" "$T/to-folder"
file "is a device|not a file" /dev/null
file "is a device|not a file" "$T/to-device"
file "not a (plain |regular )?file|is a pipe" "$T/pipe"
file "not a (plain |regular )?file|is a socket|No such device" "$T/socket"
file "No such file" "$T/none"
file "No such file" "$T/dangling"
file "[Ss]ymbolic links" "$T/loop"
file "Not a directory" "$T/f/x"
file "does not say how large it is" /proc/version
file "changed while it was read" /sys/kernel/mm/transparent_hugepage/enabled
file "too long" "$T/$long$long"

# What is written to, cut, or changed in place while it is read.
random_file "$T/big" 40000000 2
# On a busy machine it may be read between two changes: once more.
noticed()
{
	origin image add "$T/big" --name x > "$T/out" 2> "$T/err" || return 0
	origin image remove x
	return 1
}
for change in 'os.pwrite(fd, b"x", os.fstat(fd).st_size)' \
	'os.truncate(fd, 30000000); os.truncate(fd, 40000000)' \
	'os.pwrite(fd, b"x", 0)'; do
	/usr/bin/python3 - "$T/big" "$change" "$T/changing" <<'PY' &
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
open(sys.argv[3], "w").close()
while True:
    exec(sys.argv[2])
PY
	pid=$!
	PIDS+=("$pid")
	eventually 20 test -e "$T/changing"
	eventually 20 noticed
	equal "$(wc -l < "$T/err")" 1
	grep -q "changed while it was read" "$T/err"
	kill "$pid"
	wait "$pid" || :
	rm "$T/changing"
done
equal "$(published)" "$before"

# ---- a signed catalog with names that no mount may show
origin_start
mount_fs m
listing=$(cd "$T/m" && find . | sort)
n=0
# show PARENT NAME: as a row of the database, behind the program's back.
show()
{
	n=$((n + 1))
	sqlite3 -cmd '.timeout 10000' "$STORE/origin.db" "BEGIN IMMEDIATE;
		INSERT INTO node(parent,name,fold,is_dir,mtime_s,size,block_bytes,
			digest,added_s,revision)
		SELECT $1, $2, 'fold$n', 0, 1, size, block_bytes, digest, 1,
			(SELECT max(revision) FROM node) + $n
		FROM node WHERE digest IS NOT NULL LIMIT 1; COMMIT"
}
unshow() { sqlite3 -cmd '.timeout 10000' "$STORE/origin.db" "DELETE FROM node WHERE fold='fold$n'"; }
refusals() { status_of m .agent.catalog_refused; }
more() { [ "$(refusals)" -gt "$1" ]; }
for bad in "'..'" "'.'" "''" "'a/b'" "'/etc'" "'a' || char(10) || 'b'" \
	"CAST(x'61ff' AS TEXT)" "'$long$long'"; do
	had=$(refusals)
	show 1 "$bad"
	# A catalog that the origin itself cannot write is no answer at all.
	# shellcheck disable=SC2016
	eventually 20 bash -c '[ "$("$1" status --json "$2" | jq ".agent.catalog_refused + ([.sources[].failures] | add)")" -gt "$3" ]' \
		_ "$STAGEFS_BIN" "$T/m" "$had"
	equal "$(cd "$T/m" && find . | sort)" "$listing" "$bad"
	unshow
done
# In a folder that is none, and twice.
for parent in 99 3; do
	had=$(refusals)
	show $parent "'x'"
	eventually 20 more "$had"
	unshow
done
had=$(refusals)
show 1 "'win11'"
eventually 20 more "$had"
equal "$(cd "$T/m" && find . | sort)" "$listing"
same_bytes "$T/f" "$T/m/win11/base.wim"
unshow
# ... and it goes on when the origin has come to its senses. (It may have kept
# what it answered for the revisions that we took back.)
origin_stop
origin_start
publish "$T/f" good
eventually 30 has_image m good
umount_fs m
eventually 10 grep -q 'catalog refused' "$T/m.log"
