/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index.c - the index is a table, not a log of our own: SQLite's commit is
 * the crash safety of C1 and C2, and a person can look into it.
 *
 * One handle, passed from thread to thread by a flag and a condition: a mutex
 * would have to be held over the disk. A second handle for reading was
 * rejected, a manifest that waits for one commit is not worth its pages.
 *
 * The bitmap stands in the row at its full size from the beginning, so an
 * update never makes the database grow. The manifest has a table of its own:
 * every update of a row would write it again.
 *
 * The write-ahead log is kept short, because it counts as used space: a
 * checkpoint every 16 pages, and cut back after a large transaction.
 *
 * The index has to work on a full disk, or nothing could be evicted or
 * forgotten there (C6). So each start writes and deletes a row of 128 KiB:
 * from then on the log has its blocks, and the database free pages.
 */
#include "fs/cache/index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/bitmap.h"
#include "common/cleanup.h"
#include "common/db.h"
#include "common/limits.h"
#include "fs/cache/index_db.h"
#include "fs/cache/space.h"
#include "fs/locks.h"

#define INDEX_APPLICATION_ID 0x53474643 /* "SGFC" */

static const char *const steps[] = {
	"CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);"
	"CREATE TABLE version ("
	" seq INTEGER PRIMARY KEY," /* stored order */
	" id INTEGER NOT NULL UNIQUE,"
	" digest BLOB NOT NULL,"
	" size INTEGER NOT NULL,"
	" block INTEGER NOT NULL,"
	" name TEXT NOT NULL,"
	" stored_at INTEGER NOT NULL,"
	" complete_at INTEGER NOT NULL DEFAULT 0,"
	" held_until INTEGER NOT NULL DEFAULT 0,"
	" deleted INTEGER NOT NULL DEFAULT 0,"
	" bits BLOB NOT NULL);"
	"CREATE TABLE manifest (id INTEGER PRIMARY KEY, data BLOB NOT NULL);",
	"ALTER TABLE version ADD COLUMN wanted INTEGER NOT NULL DEFAULT 0;"
	"CREATE TABLE evicted ("
	" n INTEGER PRIMARY KEY," /* as they went */
	" id INTEGER NOT NULL UNIQUE,"
	" at INTEGER NOT NULL,"
	" why INTEGER NOT NULL);",
	NULL};

static const struct db_schema schema = {
	.application_id = INDEX_APPLICATION_ID, .step = steps};

/* ---- ownership of the handle --------------------------------------------- */

struct db *index_enter(struct index *x)
{
	lock_take(&x->lock);
	while (x->owned)
		cond_wait(&x->free, &x->lock);
	x->owned = true;
	lock_give(&x->lock);
	return x->db;
}

void index_leave(struct index *x)
{
	lock_take(&x->lock);
	x->owned = false;
	cond_wake_one(&x->free);
	lock_give(&x->lock);
}

/* ---- opening ------------------------------------------------------------- */

int index_damaged(const char *dir, struct err *e)
{
	char why[256];

	snprintf(why, sizeof(why), "%.255s", e ? e->text : "");
	return err_set(e, EUCLEAN,
		       "%s: the index is damaged: remove %s/index.db* and "
		       "%s/data to start with an empty cache (%s)",
		       dir, dir, dir, why);
}

static int tune(struct db *db, struct err *e)
{
	int r = db_run(db, e, "PRAGMA wal_autocheckpoint = 16", "");

	if (!r)
		r = db_run(db, e, "PRAGMA journal_size_limit = 262144", "");
	if (!r)
		r = db_run(db, e,
			   "INSERT OR REPLACE INTO meta"
			   " VALUES ('', zeroblob(131072))",
			   "");
	if (r == -ENOSPC) /* what it has can be read all the same */
		return 0;
	if (!r)
		r = db_run(db, e, "DELETE FROM meta WHERE name = ''", "");
	return r;
}

