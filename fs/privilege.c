/* SPDX-License-Identifier: Apache-2.0 */
/*
 * privilege.c - the user that the worker becomes (cage.c) owns the cache, and
 * nothing else.
 */
#include "fs/privilege.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/fdio.h"

int identity_find(const char *user, const char *fallback,
		  struct identity *ret, struct err *e)
{
	const char *name = user[0] ? user : fallback;
	struct passwd *pw = getpwnam(name);

	if (!pw && user[0])
		return err_set(e, ENOENT,
			       "option user=%s: there is no such user", user);
	*ret = (struct identity){.root = !pw || pw->pw_uid == 0};
	if (!ret->root) {
		ret->uid = pw->pw_uid;
		ret->gid = pw->pw_gid;
	}
	snprintf(ret->name, sizeof(ret->name), "%s", pw ? name : "root");
	return 0;
}

static struct identity handing_to; /* nftw has no context */

static int hand_over(const char *path, const struct stat *st, int type,
		     struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return lchown(path, handing_to.uid, handing_to.gid) < 0 ? -1 : 0;
}

/* The folders above are for everybody to pass, the cache itself is not. */
static int make_private(const char *dir)
{
	CLEAN_FREE char *above = strdup(dir);
	char *slash = above ? strrchr(above, '/') : NULL;
	int fd;

	if (!above)
		return -ENOMEM;
	if (slash && slash != above) {
		*slash = 0;
		fd = dir_make(above, 0755);
		if (fd < 0)
			return fd;
		close(fd);
	}
	return dir_make(dir, 0700);
}

static bool exists(int fd, const char *name)
{
	struct stat st;

	return fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* What a start that was cut short leaves, and a file system of its own. */
static bool is_beginning(int fd, const char *name)
{
	static const char *const names[] = {".", "..", "lost+found", "lock"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return true;
	return !strcmp(name, "data") && exists(fd, "lock");
}

/*
 * All of a cache is handed over, and what no row knows in its data goes: with
 * cache=/srv, a slip, that would be somebody else's.
 */
static int check_ours(int cache_fd, const char *dir, struct err *e)
{
	bool known = exists(cache_fd, "index.db") ||
		     exists(cache_fd, "catalog") || exists(cache_fd, "key.pub");
	int fd = openat(cache_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	int r = 0;

	if (!d) {
		r = err_set(e, errno, "cache %s: %s", dir, strerror(errno));
		if (fd >= 0)
			close(fd);
		return r;
	}
	while (r == 0 && !known && (de = readdir(d)))
		if (!is_beginning(cache_fd, de->d_name))
			r = err_set(e, ENOTEMPTY,
				    "cache %s is no cache of stagefs, and not "
				    "empty ('%s'): give a folder of its own",
				    dir, de->d_name);
	closedir(d);
	return r;
}

int identity_own(const struct identity *id, const char *dir, struct err *e)
{
	CLEAN_FD int fd = make_private(dir);
	struct stat st;
	int r;

	if (fd < 0)
		return err_set(e, -fd, "cache %s: %s", dir, strerror(-fd));
	r = check_ours(fd, dir, e);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return err_set(e, errno, "cache %s: %s", dir,
			       strerror(errno));
	if (geteuid() != 0 || st.st_uid == id->uid)
		return 0;
	/* What another user has prepared is not to be handed over by root:
	 * it may hold links to anything. */
	if (st.st_uid != 0)
		return err_set(e, EPERM,
			       "cache %s belongs to user %u, not to %s: chown "
			       "it, or name its user with user=",
			       dir, (unsigned)st.st_uid, id->name);
	handing_to = *id;
	if (nftw(dir, hand_over, 16, FTW_PHYS | FTW_MOUNT) != 0)
		return err_set(e, errno, "cache %s: chown to %s: %s", dir,
			       id->name, strerror(errno));
	return 0;
}

void raise_file_limit(void)
{
	struct rlimit l;

	/* An open image is a descriptor, a connection is one. */
	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}
