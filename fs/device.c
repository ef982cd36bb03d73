/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device.c - makes the mount with the device number that was asked for.
 *
 * A file system without a disk gets the lowest number that is free
 * (fs/super.c, get_anon_bdev), so which one depends on what was mounted
 * before, and a mount made anew may get another one. NFS-Ganesha puts it into
 * its handles (f_fsid, which it would prefer, is 0 for FUSE): with another
 * number, what stations have open is stale. So whatever is free below the
 * wanted one is taken by empty file systems that are mounted nowhere, for the
 * moment until ours is made. 300 of them take 15 ms.
 *
 * Somebody else may mount or unmount in that moment. So ours too is made
 * without a place (fsopen(2)) and looked at; one with another number is let go
 * and made again, and only the right one gets a place (move_mount(2)). It has
 * its number from its beginning, so there is nothing in between.
 *
 * This is why such a mount is made here and not by the supervisor, which
 * would have to know all this. It is the first thing that it has to hold, as
 * after an upgrade.
 *
 * Rejected: "fuseblk" with a loop device, which would bring its own number;
 * that is not ours to choose either. Rejected: to look for the right number in
 * Ganesha's configuration; there is none.
 */
#include "fs/device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "fs/supervisor/wire.h"

#define TRIES_MAX 50 /* for a second: it may be on its way out */
#define AGAIN_NS 20000000

/* An empty file system, with the lowest number that was free. -1: none. */
static int take_lowest(void)
{
	CLEAN_FD int context = fsopen("tmpfs", FSOPEN_CLOEXEC);

	if (context < 0 ||
	    fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -1;
	return fsmount(context, FSMOUNT_CLOEXEC, 0);
}

/* From here to the end of this process no lower number is free, but those
 * that others give back. */
static void take_lower(unsigned minor)
{
	struct stat st;
	int fd;

	while ((fd = take_lowest()) >= 0 && fstat(fd, &st) == 0 &&
	       minor(st.st_dev) < minor)
		; /* stays open */
	if (fd >= 0)
		close(fd);
}

static bool set(int context, const char *key, const char *value)
{
	unsigned how = value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;

	return fsconfig(context, how, key, value, 0) == 0;
}

/* A mount without a place, or -1 and errno. As mount_make() of the supervisor
 * has it. */
static int make(const char *source, int fuse_fd)
{
	CLEAN_FD int context = fsopen("fuse", FSOPEN_CLOEXEC);
	char fd[16], max_read[16];

	snprintf(fd, sizeof(fd), "%d", fuse_fd);
	snprintf(max_read, sizeof(max_read), "%u", SUPERVISOR_MAX_READ_BYTES);
	if (context < 0 || !set(context, "source", source) ||
	    !set(context, "subtype", "stagefs") || !set(context, "fd", fd) ||
	    !set(context, "rootmode", "40000") ||
	    !set(context, "user_id", "0") || !set(context, "group_id", "0") ||
	    !set(context, "allow_other", NULL) ||
	    !set(context, "default_permissions", NULL) ||
	    !set(context, "max_read", max_read) || !set(context, "ro", NULL) ||
	    fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -1;
	return fsmount(context, FSMOUNT_CLOEXEC,
		       MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
			       MOUNT_ATTR_NODEV);
}

/* The one before goes with its mount. */
static bool open_fuse(int fuse_fd)
{
	CLEAN_FD int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	return fd >= 0 && dup2(fd, fuse_fd) >= 0;
}

static unsigned minor_of(int fd)
{
	struct statx x = {0};

	statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &x);
	return x.stx_dev_minor;
}

int device_mount(const char *source, const char *point, unsigned minor,
		 int fuse_fd, unsigned *ret, struct err *e)
{
	const struct timespec again = {.tv_nsec = AGAIN_NS};

	for (int tries = 1;; tries++) {
		CLEAN_FD int fd = -1;

		take_lower(minor);
		fd = make(source, fuse_fd);
		if (fd < 0)
			return err_set(e, errno, "cannot mount at %s: %s",
				       point, strerror(errno));
		if (minor_of(fd) != minor && tries < TRIES_MAX) {
			nanosleep(&again, NULL);
			close(TAKE_FD(fd));
			if (open_fuse(fuse_fd))
				continue;
			return err_set(e, errno, "/dev/fuse: %s",
				       strerror(errno));
		}
		if (move_mount(fd, "", AT_FDCWD, point,
			       MOVE_MOUNT_F_EMPTY_PATH) < 0)
			return err_set(e, errno, "cannot mount at %s: %s",
				       point, strerror(errno));
		*ret = minor_of(fd);
		return 0;
	}
}
