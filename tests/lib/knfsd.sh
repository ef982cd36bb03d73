# SPDX-License-Identifier: Apache-2.0
# The kernel's NFS server and clients, within uml.sh (after it): with the files
# of packaging/share; only the path /images is replaced by that of the mount.

# knfsd_start MOUNT: exports the mount $T/MOUNT.
knfsd_start()
{
	EXPORTED=$T/$1
	trap knfsd_case_end EXIT
	mkdir -p /run/rpcbind /etc/exports.d /etc/nfs.conf.d \
		/var/lib/nfs/v4recovery /var/lib/nfs/rpc_pipefs
	touch /var/lib/nfs/etab /var/lib/nfs/rmtab
	sed "s,^/images\b,$EXPORTED," "$TOP/packaging/share/exports" \
		> /etc/exports.d/stagefs.exports
	cp "$TOP/packaging/share/nfs.conf" /etc/nfs.conf.d/stagefs.conf
	sysctl -qp "$TOP/packaging/share/sysctl.conf"
	exportfs -r
	if ! mountpoint -q /proc/fs/nfsd; then
		modprobe -a nfsd nfsv3 nfsv4
		mount -t nfsd nfsd /proc/fs/nfsd
		rpcbind -w
		rpc.mountd 2> /dev/null # there is no udp6
	fi
	rpc.nfsd
	# No client was there before that could want its locks back.
	echo Y > /proc/fs/nfsd/v4_end_grace
}

# knfsd_stop: the server ends and lets go of the mount.
knfsd_stop()
{
	rpc.nfsd 0
	exportfs -au
	exportfs -f
}

# station NAME VERSION [OPTIONS]: a client's mount at $T/NAME.
station()
{
	local options=vers=$2
	[ "$2" != 3 ] || options+=,nolock
	mkdir -p "$T/$1"
	mount -t nfs -o "ro,nosharecache,$options${3:+,$3}" \
		"127.0.0.1:$EXPORTED" "$T/$1"
}

# A case that fails leaves nothing mounted that waits for another.
knfsd_case_end()
{
	local status=$? m
	set +eE
	# A file that is open over v4 is closed by asking the server.
	for m in /proc/$BASHPID/fd/*; do
		m=${m##*/}
		[ "$m" -le 2 ] || [ "$m" = 255 ] || eval "exec $m<&-"
	done
	for m in $(awk '$3 ~ /^nfs4?$/ { print $2 }' /proc/mounts); do
		umount -f "$m" 2> /dev/null || umount -l "$m"
	done 2> /dev/null
	knfsd_stop
	(exit $status)
	case_end
}
