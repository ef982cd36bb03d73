/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish.c - the rows that make an image visible, or take it away.
 *
 * All changes of one transaction get one new revision (see catalog.c). Rows
 * are never deleted: a removed row is how servers learn that a name is gone,
 * and how an id is never used again.
 */
#include "origin/store/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/limits.h"
#include "common/names.h"
#include "origin/db/origindb.h"

/* What stands under a name, as far as clashes go. */
struct spot {
	bool there, is_dir;
	uint64_t id;
	struct digest digest;
	char name[STAGEFS_NAME_MAX_BYTES + 1]; /* as it is spelled there */
};

static int look(struct db *db, uint64_t parent, const char *part,
		struct spot *ret, struct err *e)
{
	CLEAN_FREE char *fold = name_fold(part);
	struct sqlite3_stmt *q;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!fold)
		return err_set(e, ENOMEM, "out of memory");
	r = db_query(db, &q, e,
		     "SELECT id,is_dir,name,digest FROM node"
		     " WHERE parent=? AND fold=? AND removed=0",
		     "us", parent, fold);
	if (r)
		return r;
	r = db_next(db, q, e);
	if (r == 1) {
		size_t n;
		const void *digest = db_col_blob(q, 3, &n);

		ret->there = true;
		ret->id = db_col_u64(q, 0);
		ret->is_dir = db_col_int(q, 1);
		snprintf(ret->name, sizeof(ret->name), "%s",
			 db_col_text(q, 2));
		if (n == DIGEST_BYTES)
			memcpy(ret->digest.b, digest, n);
		r = 0;
	}
	db_done(q);
	return r;
}

/* ---- walking down a name ----------------------------------------------- */

struct walk {
	const char *name;
	size_t done;  /* bytes of `name` before `part` */
	char part[STAGEFS_NAME_MAX_BYTES + 1];
	bool is_last;
	uint64_t parent;
	struct spot spot; /* under `part` */
};

/* -EEXIST if what is there cannot stand beside, or become, what is wanted. */
static int check_clash(const struct walk *w, struct err *e)
{
	const struct spot *s = &w->spot;

	if (!s->there)
		return 0;
	if (strcmp(s->name, w->part))
		return err_set(e, EEXIST,
			       "%s: differs only in case from %.*s%s, which is "
			       "there already; Windows stations could not tell "
			       "them apart",
			       w->name, (int)w->done, w->name, s->name);
	if (w->is_last && s->is_dir)
		return err_set(e, EEXIST, "%s is a folder of images", w->name);
	if (!w->is_last && !s->is_dir)
		return err_set(e, EEXIST,
			       "%s: %.*s%s is an image and cannot be a folder",
			       w->name, (int)w->done, w->name, w->part);
	return 0;
}

/* Looks at the next part. The name has been checked: parts are short. */
static int walk_look(struct walk *w, struct db *db, struct err *e)
{
	const char *p = w->name + w->done;
	size_t n = strcspn(p, "/");
	int r;

	memcpy(w->part, p, n);
	w->part[n] = '\0';
	w->is_last = p[n] == '\0';
	r = look(db, w->parent, w->part, &w->spot, e);
	return r ? r : check_clash(w, e);
}

static void walk_down(struct walk *w, uint64_t id)
{
	w->parent = id;
	w->done += strlen(w->part) + 1;
}

int publish_check(struct db *db, const char *name, struct err *e)
{
	struct walk w = {.name = name, .parent = 1};
	int r = name_check_image(name, e);

	if (r)
		return r == -ENAMETOOLONG ? -EINVAL : r;
	while (!(r = walk_look(&w, db, e)) && w.spot.there && !w.is_last)
		walk_down(&w, w.spot.id);
	return r;
}

/* ---- adding ------------------------------------------------------------ */

static int insert(struct db *db, const struct walk *w, const struct publish *p,
		  uint64_t revision, struct err *e)
{
	CLEAN_FREE char *fold = name_fold(w->part);

	if (!fold)
		return err_set(e, ENOMEM, "out of memory");
	if (!w->is_last)
		return db_run(db, e,
			      "INSERT INTO node(parent,name,fold,is_dir,"
			      "mtime_s,added_s,revision)"
			      " VALUES(?1,?2,?3,1,?4,?4,?5)",
			      "ussiu", w->parent, w->part, fold, p->now_s,
			      revision);
	return db_run(db, e,
		      "INSERT INTO node(parent,name,fold,is_dir,mtime_s,size,"
		      "block_bytes,digest,added_s,revision)"
		      " VALUES(?,?,?,0,?,?,?,?,?,?)",
		      "ussiuibiu", w->parent, w->part, fold, p->mtime_s,
		      p->manifest->length_bytes,
		      (int64_t)p->manifest->block_bytes,
		      p->manifest->digest.b, (size_t)DIGEST_BYTES, p->now_s,
		      revision);
}

