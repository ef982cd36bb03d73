/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount.c - mount(2), umount(2), and whether it is still ours.
 *
 * Once mounted, the supervisor never asks the mount for anything: a stat of
 * it waits for the worker, which may be the one that the supervisor is to
 * start again. What it needs to know (which device is there) statx(2) tells
 * without asking the file system, given AT_STATX_DONT_SYNC. Rejected:
 * /proc/self/mountinfo, which has to be parsed, with its escapes.
 */
#include "fs/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_AHEAD_KB "1024"
#define BACKGROUND_MAX "32768" /* as there, too */

bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

/* The minor number at the mount point: file systems without a disk have major
 * 0. 0 if there is none. */
static unsigned look(const char *point)
{
	struct statx x = {0};

	statx(AT_FDCWD, point,
	      AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
	      STATX_TYPE, &x);
	return x.stx_dev_major ? 0 : x.stx_dev_minor;
}

/* knfsd remembers for half an hour what lies at a path, and keeps it busy. */
static void forget_exports(void)
{
	put("/proc/net/rpc/nfsd.export/flush", "1\n");
	put("/proc/net/rpc/nfsd.fh/flush", "1\n");
}

bool mount_make(struct supervisor *s)
{
	char data[160];

	snprintf(data, sizeof(data),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,"
		 "default_permissions,max_read=%u",
		 SUPERVISOR_FUSE_FD, SUPERVISOR_MAX_READ_BYTES);
	if (mount(s->source, s->point, "fuse.stagefs",
		  MS_RDONLY | MS_NOSUID | MS_NODEV, data) < 0) {
		/* As mount(8) has it. */
		fail(s, 32, "cannot mount at %s: %s", s->point,
		     errno == ENODEV ? "the kernel has no FUSE: modprobe fuse"
				     : strerror(errno));
		return false;
	}
	s->dev = look(s->point);
	forget_exports();
	return true;
}

void mount_tune(const struct supervisor *s)
{
	char path[64];
	int n;

	/* Without it the kernel reads ahead 128 KiB at a time, whatever INIT
	 * says. */
	snprintf(path, sizeof(path), "/sys/class/bdi/0:%u/read_ahead_kb",
		 s->dev);
	if (!put(path, READ_AHEAD_KB))
		say("%s: %s: reads will be smaller", path, strerror(errno));
	/* What INIT says counts up to max_user_bgreq if it comes from one who
	 * is not root: few, with little memory. If that is mounted. */
	n = snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/",
		     s->dev);
	strcpy(path + n, "max_background");
	put(path, BACKGROUND_MAX);
	strcpy(path + n, "congestion_threshold");
	put(path, BACKGROUND_MAX);
}

void mount_leave(struct supervisor *s, bool force)
{
	forget_exports();
	/* Another one may be mounted there by now, or over ours. */
	if (s->dev && s->dev == look(s->point) &&
	    umount2(s->point, UMOUNT_NOFOLLOW) < 0)
		umount2(s->point, (force ? MNT_FORCE : 0) | MNT_DETACH |
					  UMOUNT_NOFOLLOW);
	s->dev = 0;
}
