# SPDX-License-Identifier: Apache-2.0
# The verbs of cases with NFS and SMB servers, after common.sh:
#
#	. "$(dirname "$0")/../../lib/common.sh"
#	. "$TESTS/lib/share.sh"
#
# The servers run in a network of their own, with their usual ports, and with
# the files of packaging/share; only the path /images is replaced by that of
# the case's mount. /run and the servers' folders of state are empty there.

for program in ganesha.nfsd rpcbind smbd smbclient nfs-cat nfs-ls; do
	command -v $program > /dev/null ||
		{ echo "$program is not installed"; exit 77; }
done
[ -x "$TOOLS/netread" ] || { echo "netread was not built"; exit 77; }

SHARE_CONF=$TOP/packaging/share
SHARE_PID=
# What is mounted and unmounted below $T is so for the servers too.
mount --bind "$T" "$T"
mount --make-private "$T"
mount --make-shared "$T"

# Runs as the first process in there.
share_inside() # CASE'S FOLDER
{
	local d
	drop_copies "$1"
	ip link set lo up
	for d in /run /var/lib/nfs /var/lib/samba /var/cache/samba \
		/var/log/samba /var/log/ganesha; do
		[ ! -d $d ] || mount -t tmpfs -o mode=755 tmpfs $d
	done
	mkdir -p /run/rpcbind /run/samba /run/ganesha /var/lib/nfs/ganesha \
		/var/lib/samba/private
	touch "$1/share.there"
	exec sleep infinity
}

# share_start MOUNT: the network, for a mount at $T/MOUNT that is there.
share_start()
{
	SHARED=$T/$1
	chmod 711 "$T" # guests are nobody
	unshare --net --mount --propagation slave \
		bash -c "$(declare -f drop_copies share_inside); share_inside '$T'" &
	SHARE_PID=$!
	PIDS+=("$SHARE_PID")
	eventually 10 test -e "$T/share.there"
}

# share_images: an origin with $T/a as win11/base.wim, $T/b as boot.iso and a
# larger $T/far as far, mounted at $T/m, and the network for that.
share_images()
{
	random_file "$T/a" 30000000 a
	random_file "$T/b" 20000000 b
	random_file "$T/far" 200000000 far
	origin_start
	publish "$T/a" win11/base.wim
	publish "$T/b" boot.iso
	publish "$T/far" far
	mount_fs m
	share_start m
}

# end_server NAME: of one begun with in_share_bg.
end_server()
{
	local pid=${1^^}_PID
	kill "${!pid}"
	wait "${!pid}" || :
}

# share_end: the servers let the mount go.
share_end()
{
	local name pid
	for name in ganesha smbd; do
		pid=${name^^}_PID
		[ -z "${!pid:-}" ] || end_server $name
	done
}

# in_share COMMAND...: as a station would, and as the servers do.
in_share() { nsenter --net --mount --target "$SHARE_PID" -- "$@"; }

# in_share_bg NAME COMMAND...: a daemon; its pid in the variable NAME_PID.
in_share_bg()
{
	local name=$1
	shift
	nsenter --net --mount --target "$SHARE_PID" -- "$@" \
		>> "$T/$name.log" 2>&1 &
	PIDS+=($!)
	declare -g "${name^^}_PID=$!"
}

listening() { [ -n "$(in_share ss -Hltn "sport = :$1")" ]; }

# share_file NAME: from packaging/share, with the path of the mount.
share_file() { sed "s,\(=[[:space:]]*\|^\)/images\b,\1$SHARED," "$SHARE_CONF/$1"; }

# ganesha_start: NFS v3, v4 at 127.0.0.1:/images.
ganesha_start()
{
	in_share_bg rpcbind rpcbind -f -w
	eventually 10 listening 111
	share_file ganesha.conf | sed "s,Pseudo = $SHARED,Pseudo = /images," \
		> "$T/ganesha.conf"
	in_share_bg ganesha ganesha.nfsd -F -f "$T/ganesha.conf" \
		-L "$T/ganesha.out" -p "$T/ganesha.pid" -N CRIT
	eventually 30 listening 2049
}

# samba_start: SMB at //127.0.0.1/images, for guests.
samba_start()
{
	share_file smb.conf > "$T/stagefs.conf"
	cat > "$T/smb.conf" <<- END
	[global]
		map to guest = Bad User
		disable netbios = yes
		load printers = no
		log file = $T/samba.log
		include = $T/stagefs.conf
	END
	in_share_bg smbd smbd -F --debug-stdout -d 1 \
		-s "$T/smb.conf"
	eventually 30 listening 445
}

# nfs_url IMAGE [VERSION]
nfs_url() { echo "nfs://127.0.0.1/images/$1?version=${2:-4}"; }
smb_url() { echo "smb://127.0.0.1/images/$1"; }

# The image's bytes on stdout, read from front to back.
nfs_read() { in_share nfs-cat "$(nfs_url "$@")"; }
smb() { in_share smbclient //127.0.0.1/images -N -s "$T/smb.conf" -c "$1"; }
smb_read() { smb "get $1 /dev/stdout" 2> /dev/null; }

# netread ARGUMENTS: tests/tools/netread.c, quietly while all is well.
netread()
{
	in_share "$TOOLS/netread" "$@" > "$T/netread.out" ||
		fail "netread $*: $(cat "$T/netread.out")"
}

# info_is URL LOCAL-FILE ERROR: a station sees the same size, the same space, and
# over NFS the same blocks and inode number, as this machine; whatever it wants
# to change it gets ERROR. What is free changes a little as the index is written.
info_is() { eventually 10 info_same "$@"; }
info_same()
{
	local verb
	in_share "$TOOLS/netinfo" "$1" > "$T/netinfo.out" || return
	{
		stat -c 'size %s' "$2"
		[[ $1 = smb:* ]] || stat -c '%b %i' "$2" | awk '{
			printf "pages %d\nino %d\n", ($1 + 7) / 8, $2 }'
		stat -f -c '%b %f %S' "$2" | awk '{
			printf "bytes %d\nfree %d\n", $1 * $3, $2 * $3 }'
		for verb in create mkdir unlink rename truncate chmod; do
			echo "$verb $3"
		done
	} | diff - "$T/netinfo.out"
}
