/* SPDX-License-Identifier: Apache-2.0 */
/*
 * add.c - the steps of `image add` (see image.h), and `image remove`.
 *
 * The name is checked before the file is read, because reading may take an
 * hour, and again in the transaction, because somebody may have taken it in
 * that hour.
 */
#include "origin/store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/units.h"
#include "origin/db/origindb.h"

void (*store_step_hook)(const char *step);

/* ---- into place -------------------------------------------------------- */

static bool is_there(int dirfd, const char *name, uint64_t size)
{
	struct stat st;

	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;
}

static int place_object(struct store *s, struct ingest *g, const char *name,
			bool *ret_shared, struct err *e)
{
	int r;

	*ret_shared = is_there(s->objects_fd, name, g->manifest->length_bytes);
	if (*ret_shared)
		return 0;
	/* It was there when we compared, and has been removed meanwhile. */
	if (g->matched)
		return -EAGAIN;
	if (renameat(s->incoming_fd, g->name, s->objects_fd, name))
		return err_set(e, errno, "%s/objects: %s", s->dir,
			       strerror(errno));
	g->name[0] = '\0';
	store_step("renamed");
	r = fsync_dir(s->objects_fd);
	if (r)
		return err_set(e, -r, "%s/objects: %s", s->dir, strerror(-r));
	return 0;
}

static int place_manifest(struct store *s, const struct manifest *m,
			  const char *name, struct err *e)
{
	CLEAN_FREE void *data = NULL;
	CLEAN_FD int fd = -1;
	uint64_t size;
	size_t n;
	int r = manifest_encode(m, &data, &n);

	if (r)
		return err_set(e, -r, "%s", strerror(-r));
	if (is_there(s->manifests_fd, name, n))
		return 0;
	r = file_replace_at(s->manifests_fd, name, data, n, STORE_FILE_MODE);
	if (r == 0) {
		fd = store_open_manifest(s, &m->digest, &size);
		r = fd < 0 ? fd : store_own(s, fd);
	}
	store_step("manifest");
	if (r == -ENOSPC || r == -EDQUOT)
		return err_set(e, ENOSPC, "%s: the disk is full: nothing was "
			       "added", s->dir);
	if (r)
		return err_set(e, -r, "%s/manifests: %s", s->dir, strerror(-r));
	return 0;
}

static int commit_row(struct db *db, const struct image_add *a,
		      const struct ingest *g, struct image_added *ret,
		      struct err *e)
{
	struct publish p = {
		.name = a->name,
		.manifest = g->manifest,
		.mtime_s = g->mtime_s,
		.now_s = a->now_s,
		.keep_s = a->keep_s,
	};
	int r = db_begin(db, e);

	if (r)
		return r;
	r = publish_add(db, &p, ret, e);
	store_step("rows");
	r = db_end(db, r, e);
	store_step("committed");
	return r;
}

static int place(struct store *s, struct db *db, const struct image_add *a,
		 struct ingest *g, struct image_added *ret, struct err *e)
{
	char name[DIGEST_TEXT];
	CLEAN_FD int lock = store_lock_file(s, "objects.lock", LOCK_SH);
	int r;

	if (lock < 0)
		return err_set(e, -lock, "%s/objects.lock: %s", s->dir,
			       strerror(-lock));
	digest_text(&g->manifest->digest, name);
	r = place_object(s, g, name, &ret->shared, e);
	if (!r)
		r = place_manifest(s, g->manifest, name, e);
	if (!r)
		r = commit_row(db, a, g, ret, e);
	return r;
}

/* ---- add --------------------------------------------------------------- */

