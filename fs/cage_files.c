/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cage_files.c - Landlock: everything is forbidden but what has a rule.
 * Descriptors that are open already (/dev/fuse, the log, the control socket)
 * stay as they are.
 *
 * A rule belongs to a folder and all below it, whatever its name is by then,
 * and whatever is mounted there. So there is none for "/", and none for
 * single files that others replace by renaming (resolv.conf): a rule stays
 * with the old file. A mount point below one of the folders would be in
 * reach; cage_covers() finds it, comparing inodes and not names, as Landlock
 * does, so that symbolic links and bind mounts make no difference.
 *
 * The libraries of Debian 12 do not know Landlock, and its headers only the
 * first version: hence the constants.
 */
#include "fs/cage.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"

/* By version, of <linux/landlock.h>. */
#define ACCESS_FS_1 ((UINT64_C(1) << 13) - 1)
#define ACCESS_FS_REFER (UINT64_C(1) << 13)	/* 2: Linux 5.19 */
#define ACCESS_FS_TRUNCATE (UINT64_C(1) << 14)	/* 3: 6.2 */
#define ACCESS_NET_BIND_TCP (UINT64_C(1) << 0)	/* 4: 6.7 */
#define ACCESS_FS_IOCTL_DEV (UINT64_C(1) << 15) /* 5: 6.10 */
#define SCOPE_ABSTRACT_SOCKETS (UINT64_C(1) << 0) /* 6: 6.12 */
#define SCOPE_SIGNALS (UINT64_C(1) << 1)

struct ruleset {
	uint64_t fs;
	uint64_t net;	 /* since 4 */
	uint64_t scoped; /* since 6 */
};

#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
/* No devices, sockets, fifos, symbolic links, programs. */
#define WRITE                                                          \
	(READ | LANDLOCK_ACCESS_FS_WRITE_FILE |                        \
	 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |   \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | \
	 ACCESS_FS_REFER | ACCESS_FS_TRUNCATE)

/* Read by every worker: how names are resolved, certificates, time zones, and
 * the libraries that glibc loads for these when it needs them. */
static const char *const common[] = {
	"/etc", "/lib", "/lib64", "/usr/lib", "/usr/lib64",
	"/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
	"/var/lib/ca-certificates", "/usr/share/zoneinfo",
	/* where /etc/resolv.conf may point */
	"/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager",
	/* its own threads, for dump.c */
	"/proc/self/task",
	/* seeds of jansson and SQLite */
	"/dev/urandom",
};
#define N_COMMON (sizeof(common) / sizeof(common[0]))

static int allow(int set, const char *path, uint64_t access)
{
	CLEAN_FD int fd = open(path, O_PATH | O_CLOEXEC);
	struct landlock_path_beneath_attr rule = {.allowed_access = access,
						  .parent_fd = fd};
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= LANDLOCK_ACCESS_FS_READ_FILE;
	return syscall(SYS_landlock_add_rule, set,
		       LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0
		       ? -errno
		       : 0;
}

int cage_files(const char *cache, const char *ca)
{
	int version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
				   LANDLOCK_CREATE_RULESET_VERSION);
	struct ruleset all = {.fs = ACCESS_FS_1};
	CLEAN_FD int set = -1;
	int r;

	if (version < 1) /* not built, or not switched on */
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
	if (version >= 2)
		all.fs |= ACCESS_FS_REFER;
	if (version >= 3)
		all.fs |= ACCESS_FS_TRUNCATE;
	if (version >= 4)
		all.net = ACCESS_NET_BIND_TCP;
	if (version >= 5)
		all.fs |= ACCESS_FS_IOCTL_DEV;
	if (version >= 6)
		all.scoped = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS;
	set = (int)syscall(SYS_landlock_create_ruleset, &all,
			   version < 4	 ? offsetof(struct ruleset, net)
			   : version < 6 ? offsetof(struct ruleset, scoped)
					 : sizeof(all),
			   0);
	if (set < 0)
		return -errno;
	r = allow(set, cache, WRITE & all.fs);
	for (size_t i = 0; r == 0 && i < N_COMMON; i++)
		r = allow(set, common[i], READ);
	if (r == 0 && ca[0])
		r = allow(set, ca, READ);
	if (r == 0 && syscall(SYS_landlock_restrict_self, set, 0) < 0)
		r = -errno;
	return r < 0 ? r : version;
}

/* ---- before the mount ---------------------------------------------------- */

/* Is `folder`, or what it is a link to, `point` or above it? */
static bool above(const struct stat *folder, const char *point)
{
	char part[PATH_MAX] = "/";
	struct stat st;

	if (strlen(point) >= sizeof(part))
		return false;
	for (const char *end = point;; end++) {
		end += strcspn(end, "/");
		if (end > point)
			memcpy(part, point, (size_t)(end - point));
		part[end > point ? end - point : 1] = 0;
		if (stat(part, &st) == 0 && st.st_dev == folder->st_dev &&
		    st.st_ino == folder->st_ino)
			return true;
		if (!*end)
			return false;
	}
}

const char *cage_covers(const char *point, const char *cache)
{
	struct stat st;

	if (stat(cache, &st) == 0 && above(&st, point))
		return cache;
	for (size_t i = 0; i < N_COMMON; i++)
		if (stat(common[i], &st) == 0 && above(&st, point))
			return common[i];
	return NULL;
}