static int check_room(struct db *db, struct err *e)
{
	int64_t n;
	int r;

	r = db_get_int(db, e, &n, "SELECT count(*) FROM node WHERE removed=0",
		       "");
	if (!r && n + STAGEFS_PATH_MAX_DEPTH > STAGEFS_CATALOG_MAX_ENTRIES)
		r = err_set(e, ENOSPC,
			    "the catalog is full: servers accept %u names",
			    STAGEFS_CATALOG_MAX_ENTRIES);
	return r;
}

/* The row of the version that is replaced. */
static int retire(struct db *db, uint64_t id, const struct publish *p,
		  uint64_t revision, struct err *e)
{
	return db_run(db, e,
		      "UPDATE node SET removed=1,revision=?,keep_until_s=?"
		      " WHERE id=?",
		      "uiu", revision, p->now_s + p->keep_s, id);
}

static int add_rows(struct db *db, const struct publish *p, uint64_t revision,
		    struct image_added *ret, struct err *e)
{
	struct walk w = {.name = p->name, .parent = 1};
	int r;

	while (!(r = walk_look(&w, db, e)) && !w.is_last) {
		if (!w.spot.there) {
			r = insert(db, &w, p, revision, e);
			if (r)
				return r;
			w.spot.id = (uint64_t)db_last_id(db);
		}
		walk_down(&w, w.spot.id);
	}
	if (r)
		return r;
	if (w.spot.there) {
		ret->unchanged = digest_equal(&w.spot.digest,
					      &p->manifest->digest);
		ret->replaced = !ret->unchanged;
		if (ret->unchanged)
			return 0;
		r = retire(db, w.spot.id, p, revision, e);
	}
	return r ? r : insert(db, &w, p, revision, e);
}

int publish_add(struct db *db, const struct publish *p, struct image_added *ret,
		struct err *e)
{
	char digest[DIGEST_TEXT];
	int r;

	ret->unchanged = ret->replaced = false;
	r = check_room(db, e);
	if (!r)
		r = add_rows(db, p, node_revision(db) + 1, ret, e);
	if (!r)
		r = node_find(db, p->name, &ret->node, e);
	if (r || ret->unchanged)
		return r;
	return origindb_log(db, e, p->now_s,
			    ret->replaced ? "replaced" : "added", NULL, 0,
			    p->name, "id %llu, %llu bytes, digest %s",
			    (unsigned long long)ret->node.id,
			    (unsigned long long)ret->node.size_bytes,
			    digest_text(&ret->node.digest, digest));
}

/* ---- removing ---------------------------------------------------------- */

/* The folder above, if nothing is left in it. *ret: its parent, or 1. */
static int remove_if_empty(struct db *db, uint64_t id, uint64_t revision,
			   uint64_t *ret, struct err *e)
{
	int64_t n, parent = 1;
	int r;

	*ret = 1;
	r = db_get_int(db, e, &n,
		       "SELECT count(*) FROM node WHERE parent=? AND removed=0",
		       "u", id);
	if (r || n)
		return r;
	r = db_get_int(db, e, &parent, "SELECT parent FROM node WHERE id=?",
		       "u", id);
	if (!r)
		r = db_run(db, e,
			   "UPDATE node SET removed=1,revision=? WHERE id=?",
			   "uu", revision, id);
	if (!r)
		*ret = (uint64_t)parent;
	return r;
}

int publish_remove(struct db *db, const struct node *n, int64_t now_s,
		   struct err *e)
{
	uint64_t revision = node_revision(db) + 1, up = n->parent;
	int r;

	r = db_run(db, e, "UPDATE node SET removed=1,revision=? WHERE id=?",
		   "uu", revision, n->id);
	/* Versions that it replaced need not stay either. */
	if (!r)
		r = db_run(db, e,
			   "UPDATE node SET keep_until_s=0 WHERE removed=1"
			   " AND parent=? AND name=("
			   "SELECT name FROM node WHERE id=?)",
			   "uu", n->parent, n->id);
	while (!r && up > 1)
		r = remove_if_empty(db, up, revision, &up, e);
	if (r)
		return r;
	return origindb_log(db, e, now_s, "removed", NULL, 0, n->name,
			    "id %llu", (unsigned long long)n->id);
}
