/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows.c - the index's statements on versions: rows, bits, manifests. Opening
 * and the rules are in index.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/db.h"
#include "fs/cache/index_db.h"
#include "fs/cache/point.h"

/* One flush may bring many rows: commits are cut to keep the log short. */
#define COMMIT_MAX_ROWS 16
#define COMMIT_MAX_BYTES (128u << 10)

/* ---- rows ---------------------------------------------------------------- */

static int put_manifest(struct db *db, uint64_t id, const void *data, size_t n)
{
	return db_run(db, NULL, "INSERT OR REPLACE INTO manifest VALUES (?, ?)",
		      "ub", id, data, n);
}

static int drop_id(struct db *db, uint64_t id)
{
	int r = db_run(db, NULL, "DELETE FROM version WHERE id = ?", "u", id);

	if (!r)
		r = db_run(db, NULL, "DELETE FROM manifest WHERE id = ?", "u",
			   id);
	return r;
}

static int insert(struct db *db, const struct index_row *row)
{
	const struct version_ident *id = row->ident;

	return db_run(db, NULL,
		      "INSERT INTO version (seq, id, digest, size, block,"
		      " name, stored_at, complete_at, held_until, wanted,"
		      " bits)"
		      " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		      "uubuusiiiib", row->seq, id->id, id->digest.b,
		      (size_t)DIGEST_BYTES, id->size_bytes,
		      (uint64_t)id->block_bytes, id->name, row->stored_at_s,
		      row->complete_at_s, row->held_until_s,
		      (int64_t)row->wanted, row->bits, row->n_bits_bytes);
}

int index_add(struct index *x, const struct index_row *row,
	      const void *manifest, size_t n)
{
	struct db *db;
	int r = point("row.add");

	if (r)
		return r;
	db = index_enter(x);
	r = db_begin(db, NULL);
	if (!r)
		r = drop_id(db, row->ident->id);
	if (!r)
		r = insert(db, row);
	if (!r && manifest)
		r = put_manifest(db, row->ident->id, manifest, n);
	r = db_end(db, r, NULL);
	index_leave(x);
	return r ? r : point("row.added");
}

int index_move(struct index *x, uint64_t id, uint64_t seq, uint64_t new_seq,
	       int64_t stored_at_s)
{
	struct db *db = index_enter(x);
	int r = db_run(db, NULL,
		       "UPDATE version SET seq = ?, stored_at = ?"
		       " WHERE id = ? AND seq = ?",
		       "uiuu", new_seq, stored_at_s, id, seq);

	index_leave(x);
	return r;
}

int index_hold(struct index *x, struct index_key key, int64_t until_s)
{
	struct db *db = index_enter(x);
	int r = db_run(db, NULL,
		       "UPDATE version SET held_until = ?"
		       " WHERE id = ? AND seq = ?",
		       "iuu", until_s, key.id, key.seq);

	index_leave(x);
	return r;
}

/* ---- bits ---------------------------------------------------------------- */

static int put_one(struct db *db, const struct index_bits *b)
{
	return db_run(db, NULL,
		      "UPDATE version SET bits = ?, complete_at = ?,"
		      " wanted = ? WHERE id = ? AND seq = ? AND deleted = 0",
		      "biiuu", b->bits, b->n_bits_bytes, b->complete_at_s,
		      (int64_t)b->wanted, b->key.id, b->key.seq);
}

/* As many as keep the log within its bound; any prefix may be durable
 * without the rest, each row stands for itself. */
static size_t put_some(const struct index_bits *b, size_t n)
{
	size_t bytes = 0, i = 0;

	while (i < n && i < COMMIT_MAX_ROWS && bytes < COMMIT_MAX_BYTES)
		bytes += b[i++].n_bits_bytes;
	return i;
}

int index_put_bits(struct index *x, const struct index_bits *b, size_t n)
{
	int r = 0;

	while (n > 0 && !r) {
		size_t some = put_some(b, n);
		struct db *db = index_enter(x);

		r = db_begin(db, NULL);
		for (size_t i = 0; i < some && !r; i++)
			r = put_one(db, &b[i]);
		r = db_end(db, r, NULL);
		index_leave(x);
		b += some;
		n -= some;
	}
	return r;
}

