/* SPDX-License-Identifier: Apache-2.0 */
/*
 * privilege.c - the worker parses what comes from the network, so it is to
 * have nothing that is worth taking: a user of its own that owns the cache,
 * no capabilities, and no way to get any (no_new_privs).
 */
#include "fs/privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
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

int identity_own(const struct identity *id, const char *dir, struct err *e)
{
	CLEAN_FD int fd = make_private(dir);
	struct stat st;

	if (fd < 0)
		return err_set(e, -fd, "cache %s: %s", dir, strerror(-fd));
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

int identity_become(const struct identity *id, struct err *e)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(e, errno, "no_new_privs: %s", strerror(errno));
	if (id->root || geteuid() == id->uid)
		return 0;
	/* Leaving uid 0 for good clears the capabilities (capabilities(7)). */
	if (setgroups(0, NULL) < 0 ||
	    setresgid(id->gid, id->gid, id->gid) < 0 ||
	    setresuid(id->uid, id->uid, id->uid) < 0)
		return err_set(e, errno, "cannot become user %s: %s", id->name,
			       strerror(errno));
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