int index_open(int cache_fd, const char *dir, struct index **ret, struct err *e)
{
	CLEAN_FREE char *path = NULL;
	struct db *db = NULL;
	struct index *x;
	int r;

	if (asprintf(&path, "%s/index.db", dir) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = db_open(path, DB_CREATE, &schema, &db, e);
	if (!r)
		r = tune(db, e);
	if (r) {
		db_close(db);
		return r == -EUCLEAN ? index_damaged(dir, e) : r;
	}
	x = calloc(1, sizeof(*x));
	if (!x) {
		db_close(db);
		return -ENOMEM;
	}
	x->cache_fd = cache_fd;
	x->db = db;
	lock_init(&x->lock, LOCK_CACHE_DB);
	cond_init(&x->free);
	*ret = x;
	return 0;
}

void index_close(struct index *x)
{
	if (!x)
		return;
	db_close(x->db);
	cond_destroy(&x->free);
	lock_destroy(&x->lock);
	free(x);
}

uint64_t index_file_bytes(struct index *x)
{
	/* The last two are not ours, but as small as constant. */
	static const char *const names[] = {"index.db", "index.db-wal",
					    "index.db-shm", "key.pub", "lock"};
	uint64_t sum = 0;
	struct stat st;

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (fstatat(x->cache_fd, names[i], &st,
			    AT_SYMLINK_NOFOLLOW) == 0)
			sum += space_block((uint64_t)st.st_size);
	return sum;
}

/* ---- loading ------------------------------------------------------------- */

bool index_ident_sane(const struct version_ident *id)
{
	if (id->id == 0 || id->block_bytes < STAGEFS_BLOCK_MIN_BYTES ||
	    id->block_bytes > STAGEFS_BLOCK_MAX_BYTES ||
	    (id->block_bytes & (id->block_bytes - 1)) ||
	    id->size_bytes > STAGEFS_IMAGE_MAX_BYTES)
		return false;
	return manifest_block_count(id->size_bytes, id->block_bytes) <=
	       STAGEFS_MAX_BLOCKS;
}

/* What we never write is damage: sizes are trusted from here on. */
static bool row_sane(const struct version_ident *id, size_t digest_n,
		     size_t bits_n)
{
	return index_ident_sane(id) && digest_n == DIGEST_BYTES &&
	       bits_n == bitmap_bytes(manifest_block_count(id->size_bytes,
							   id->block_bytes));
}

static int load_row(struct sqlite3_stmt *q,
		    int (*row)(void *ctx, struct index_row *row), void *ctx)
{
	struct version_ident id = {.id = db_col_u64(q, 1),
				   .size_bytes = db_col_u64(q, 3),
				   .block_bytes = (uint32_t)db_col_u64(q, 4)};
	struct index_row out = {.seq = db_col_u64(q, 0),
				.ident = &id,
				.stored_at_s = db_col_int(q, 6),
				.complete_at_s = db_col_int(q, 7),
				.held_until_s = db_col_int(q, 8),
				.deleted = db_col_int(q, 9) != 0,
				.wanted = db_col_int(q, 11) != 0};
	const char *name = db_col_text(q, 5);
	size_t digest_n;
	const void *digest = db_col_blob(q, 2, &digest_n);

	out.bits = db_col_blob(q, 10, &out.n_bits_bytes);
	if (!name || !row_sane(&id, digest_n, out.n_bits_bytes))
		return -EUCLEAN;
	memcpy(id.digest.b, digest, DIGEST_BYTES);
	snprintf(id.name, sizeof(id.name), "%s", name);
	return row(ctx, &out);
}

int index_load(struct index *x, int (*row)(void *ctx, struct index_row *row),
	       void *ctx, struct err *e)
{
	struct db *db = index_enter(x);
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, e,
		     "SELECT seq, id, digest, size, block, name, stored_at,"
		     " complete_at, held_until, deleted, bits, wanted"
		     " FROM version ORDER BY seq",
		     "");
	if (!r) {
		while ((r = db_next(db, q, e)) == 1) {
			r = load_row(q, row, ctx);
			if (r) {
				err_set(e, -r, "a row of the index: %s",
					strerror(-r));
				break;
			}
		}
		db_done(q);
	}
	index_leave(x);
	return r;
}

/* ---- facts --------------------------------------------------------------- */

int index_meta_get(struct index *x, const char *name, char **ret)
{
	struct db *db = index_enter(x);
	struct sqlite3_stmt *q;
	char *value = NULL;
	int r;

	r = db_query(db, &q, NULL, "SELECT value FROM meta WHERE name = ?", "s",
		     name);
	if (!r) {
		r = db_next(db, q, NULL);
		if (r == 1) {
			value = db_col_dup(q, 0);
			r = value ? 0 : -ENOMEM;
		} else if (r == 0) {
			r = -ENOENT;
		}
		db_done(q);
	}
	index_leave(x);
	if (!r)
		*ret = value;
	return r;
}

int index_meta_set(struct index *x, const char *name, const char *value)
{
	struct db *db = index_enter(x);
	int r = db_run(db, NULL, "INSERT OR REPLACE INTO meta VALUES (?, ?)",
		       "ss", name, value);

	index_leave(x);
	return r;
}
