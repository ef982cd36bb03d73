# SPDX-License-Identifier: Apache-2.0
# Runs the rest of a case under another kernel. After common.sh:
#
#	. "$(dirname "$0")/../../lib/common.sh"
#	. "$TESTS/lib/uml.sh"
#
# The kernel is Debian's user-mode-linux (6.1): a process without rights over
# this machine, with nfsd and NFS clients, which the kernel here may not have.
# Its root is this machine's, read-only, with an overlay in memory; / itself
# and /mnt, where the case has its folder, are file systems in memory, which
# can be exported. Its only network is lo. What the case prints and its exit
# status come out through a folder of this machine.

UML_LIMIT_S=${UML_LIMIT_S:-280}
UML_MODULES=/usr/lib/uml/modules

# Its first process. /proc and the like are not those of this machine.
uml_init() # CASE'S FOLDER, CASE
{
	local root=/mnt/root e
	export PATH=/usr/sbin:/usr/bin:/sbin:/bin
	mount -t proc proc /proc
	mount -t tmpfs tmpfs /mnt
	mkdir -p /mnt/lib /mnt/upper /mnt/work /mnt/all $root
	ln -s $UML_MODULES /mnt/lib/modules
	modprobe -d /mnt -a overlay fuse
	mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work \
		overlay /mnt/all
	mount -t tmpfs -o mode=755 tmpfs $root
	for e in /mnt/all/*; do
		if [ -L "$e" ]; then
			cp -P "$e" $root
		elif [ -d "$e" ]; then
			mkdir "$root/${e##*/}"
			mount --bind "$e" "$root/${e##*/}"
		fi
	done
	mount -t proc proc $root/proc
	mount -t sysfs sysfs $root/sys
	mount -t devtmpfs dev $root/dev
	ln -s /proc/self/fd $root/dev/fd
	for e in run mnt var/lib/nfs; do mount -t tmpfs tmpfs $root/$e; done
	mkdir -p $root/usr/lib/modules
	mount --bind $UML_MODULES $root/usr/lib/modules
	mount -t hostfs -o "$1/out" none "$root$1/out"
	ip link set lo up
	TMPDIR=/mnt STAGEFS_IN_UML=1 chroot $root \
		bash $UML_BASH "$2" > "$root$1/out/log" 2>&1
	echo $? > "$root$1/out/status"
	# reboot(2), power off: there may be no program for it.
	perl -e 'syscall 169, 0xfee1dead, 672274793, 0x4321fedc, 0'
}

uml_boot()
{
	[ -x /usr/bin/linux.uml ] && [ -d $UML_MODULES ] ||
		{ echo "user-mode-linux is not installed"; exit 77; }
	command -v modprobe > /dev/null || { echo "kmod is not installed"; exit 77; }
	! sanitized || { echo "not with a sanitizer: it is slow enough"; exit 77; }
	mkdir "$T/out"
	cat > "$T/init" <<- END
	#!/bin/bash
	export STAGEFS_BUILD='$STAGEFS_BUILD'
	UML_MODULES=$UML_MODULES
	UML_BASH=${UML_BASH:-} # -x
	$(declare -f uml_init)
	uml_init '$T' '$(realpath "$0")'
	END
	chmod +x "$T/init"
	# It is many processes, of which none outlives the first.
	LD_PRELOAD=$TOOLS/umlregs.so setpriv --pdeathsig KILL \
		unshare --pid --fork --kill-child \
		linux.uml mem=2G root=/dev/root rootfstype=hostfs rootflags=/ ro \
		init="$T/init" con=null con0=null,fd:1 uml_dir="$T/" umid=uml \
		quiet < /dev/null > "$T/console.log" 2>&1 &
	PIDS+=($!)
	timeout "$UML_LIMIT_S" tail --pid=$! -f /dev/null || kill -9 $!
	wait $! || :
	cat "$T/out/log" || fail "it did not start"
	[ -s "$T/out/status" ] || fail "no end within $UML_LIMIT_S s"
	exit "$(cat "$T/out/status")"
}

[ -n "${STAGEFS_IN_UML:-}" ] || uml_boot
