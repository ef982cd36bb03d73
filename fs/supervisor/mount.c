/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount.c - mount(2), the mount table, umount(2).
 *
 * Once mounted, the supervisor never touches the mount: a stat of it waits
 * for the worker, which may be the one that the supervisor is to start again.
 * What it needs to know (is it there, which device) is in the mount table.
 */
#include "fs/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_READ_BYTES (1u << 20) /* as in the worker's INIT */
#define READ_AHEAD_KB "1024"

/* The mount table writes blank, tab, newline and backslash as \ooo. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] &&
		    s[3]) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 |
				       (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = 0;
}

/* "ID PARENT MAJ:MIN ROOT POINT OPTS [FIELDS] - TYPE SOURCE SUPER" */
static bool parse_line(char *line, const char *dir, char type[64],
		       unsigned *major, unsigned *minor)
{
	char *point = NULL, *dash = strstr(line, " - ");
	int at = 0;

	if (!dash ||
	    sscanf(line, "%*u %*u %u:%u %*s %n", major, minor, &at) < 2 || !at)
		return false;
	point = line + at;
	point[strcspn(point, " ")] = 0;
	unescape(point);
	if (strcmp(point, dir))
		return false;
	return sscanf(dash + 3, "%63s", type) == 1;
}

bool mount_find(const char *dir, char type[64], unsigned *ret_major,
		unsigned *ret_minor)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	bool found = false; /* the last one is on top */
	char *line = NULL;
	size_t size = 0;

	if (!f)
		return false;
	while (getline(&line, &size, f) > 0) {
		unsigned major, minor;
		char t[64];

		if (!parse_line(line, dir, t, &major, &minor))
			continue;
		found = true;
		memcpy(type, t, sizeof(t));
		*ret_major = major;
		*ret_minor = minor;
	}
	free(line);
	fclose(f);
	return found;
}

int mount_check_point(const char *given, char resolved[PATH_MAX],
		      char why[LINE_MAX_BYTES])
{
	unsigned major, minor;
	struct stat st;
	char type[64];

	if (!realpath(given, resolved))
		return refuse(why, EXIT_USAGE, "mount point %s: %s", given,
			      errno == ENOTCONN ? "a mount whose server has "
						  "gone: umount it"
						: strerror(errno));
	/* autofs is where systemd waits for us to mount. */
	if (mount_find(resolved, type, &major, &minor) &&
	    strcmp(type, "autofs"))
		return refuse(why, EXIT_USAGE,
			      "%s is a mount point in use (%s): umount it "
			      "first",
			      resolved, type);
	if (stat(resolved, &st) < 0)
		return refuse(why, EXIT_USAGE, "mount point %s: %s", resolved,
			      strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return refuse(why, EXIT_USAGE, "mount point %s is not a folder",
			      resolved);
	return 0;
}

/* Without it the kernel reads ahead 128 KiB at a time, whatever INIT says. */
static void set_read_ahead(unsigned major, unsigned minor)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb",
		 major, minor);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 ||
	    write(fd, READ_AHEAD_KB, strlen(READ_AHEAD_KB)) < 0)
		say("%s: %s: reads will be smaller", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

int mount_make(const struct options *o, int fuse_fd, unsigned *ret_minor,
	       char why[LINE_MAX_BYTES])
{
	char data[160], type[64];
	unsigned major, minor;

	snprintf(data, sizeof(data),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,"
		 "default_permissions,max_read=%u",
		 fuse_fd, MAX_READ_BYTES);
	if (mount(o->source, o->mountpoint, "fuse.stagefs",
		  MS_RDONLY | MS_NOSUID | MS_NODEV, data) < 0)
		return refuse(why, EXIT_MOUNT, "cannot mount at %s: %s",
			      o->mountpoint,
			      errno == ENODEV ? "the kernel has no FUSE: "
						"modprobe fuse"
					      : strerror(errno));
	if (!mount_find(o->mountpoint, type, &major, &minor)) {
		umount2(o->mountpoint, MNT_DETACH);
		return refuse(why, EXIT_MOUNT,
			      "%s: mounted, but not in the mount table",
			      o->mountpoint);
	}
	set_read_ahead(major, minor);
	*ret_minor = minor;
	return 0;
}

void mount_leave(const char *dir, unsigned minor, bool force)
{
	unsigned major_now, minor_now;
	char type[64];

	if (!mount_find(dir, type, &major_now, &minor_now) ||
	    minor_now != minor || strcmp(type, "fuse.stagefs"))
		return;
	if (umount2(dir, UMOUNT_NOFOLLOW) == 0)
		return;
	/* Busy. MNT_FORCE ends every request, MNT_DETACH takes the name. */
	if (force)
		umount2(dir, MNT_FORCE | MNT_DETACH | UMOUNT_NOFOLLOW);
}
