#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Locks are the kernel's own, as on a local disk that nobody can write to:
# Samba and Ganesha, which try them, find nothing that is special; nobody who
# reads is kept from it; they outlive the worker, and hold nothing up. On an
# image that the worker serves and on one that the kernel reads by itself.
. "$(dirname "$0")/../../lib/common.sh"

random_file "$T/a" 3000000 a
origin_start
publish "$T/a" a
cat > "$T/locks.py" <<'END'
import errno, fcntl, os, struct, sys

path, ready, go = sys.argv[1:]
OFD_GETLK, OFD_SETLK = 36, 37


def wrong(what):
    sys.exit("locks: " + what)


def fails(error, call, *args):
    try:
        call(*args)
    except OSError as e:
        if e.errno == error:
            return
        wrong(f"{args[1:]}: {errno.errorcode[e.errno]}")
    wrong(f"{args[1:]}: done")


def flock(kind, start, n):
    return struct.pack("=hhxxxxqqixxxx", kind, os.SEEK_SET, start, n, 0)


def kind_of(reply):
    return struct.unpack_from("=h", reply)[0]


a, b = (os.open(path, os.O_RDONLY) for _ in range(2))
# Whole files: shared ones meet, an exclusive one is alone.
fcntl.flock(a, fcntl.LOCK_SH | fcntl.LOCK_NB)
fcntl.flock(b, fcntl.LOCK_SH | fcntl.LOCK_NB)
fails(errno.EWOULDBLOCK, fcntl.flock, a, fcntl.LOCK_EX | fcntl.LOCK_NB)
fcntl.flock(b, fcntl.LOCK_UN)
fcntl.flock(a, fcntl.LOCK_EX | fcntl.LOCK_NB)
fails(errno.EWOULDBLOCK, fcntl.flock, b, fcntl.LOCK_SH | fcntl.LOCK_NB)
# Ranges, of processes (Samba) and of open files (Ganesha): to read only.
for set_ in fcntl.F_SETLK, OFD_SETLK:
    fcntl.fcntl(a, set_, flock(fcntl.F_RDLCK, 1000, 5000))
    fails(errno.EBADF, fcntl.fcntl, a, set_, flock(fcntl.F_WRLCK, 0, 10))
    fcntl.fcntl(b, set_, flock(fcntl.F_RDLCK, 0, 0))
if kind_of(fcntl.fcntl(b, OFD_GETLK, flock(fcntl.F_WRLCK, 2000, 10))) != fcntl.F_RDLCK:
    wrong("the other one's lock is not seen")
if kind_of(fcntl.fcntl(b, OFD_GETLK, flock(fcntl.F_RDLCK, 2000, 10))) != fcntl.F_UNLCK:
    wrong("a lock to read is in the way of another")
open(ready, "w").close()
with open(go) as f:
    f.read()
fails(errno.EWOULDBLOCK, fcntl.flock, b, fcntl.LOCK_SH | fcntl.LOCK_NB)
if kind_of(fcntl.fcntl(b, OFD_GETLK, flock(fcntl.F_WRLCK, 2000, 10))) != fcntl.F_RDLCK:
    wrong("a lock is gone")
END
closed() { [ "$(metric m open_images)" = 0 ]; }

for mode in off on; do
	mount_fs m passthrough=$mode
	same_bytes "$T/a" "$T/m/a"
	eventually 10 image_is m a complete
	eventually 20 closed
	rm -f "$T/ready" "$T/go"
	mkfifo "$T/go"
	/usr/bin/python3 "$T/locks.py" "$T/m/a" "$T/ready" "$T/go" &
	locker=$!
	PIDS+=($locker)
	exec 9<> "$T/go"
	eventually 20 test -e "$T/ready"
	same_bytes "$T/a" "$T/m/a"
	! flock -n "$T/m/a" true || fail "two exclusive locks"
	kill_worker m
	"$STAGEFS_BIN" upgrade "$T/m" > "$T/upgrade.out"
	forget_pages
	same_bytes "$T/a" "$T/m/a"
	echo > "$T/go"
	exec 9>&-
	wait $locker || fail "passthrough=$mode"
	# Who ends has no lock any more.
	flock -n "$T/m/a" true
	eventually 20 closed
	"$STAGEFS_BIN" evict "$T/m" a > /dev/null
	end_fs m
done
