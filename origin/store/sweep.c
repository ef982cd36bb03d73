/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sweep.c - removes what no row and no running add needs.
 *
 * incoming/: a file whose flock can be had belongs to nobody any more.
 * objects/ and manifests/: whatever is not the digest of a live version, or of
 * a replaced one that is still kept. It looks at the folders, not at a list of
 * things to do, so it finds what any crash has left.
 */
#include "origin/store/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "common/cleanup.h"

/* Calls `each` for all names in a folder; it may unlink them. */
static int each_name(int dirfd, int (*each)(const char *name, void *ctx),
		     void *ctx)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *de;
	DIR *d;
	int r = 0;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		r = -errno;
		close(fd);
		return r;
	}
	while (!r && (errno = 0, de = readdir(d)))
		if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
			r = each(de->d_name, ctx);
	if (!r && errno)
		r = -errno;
	closedir(d);
	return r;
}

static int sweep_incoming(const char *name, void *ctx)
{
	struct store *s = ctx;
	CLEAN_FD int fd =
		openat(s->incoming_fd, name,
		       O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	/* Gone already, or not a file: not ours to judge. */
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB))
		return 0;
	unlinkat(s->incoming_fd, name, 0);
	return 0;
}

struct sweep {
	struct db *db;
	int64_t now_s;
	int dirfd;
	struct err *e;
};

static int is_needed(struct sweep *w, const struct digest *d)
{
	int64_t n;
	int r = db_get_int(w->db, w->e, &n,
			   "SELECT EXISTS(SELECT 1 FROM node WHERE digest=?"
			   " AND (removed=0 OR keep_until_s>?))",
			   "bi", d->b, (size_t)DIGEST_BYTES, w->now_s);

	return r ? r : n != 0;
}

static int sweep_object(const char *name, void *ctx)
{
	struct sweep *w = ctx;
	struct digest d;
	int needed = 0;

	if (digest_parse(name, &d) == 0)
		needed = is_needed(w, &d);
	if (needed)
		return needed < 0 ? needed : 0;
	/* EISDIR: lost+found, where objects/ is a disk of its own. */
	if (unlinkat(w->dirfd, name, 0) && errno != ENOENT && errno != EISDIR)
		return err_set(w->e, errno, "cannot remove object %s: %s", name,
			       strerror(errno));
	store_step("unlinked");
	return 0;
}

int sweep_objects_locked(struct store *s, struct db *db, int64_t now_s,
			 struct err *e)
{
	struct sweep w = {.db = db, .now_s = now_s, .e = e};
	int r;

	w.dirfd = s->objects_fd;
	r = each_name(s->objects_fd, sweep_object, &w);
	if (r)
		return r;
	w.dirfd = s->manifests_fd;
	return each_name(s->manifests_fd, sweep_object, &w);
}

int store_sweep(struct store *s, struct db *db, int64_t now_s, bool wait,
		struct err *e)
{
	CLEAN_FD int lock = -1;
	int r;

	if (e)
		e->text[0] = '\0';
	r = each_name(s->incoming_fd, sweep_incoming, s);
	if (r)
		return err_set(e, -r, "%s/incoming: %s", s->dir, strerror(-r));
	lock = store_lock_file(s, "objects.lock",
			       LOCK_EX | (wait ? 0 : LOCK_NB));
	if (lock == -EWOULDBLOCK)
		return 0;
	if (lock < 0)
		return err_set(e, -lock, "%s/objects.lock: %s", s->dir,
			       strerror(-lock));
	r = sweep_objects_locked(s, db, now_s, e);
	if (r && e && !e->text[0])
		err_set(e, -r, "%s: %s", s->dir, strerror(-r));
	return r;
}
