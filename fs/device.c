/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device.c - makes the kernel give the mount the device number that was asked
 * for.
 *
 * A file system without a disk gets the lowest number that is free
 * (fs/super.c, get_anon_bdev), so which one depends on what was mounted
 * before, and a mount made anew may get another one. NFS-Ganesha puts it into
 * its handles (f_fsid, which it would prefer, is 0 for FUSE): with another
 * number, what stations have open is stale. So whatever is free below the
 * wanted one is taken by empty file systems that are mounted nowhere, for the
 * moment until the mount is made. 300 of them take 15 ms.
 *
 * It is an offer, not a reservation: who mounts anything in that moment takes
 * the number, so it is looked at afterwards, and the user is told. For a
 * reservation the supervisor would have to make the superblock with fsopen(2)
 * here and move_mount(2) it later.
 *
 * Rejected: "fuseblk" with a loop device, which would bring its own number;
 * that is not ours to choose either. Rejected: to look for the right number in
 * Ganesha's configuration; there is none.
 */
#include "fs/device.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* An empty file system, with the lowest number that was free. -1: none. */
static int take_lowest(void)
{
	int context = fsopen("tmpfs", FSOPEN_CLOEXEC), fd = -1;

	if (context < 0)
		return -1;
	if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		fd = fsmount(context, FSMOUNT_CLOEXEC, 0);
	close(context);
	return fd;
}

void device_offer(unsigned minor)
{
	struct stat st;
	int fd;

	while ((fd = take_lowest()) >= 0 && fstat(fd, &st) == 0 &&
	       minor(st.st_dev) < minor)
		; /* stays open */
	if (fd >= 0)
		close(fd);
}

unsigned device_minor(const char *point)
{
	struct statx x = {0};

	statx(AT_FDCWD, point,
	      AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
	      STATX_TYPE, &x);
	return x.stx_dev_minor;
}
