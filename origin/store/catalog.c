/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalog.c - pages of the catalog.
 *
 * Every row of `node` carries the revision of its last change, removed rows
 * stay, and one transaction gives all rows it changes one revision. So what
 * changed since N is one run of an index, and a page may end between any two
 * revisions: what a server has applied is always what the origin was after
 * some transaction, in particular never "old version gone, new one not there
 * yet". A folder's id and revision are never above those of what is in it, so
 * order by (revision, id) puts parents first.
 *
 * A row that changes between two pages moves to the end, where the last page
 * still comes past it.
 */
#include "origin/store/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

struct page {
	struct wire_catalog c;
	uint64_t *revision;	/* of each row read */
	bool *is_removed;
	size_t n_rows;
};

static int read_entry(struct sqlite3_stmt *q, struct wire_entry *w)
{
	const void *digest;
	size_t n;

	w->name = db_col_dup(q, 3);
	if (!w->name)
		return -ENOMEM;
	w->id = db_col_u64(q, 1);
	w->parent = db_col_u64(q, 2);
	w->is_dir = db_col_int(q, 4);
	w->mtime_s = db_col_int(q, 5);
	if (w->is_dir)
		return 0;
	w->size_bytes = db_col_u64(q, 6);
	w->block_bytes = (uint32_t)db_col_int(q, 7);
	digest = db_col_blob(q, 8, &n);
	if (n != DIGEST_BYTES)
		return -EUCLEAN;
	memcpy(w->digest.b, digest, n);
	return 0;
}

static int read_removed(struct sqlite3_stmt *q, struct wire_removed *w)
{
	w->name = db_col_dup(q, 3);
	if (!w->name)
		return -ENOMEM;
	w->id = db_col_u64(q, 1);
	w->parent = db_col_u64(q, 2);
	return 0;
}

static int read_row(struct page *p, struct sqlite3_stmt *q)
{
	struct wire_catalog *c = &p->c;
	size_t i = p->n_rows++;

	p->revision[i] = db_col_u64(q, 0);
	p->is_removed[i] = db_col_int(q, 9);
	if (p->is_removed[i])
		return read_removed(q, &c->removed[c->n_removed++]);
	return read_entry(q, &c->entry[c->n_entries++]);
}

/* Takes back the rows of the last revision, which may go on beyond the page. */
static int cut(struct page *p)
{
	struct wire_catalog *c = &p->c;
	uint64_t last = p->revision[p->n_rows - 1];

	while (p->n_rows && p->revision[p->n_rows - 1] == last) {
		if (p->is_removed[--p->n_rows])
			free(c->removed[--c->n_removed].name);
		else
			free(c->entry[--c->n_entries].name);
	}
	if (!p->n_rows) /* no transaction changes so many rows */
		return -EUCLEAN;
	c->revision = p->revision[p->n_rows - 1];
	c->more = true;
	return 0;
}

static int read_page(struct page *p, struct db *db, struct err *e)
{
	struct sqlite3_stmt *q;
	bool full = p->c.since == 0;
	int r;

	p->c.revision = node_revision(db);
	store_step("page");
	r = db_query(db, &q, e,
		     full ? "SELECT revision,id,parent,name,is_dir,mtime_s,"
			    "size,block_bytes,digest,removed FROM node"
			    " WHERE revision>? AND removed=0 AND id>1"
			    " ORDER BY revision,id LIMIT ?"
			  : "SELECT revision,id,parent,name,is_dir,mtime_s,"
			    "size,block_bytes,digest,removed FROM node"
			    " WHERE revision>? AND id>1"
			    " ORDER BY revision,id LIMIT ?",
		     "ui", p->c.since,
		     (int64_t)STAGEFS_CATALOG_PAGE_ENTRIES + 1);
	if (r)
		return r;
	while ((r = db_next(db, q, e)) == 1) {
		r = read_row(p, q);
		if (r)
			break;
	}
	db_done(q);
	if (!r && p->n_rows > STAGEFS_CATALOG_PAGE_ENTRIES)
		r = cut(p);
	if (r == -EUCLEAN)
		err_set(e, EUCLEAN, "origin.db: the catalog is damaged");
	return r;
}

int catalog_page(struct store *s, struct db *db, uint64_t since,
		 struct wire_catalog *ret, struct err *e)
{
	const size_t max = STAGEFS_CATALOG_PAGE_ENTRIES + 1;
	struct page p = {.c.since = since};
	int r = 0;

	memcpy(p.c.store, s->uuid, UUID_TEXT);
	p.c.entry = calloc(max, sizeof(*p.c.entry));
	p.c.removed = calloc(max, sizeof(*p.c.removed));
	p.revision = calloc(max, sizeof(*p.revision));
	p.is_removed = calloc(max, sizeof(*p.is_removed));
	if (!p.c.entry || !p.c.removed || !p.revision || !p.is_removed)
		r = err_set(e, ENOMEM, "out of memory");
	/* Revision and rows out of one snapshot; no lock on writers. */
	if (!r)
		r = db_run(db, e, "BEGIN", "");
	if (!r) {
		r = read_page(&p, db, e);
		db_rollback(db);
	}
	free(p.revision);
	free(p.is_removed);
	if (r)
		wire_catalog_free(&p.c);
	else
		*ret = p.c;
	return r;
}
