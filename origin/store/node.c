/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node.c - reading names: from whole name to node, from id to whole name.
 *
 * A row knows its parent and one part of the name only, as the catalog and
 * the servers do. Whole names are put together here, for people.
 */
#include "origin/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/limits.h"
#include "common/names.h"

#define COLUMNS \
	"id,parent,name,is_dir,size,block_bytes,digest,mtime_s,added_s," \
	"revision,removed"

/* All but the name. */
static int read_row(struct sqlite3_stmt *q, struct node *n)
{
	const void *digest;
	size_t len;

	n->id = db_col_u64(q, 0);
	n->parent = db_col_u64(q, 1);
	n->is_dir = db_col_int(q, 3);
	n->size_bytes = db_col_u64(q, 4);
	n->block_bytes = (uint32_t)db_col_int(q, 5);
	digest = db_col_blob(q, 6, &len);
	if (!n->is_dir) {
		if (len != DIGEST_BYTES)
			return -EUCLEAN;
		memcpy(n->digest.b, digest, DIGEST_BYTES);
	}
	n->mtime_s = db_col_int(q, 7);
	n->added_s = db_col_int(q, 8);
	n->revision = db_col_u64(q, 9);
	return 0;
}

/* ---- by name ----------------------------------------------------------- */

static int find_part(struct db *db, uint64_t parent, const char *part,
		     struct node *ret, struct err *e)
{
	struct sqlite3_stmt *q;
	CLEAN_FREE char *fold = name_fold(part);
	int r;

	if (!fold)
		return err_set(e, ENOMEM, "out of memory");
	r = db_query(db, &q, e,
		     "SELECT " COLUMNS " FROM node"
		     " WHERE parent=? AND fold=? AND removed=0",
		     "us", parent, fold);
	if (r)
		return r;
	r = db_next(db, q, e);
	if (r == 1)
		r = strcmp(db_col_text(q, 2), part) ? -ENOENT
						    : read_row(q, ret);
	else if (r == 0)
		r = -ENOENT;
	db_done(q);
	return r;
}

int node_find(struct db *db, const char *name, struct node *ret, struct err *e)
{
	CLEAN_FREE char *copy = NULL;
	char *part, *rest;
	struct node n = {.id = 1, .is_dir = true};
	int r;

	r = name_check_image(name, e);
	if (r)
		return r == -ENAMETOOLONG ? -EINVAL : r;
	rest = copy = strdup(name);
	if (!copy)
		return err_set(e, ENOMEM, "out of memory");
	while ((part = strsep(&rest, "/"))) {
		r = n.is_dir ? find_part(db, n.id, part, &n, e) : -ENOENT;
		if (r == -ENOENT)
			return err_set(e, ENOENT,
				       "no image named %s: see `stagefs-origin "
				       "image list`", name);
		if (r == -EUCLEAN)
			return err_set(e, EUCLEAN, "%s: its row in the "
				       "database is damaged", name);
		if (r)
			return r;
	}
	strcpy(n.name, name); /* checked: at most 1023 bytes */
	*ret = n;
	return 0;
}

/* ---- by id ------------------------------------------------------------- */

static int get_row(struct db *db, uint64_t id, struct node *ret,
		   char ret_part[STAGEFS_NAME_MAX_BYTES + 1], bool *ret_removed,
		   struct err *e)
{
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e, "SELECT " COLUMNS " FROM node WHERE id=?", "u",
		     id);
	if (r)
		return r;
	r = db_next(db, q, e);
	if (r == 1) {
		const char *part = db_col_text(q, 2);

		*ret_removed = db_col_int(q, 10);
		r = read_row(q, ret);
		if (strlen(part) > STAGEFS_NAME_MAX_BYTES)
			r = -EUCLEAN;
		else
			strcpy(ret_part, part);
	} else if (r == 0) {
		r = err_set(e, ENOENT, "no image has the id %llu",
			    (unsigned long long)id);
	}
	db_done(q);
	return r;
}

/* Puts "part/" before what is in `name`. */
static int prepend(char name[STAGEFS_PATH_MAX_BYTES + 1], const char *part)
{
	size_t n = strlen(part), rest = strlen(name);

	if (n + 1 + rest > STAGEFS_PATH_MAX_BYTES)
		return -EUCLEAN;
	memmove(name + n + 1, name, rest + 1);
	memcpy(name, part, n);
	name[n] = '/';
	return 0;
}

int node_get(struct db *db, uint64_t id, struct node *ret, bool *ret_removed,
	     struct err *e)
{
	char part[STAGEFS_NAME_MAX_BYTES + 1];
	struct node n = {0}, up;
	bool removed, up_removed;
	int r;

	r = get_row(db, id, &n, part, &removed, e);
	if (r)
		return r;
	strcpy(n.name, part);
	up = n;
	for (int depth = 0; up.parent > 1; depth++) {
		r = depth > STAGEFS_PATH_MAX_DEPTH ? -EUCLEAN : 0;
		if (!r)
			r = get_row(db, up.parent, &up, part, &up_removed, e);
		if (!r)
			r = prepend(n.name, part);
		if (r)
			return err_set(e, EUCLEAN, "id %llu: the folders above "
				       "it are damaged in the database",
				       (unsigned long long)id);
	}
	*ret = n;
	*ret_removed = removed;
	return 0;
}

/* ---- all --------------------------------------------------------------- */

int node_each(struct db *db, int (*each)(const struct node *n, void *ctx),
	      void *ctx, struct err *e)
{
	static const struct node root = {.id = 1};

	return node_each_in(db, &root, each, ctx, e);
}

int node_each_in(struct db *db, const struct node *dir,
		 int (*each)(const struct node *n, void *ctx), void *ctx,
		 struct err *e)
{
	struct sqlite3_stmt *q;
	struct node n;
	int r;

	r = db_query(db, &q, e,
		     "WITH RECURSIVE tree(id, path) AS ("
		     " SELECT id, ?2 || iif(?2='','','/') || name FROM node"
		     "  WHERE parent=?1 AND removed=0 UNION ALL"
		     " SELECT n.id, t.path || '/' || n.name"
		     "  FROM tree t JOIN node n ON n.parent=t.id"
		     "  WHERE n.removed=0)"
		     " SELECT n.id,parent,path,is_dir,size,block_bytes,digest,"
		     "mtime_s,added_s,revision,removed"
		     " FROM tree t JOIN node n ON n.id=t.id ORDER BY path",
		     "us", dir->id, dir->name);
	if (r)
		return r;
	while ((r = db_next(db, q, e)) == 1) {
		const char *path = db_col_text(q, 2);

		memset(&n, 0, sizeof(n));
		r = read_row(q, &n);
		if (r || strlen(path) >= sizeof(n.name)) {
			r = err_set(e, EUCLEAN, "%s: its row in the database "
				    "is damaged", path);
			break;
		}
		strcpy(n.name, path);
		r = each(&n, ctx);
		if (r)
			break;
	}
	db_done(q);
	return r;
}

uint64_t node_revision(struct db *db)
{
	int64_t revision = 0;

	/* Rows are never deleted, so the newest is always there. */
	db_get_int(db, NULL, &revision, "SELECT max(revision) FROM node", "");
	return (uint64_t)revision;
}