int index_get_bits(struct index *x, struct index_key key, uint8_t *bits,
		   size_t n)
{
	struct db *db = index_enter(x);
	struct sqlite3_stmt *q;
	const void *p;
	size_t got;
	int r;

	r = db_query(db, &q, NULL,
		     "SELECT bits FROM version WHERE id = ? AND seq = ?"
		     " AND deleted = 0",
		     "uu", key.id, key.seq);
	if (!r) {
		r = db_next(db, q, NULL);
		if (r == 1) {
			p = db_col_blob(q, 0, &got);
			r = got == n ? 0 : -EUCLEAN;
			if (!r && n)
				memcpy(bits, p, n);
		} else if (r == 0) {
			r = -ENOENT;
		}
		db_done(q);
	}
	index_leave(x);
	return r;
}

/* ---- deletion ------------------------------------------------------------ */

int index_mark(struct index *x, const struct index_key *k, size_t n)
{
	struct db *db;
	int r = point("evict.mark");

	if (r)
		return r;
	db = index_enter(x);
	r = db_begin(db, NULL);
	for (size_t i = 0; i < n && !r; i++)
		r = db_run(db, NULL,
			   "UPDATE version SET deleted = 1"
			   " WHERE id = ? AND seq = ?",
			   "uu", k[i].id, k[i].seq);
	r = db_end(db, r, NULL);
	index_leave(x);
	return r ? r : point("evict.marked");
}

static int put_evicted(struct db *db, const struct index_key *k, size_t n,
		       enum evict_why why)
{
	int64_t now_s = clock_unix_s();
	int r = 0;

	for (size_t i = 0; i < n && !r; i++)
		r = db_run(db, NULL,
			   "INSERT OR REPLACE INTO evicted (id, at, why)"
			   " VALUES (?, ?, ?)",
			   "uii", k[i].id, now_s, (int64_t)why);
	if (!r)
		r = db_run(db, NULL,
			   "DELETE FROM evicted WHERE n <="
			   " (SELECT max(n) FROM evicted) - ?",
			   "i", (int64_t)EVICTED_MAX);
	return r;
}

int index_remove(struct index *x, const struct index_key *k, size_t n,
		 enum evict_why why)
{
	struct db *db;
	int r = point("evict.unrow");

	if (r)
		return r;
	db = index_enter(x);
	r = db_begin(db, NULL);
	for (size_t i = 0; i < n && !r; i++)
		r = drop_id(db, k[i].id);
	if (!r && why != EVICT_UNKNOWN)
		r = put_evicted(db, k, n, why);
	r = db_end(db, r, NULL);
	index_leave(x);
	return r ? r : point("evict.unrowed");
}

int index_evicted(struct index *x, uint64_t id, struct evicted *ret)
{
	struct db *db = index_enter(x);
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, NULL, "SELECT at, why FROM evicted WHERE id = ?",
		     "u", id);
	if (!r) {
		r = db_next(db, q, NULL);
		if (r == 1)
			*ret = (struct evicted){
				.at_s = db_col_int(q, 0),
				.why = (enum evict_why)db_col_int(q, 1)};
		r = r == 1 ? 0 : r == 0 ? -ENOENT : r;
		db_done(q);
	}
	index_leave(x);
	return r;
}

/* ---- manifests ----------------------------------------------------------- */

int index_set_manifest(struct index *x, struct index_key key, const void *data,
		       size_t n)
{
	struct db *db = index_enter(x);
	int r = put_manifest(db, key.id, data, n);

	index_leave(x);
	return r;
}

int index_get_manifest(struct index *x, uint64_t id, void **ret, size_t *ret_n)
{
	struct db *db = index_enter(x);
	struct sqlite3_stmt *q;
	const void *p;
	void *copy = NULL;
	size_t n = 0;
	int r;

	r = db_query(db, &q, NULL, "SELECT data FROM manifest WHERE id = ?",
		     "u", id);
	if (!r) {
		r = db_next(db, q, NULL);
		if (r == 1) {
			p = db_col_blob(q, 0, &n);
			copy = malloc(n ? n : 1);
			r = copy ? 0 : -ENOMEM;
			if (copy && n)
				memcpy(copy, p, n);
		} else if (r == 0) {
			r = -ENOENT;
		}
		db_done(q);
	}
	index_leave(x);
	if (r)
		return r;
	*ret = copy;
	*ret_n = n;
	return 0;
}

int index_drop_manifest(struct index *x, uint64_t id)
{
	struct db *db = index_enter(x);
	int r = db_run(db, NULL, "DELETE FROM manifest WHERE id = ?", "u", id);

	index_leave(x);
	return r;
}