/* A version of this length that the store has, the newest. */
static int find_like(struct db *db, uint64_t length, struct node *ret,
		     bool *ret_found, struct err *e)
{
	int64_t id;
	bool removed;
	int r;

	*ret_found = false;
	r = db_get_int(db, e, &id,
		       "SELECT max(id) FROM node WHERE removed=0 AND is_dir=0"
		       " AND size=? HAVING max(id) IS NOT NULL",
		       "u", length);
	if (r == -ENOENT)
		return 0;
	if (!r)
		r = node_get(db, (uint64_t)id, ret, &removed, e);
	*ret_found = !r;
	return r;
}

static int add_open_file(struct store *s, struct db *db,
			 const struct image_add *a, int src, uint64_t length,
			 struct image_added *ret, struct err *e)
{
	struct ingest g = {.fd = -1};
	struct node like;
	bool found;
	int r;

	r = find_like(db, length, &like, &found, e);
	if (!r)
		r = ingest_run(s, src, length, a, found ? &like : NULL, &g, e);
	if (r)
		return r;
	ret->reflinked = g.reflinked;
	r = place(s, db, a, &g, ret, e);
	if (r == -EAGAIN) {
		ingest_end(s, &g);
		r = ingest_run(s, src, length, a, NULL, &g, e);
		if (!r)
			r = place(s, db, a, &g, ret, e);
	}
	ingest_end(s, &g);
	return r;
}

int image_add(struct store *s, struct db *db, const struct image_add *a,
	      struct image_added *ret, struct err *e)
{
	struct image_added added = {0};
	CLEAN_FD int src = -1;
	uint64_t length;
	int r;

	r = publish_check(db, a->name, e);
	if (r)
		return r;
	src = ingest_open(a->file, &length, e);
	if (src < 0)
		return src;
	r = store_sweep(s, db, a->now_s, false, e);
	if (!r)
		r = add_open_file(s, db, a, src, length, &added, e);
	if (r) {
		/* An object may have come into place before the failure. */
		store_sweep(s, db, a->now_s, false, NULL);
		return r;
	}
	*ret = added;
	return 0;
}

/* ---- remove ------------------------------------------------------------ */

/* An entry for the image, or for a folder above it, that is not over. */
static int check_plan(struct db *db, const char *name, int64_t now_s,
		      struct err *e)
{
	char when[UNITS_TIME_TEXT];
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e,
		     "SELECT entry,server,at_s FROM plan WHERE removed_s=0"
		     " AND (image=?1 OR (substr(image,-1)='/' AND"
		     "  substr(?1,1,length(image))=image))"
		     " AND (repeat<>'' OR until_s=0 OR until_s>?2)"
		     " ORDER BY at_s LIMIT 1",
		     "si", name, now_s);
	if (r)
		return r;
	r = db_next(db, q, e);
	if (r == 1)
		r = err_set(e, EBUSY,
			    "%s: plan entry %lld needs it on %s from %s: "
			    "remove the entry first, or use --force",
			    name, (long long)db_col_int(q, 0),
			    db_col_text(q, 1),
			    units_time(db_col_int(q, 2), when));
	db_done(q);
	return r;
}

static int remove_row(struct db *db, const char *name, bool force,
		      int64_t now_s, struct node *ret, struct err *e)
{
	struct node n;
	int r;

	r = node_find(db, name, &n, e);
	if (r)
		return r;
	if (n.is_dir)
		return err_set(e, EISDIR, "%s is a folder: remove the images "
			       "in it, and it goes too", name);
	r = force ? 0 : check_plan(db, name, now_s, e);
	if (!r)
		r = publish_remove(db, &n, now_s, e);
	if (!r)
		*ret = n;
	return r;
}

int image_remove(struct store *s, struct db *db, const char *name, bool force,
		 int64_t now_s, struct node *ret, struct err *e)
{
	struct node n;
	int r;

	r = db_begin(db, e);
	if (r)
		return r;
	r = db_end(db, remove_row(db, name, force, now_s, &n, e), e);
	if (r)
		return r;
	*ret = n;
	/* The name is gone; what a failure leaves, the next sweep takes. */
	return store_sweep(s, db, now_s, true, e);
}
