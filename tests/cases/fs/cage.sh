#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The worker's cage (fs/cage.c) as /proc shows it, in every thread; and what can
# be done in it, tried by tests/tools/caged.c, which enters the same one.
. "$(dirname "$0")/../../lib/common.sh"

chmod 755 "$T"
random_file "$T/a" 3000000 a
origin_start
publish "$T/a" a

# ---- the worker ----
of() { awk -v f="$2:" '$1 == f { print $2 }' "$1"; }
check_status()
{
	local t set
	for t in /proc/"$1"/task/*/status; do
		for set in CapInh CapPrm CapEff CapBnd CapAmb; do
			equal "$(of "$t" $set)" 0000000000000000 "$set of $t"
		done
		equal "$(of "$t" NoNewPrivs)" 1 "$t"
		sanitized || equal "$(of "$t" Seccomp)" 2 "$t"
	done
}
mount_fs m user=nobody
same_bytes "$T/a" "$T/m/a"
check_status "$(worker_pid m)"
equal "$(of "/proc/$(worker_pid m)/status" Uid)" "$(id -u nobody)"
eventually 10 grep -q 'worker: caged: user nobody, no capabilities' "$T/m.log"
kill_worker m
same_bytes "$T/a" "$T/m/a"
check_status "$(worker_pid m)"
# Root stays root, and has nothing of it.
mount_fs r user=root
same_bytes "$T/a" "$T/r/a"
check_status "$(worker_pid r)"
equal "$(of "/proc/$(worker_pid r)/status" Uid)" 0

# A mount point that the worker could reach is refused, by whatever path.
mkdir -p "$T/x.cache/below" "$T/bound"
ln -s x.cache "$T/link"
mount --bind "$T/x.cache" "$T/bound"
for point in x.cache/below link/below bound/below; do
	refused 'its own worker' "$MOUNT_BIN" "$URL" "$T/$point" -o "cache=$T/x.cache"
done
umount "$T/bound"
refused 'lies below /etc' "$MOUNT_BIN" "$URL" /etc/ssl -o "cache=$T/x.cache"

# ---- in the cage ----
if sanitized; then
	umount_fs m
	umount_fs r
	exit 0
fi
landlock=$("$TOOLS/caged" nobody "$T/m.cache" stands | grep -o 'Landlock [0-9]*' | cut -d ' ' -f 2)
# try USER EXPECTED ACTION [PATH]; "killed" is SIGSYS.
try()
{
	local user=$1 expected=$2 got
	shift 2
	got=$("$TOOLS/caged" "$user" "$T/$CACHE" "$@" 2> "$T/caged.err") || {
		[ $? = 159 ] && got=killed || got="status $? $(cat "$T/caged.err")"
	}
	equal "$got" "$expected" "$user: $*"
}
CACHE=m.cache
for user in nobody root; do
	say "user $user, Landlock $landlock"
	for action in exec exec-thread ptrace memory mount namespace setuid module keys listen; do
		try $user killed $action
	done
	try $user killed umount "$T/m"
	for action in fork clone3 packet vsock uring linger kill; do
		try $user ENOSYS $action
	done
	try $user EPERM capability
	for action in thread netlink; do try $user ok $action; done
	try $user ok resolve localhost
	# As a name server may be written in /etc/resolv.conf.
	try $user ok resolve fe80::1%lo
	# Seeds of hash tables: without it they are the time.
	try $user ok read /dev/urandom
	status=0
	"$TOOLS/caged" $user "$T/$CACHE" abort 2> "$T/caged.err" || status=$?
	equal $status $((128 + 6)) "abort(3)"
	try $user ok read /etc/hosts
	try $user ok list /proc/self/task
done
[ "$landlock" != 0 ] || exit 0

# Writes: below the cache, and nowhere else.
echo text > "$T/world"
chmod 666 "$T/world"
mkdir -m 777 "$T/open"
for user in nobody root; do
	CACHE=$user.own
	mkdir "$T/$CACHE"
	chown "$user" "$T/$CACHE"
	try $user ok create "$T/$CACHE/new"
	try $user ok write "$T/$CACHE/new"
	try $user ok remove "$T/$CACHE/new"
	try $user ENOSYS symlink "$T/$CACHE/link"
	for action in write read; do try $user EACCES $action "$T/world"; done
	try $user EACCES create "$T/open/new"
	# A prefix of its name is no folder above it.
	mkdir -m 777 "$T/$CACHE.not"
	try $user EACCES create "$T/$CACHE.not/new"
	try $user EACCES list "$T"
	try $user EACCES list /
	try $user EACCES read "/proc/self/maps"
	try $user EACCES read "/proc/sys/kernel/ostype"
	try $user EACCES write "/dev/null"
	[ "$landlock" -lt 3 ] || try $user EACCES truncate "$T/world"
	[ "$landlock" -lt 4 ] || try $user EACCES bind
done
equal "$(cat "$T/world")" text
try nobody EACCES read /etc/shadow

# No way to its own mount: by its path, through a bind mount, in any user.
mkdir "$T/bound2"
mount --bind "$T/m" "$T/bound2"
CACHE=m.cache
for user in nobody root; do
	for top in m bound2; do
		try $user EACCES read "$T/$top/a"
		try $user EACCES list "$T/$top"
	done
	try $user EACCES read "/proc/$$/root$T/m/a"
done
same_bytes "$T/a" "$T/bound2/a"
umount "$T/bound2"

if [ "$landlock" -ge 6 ]; then
	python3 - "$T/ready" "stagefs-test-$$" <<-'END' &
	import socket, sys, time
	s = socket.socket(socket.AF_UNIX)
	s.bind('\0' + sys.argv[2])
	s.listen()
	open(sys.argv[1], 'w').close()
	time.sleep(60)
	END
	PIDS+=($!)
	eventually 10 test -e "$T/ready"
	try root EPERM abstract "stagefs-test-$$"
fi
umount_fs m
umount_fs r
