/* SPDX-License-Identifier: Apache-2.0 */
/*
 * db.c - a handle of SQLite with a cache of prepared statements.
 *
 * Statements are found by the address of their text: callers pass literals,
 * so hashing the text would buy nothing but time. The schema steps run each in
 * a transaction of its own that also counts it in user_version, so a program
 * that is killed between two steps goes on at the right one. application_id is
 * looked at before anything is written: a wrong path given by hand must not
 * turn somebody's database into one of ours.
 *
 * Rejected: one transaction per script with IF NOT EXISTS (hides half-made
 * schemas), sharing one handle behind a lock (the lock would be held over the
 * disk).
 */
#include "common/db.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/array.h"
#include "common/cleanup.h"

#define BUSY_TIMEOUT_MS 10000

struct cached {
	const char *sql; /* key: the address */
	sqlite3_stmt *stmt;
	UT_hash_handle hh;
};

struct db {
	sqlite3 *sql;
	char *path;
	struct cached *cache;
};

/* ---- errors ------------------------------------------------------------ */

static int sqlite_errno(sqlite3 *sql, int rc)
{
	int sys = sql ? sqlite3_system_errno(sql) : 0;

	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_TOOBIG:
		return -E2BIG;
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -EACCES;
	case SQLITE_CANTOPEN:
		return sys > 0 ? -sys : -ENOENT;
	case SQLITE_IOERR:
		/* A quota or a full disk may come as a failed write or as a
		 * failed ftruncate of the WAL's index. */
		return sys == ENOSPC || sys == EDQUOT ? -ENOSPC : -EIO;
	default:
		return -EINVAL; /* wrong SQL, misuse: a bug */
	}
}

static int fail(struct db *db, int rc, struct err *e)
{
	int r = sqlite_errno(db->sql, rc);

	switch (r) {
	case 0:
		return 0;
	case -ENOSPC:
		return err_set(e, ENOSPC, "%s: the disk is full", db->path);
	case -EBUSY:
		return err_set(e, EBUSY, "%s: in use by another process for "
			       "more than %d s", db->path,
			       BUSY_TIMEOUT_MS / 1000);
	case -EUCLEAN:
		return err_set(e, EUCLEAN, "%s: damaged, or not a database: %s",
			       db->path, sqlite3_errmsg(db->sql));
	default:
		return err_set(e, -r, "%s: %s", db->path,
			       r == -EIO || r == -ENOENT || r == -EACCES
				       ? strerror(-r)
				       : sqlite3_errmsg(db->sql));
	}
}

/* ---- statements -------------------------------------------------------- */

static int exec(struct db *db, const char *script, struct err *e)
{
	return fail(db, sqlite3_exec(db->sql, script, NULL, NULL, NULL), e);
}

static int prepare(struct db *db, const char *sql, sqlite3_stmt **ret,
		   struct err *e)
{
	struct cached *c;
	int rc;

	HASH_FIND_PTR(db->cache, &sql, c);
	if (c) {
		/* One cursor per text at a time. */
		assert(!sqlite3_stmt_busy(c->stmt));
		*ret = c->stmt;
		return 0;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, ENOMEM, "%s: out of memory", db->path);
	c->sql = sql;
	rc = sqlite3_prepare_v3(db->sql, sql, -1, SQLITE_PREPARE_PERSISTENT,
				&c->stmt, NULL);
	if (rc != SQLITE_OK) {
		free(c);
		return fail(db, rc, e);
	}
	HASH_ADD_PTR(db->cache, sql, c);
	*ret = c->stmt;
	return 0;
}

static int bind(sqlite3_stmt *q, const char *types, va_list *ap)
{
	int rc = SQLITE_OK;

	assert((int)strlen(types) == sqlite3_bind_parameter_count(q));
	for (int i = 1; *types && rc == SQLITE_OK; i++, types++) {
		const void *p;

		switch (*types) {
		case 'i':
			rc = sqlite3_bind_int64(q, i, va_arg(*ap, int64_t));
			break;
		case 'u':
			rc = sqlite3_bind_int64(
				q, i, (int64_t)va_arg(*ap, uint64_t));
			break;
		case 's':
			p = va_arg(*ap, const char *);
			rc = sqlite3_bind_text(q, i, p, -1, SQLITE_TRANSIENT);
			break;
		case 'b':
			p = va_arg(*ap, const void *);
			/* A null pointer would bind NULL; no bytes are a blob
			 * of no bytes. */
			rc = sqlite3_bind_blob64(q, i, p ? p : "",
						 va_arg(*ap, size_t),
						 SQLITE_TRANSIENT);
			break;
		case 'n':
			rc = sqlite3_bind_null(q, i);
			break;
		default:
			assert(!"letter of a bound argument");
		}
	}
	return rc;
}

static int start(struct db *db, sqlite3_stmt **ret, struct err *e,
		 const char *sql, const char *types, va_list *ap)
{
	sqlite3_stmt *q = NULL;
	int rc, r;

	r = prepare(db, sql, &q, e);
	if (r)
		return r;
	rc = bind(q, types ? types : "", ap);
	if (rc != SQLITE_OK) {
		r = fail(db, rc, e);
		db_done(q);
		return r;
	}
	*ret = q;
	return 0;
}

int db_run(struct db *db, struct err *e, const char *sql, const char *types,
	   ...)
{
	sqlite3_stmt *q;
	va_list ap;
	int r;

	va_start(ap, types);
	r = start(db, &q, e, sql, types, &ap);
	va_end(ap);
	if (r)
		return r;
	do
		r = db_next(db, q, e);
	while (r == 1);
	db_done(q);
	return r;
}

int db_query(struct db *db, struct sqlite3_stmt **ret, struct err *e,
	     const char *sql, const char *types, ...)
{
	va_list ap;
	int r;

	va_start(ap, types);
	r = start(db, ret, e, sql, types, &ap);
	va_end(ap);
	return r;
}

int db_next(struct db *db, struct sqlite3_stmt *q, struct err *e)
{
	int rc = sqlite3_step(q);

	if (rc == SQLITE_ROW)
		return 1;
	return fail(db, rc, e);
}

void db_done(struct sqlite3_stmt *q)
{
	if (!q)
		return;
	sqlite3_reset(q);
	sqlite3_clear_bindings(q);
}

int64_t db_col_int(struct sqlite3_stmt *q, int col)
{
	return sqlite3_column_int64(q, col);
}

uint64_t db_col_u64(struct sqlite3_stmt *q, int col)
{
	return (uint64_t)sqlite3_column_int64(q, col);
}

const char *db_col_text(struct sqlite3_stmt *q, int col)
{
	return (const char *)sqlite3_column_text(q, col);
}

const void *db_col_blob(struct sqlite3_stmt *q, int col, size_t *ret_n)
{
	const void *p = sqlite3_column_blob(q, col);

	*ret_n = (size_t)sqlite3_column_bytes(q, col);
	return p;
}

bool db_col_null(struct sqlite3_stmt *q, int col)
{
	return sqlite3_column_type(q, col) == SQLITE_NULL;
}

char *db_col_dup(struct sqlite3_stmt *q, int col)
{
	const char *s = db_col_text(q, col);

	return s ? strdup(s) : NULL;
}

void db_col_copy(struct sqlite3_stmt *q, int col, char *ret, size_t size)
{
	const char *s = db_col_text(q, col);

	ret[0] = '\0';
	if (s)
		strncat(ret, s, size - 1);
}

int db_rows(struct db *db, struct sqlite3_stmt *q, const struct db_row *row,
	    void *ret, size_t *ret_n, struct err *e)
{
	size_t n = 0, room = 0;
	char *list = NULL;
	int r;

	while ((r = db_next(db, q, e)) == 1) {
		r = array_grow(&list, n, &room, row->size);
		if (!r)
			r = row->read(q, list + n++ * row->size);
		if (r) {
			err_set(e, -r, "out of memory");
			break;
		}
	}
	db_done(q);
	if (r) {
		while (row->clear && n)
			row->clear(list + --n * row->size);
		free(list);
		return r;
	}
	memcpy(ret, &list, sizeof(list)); /* of whatever type it points to */
	*ret_n = n;
	return 0;
}

int db_get_int(struct db *db, struct err *e, int64_t *ret, const char *sql,
	       const char *types, ...)
{
	sqlite3_stmt *q;
	va_list ap;
	int r;

	va_start(ap, types);
	r = start(db, &q, e, sql, types, &ap);
	va_end(ap);
	if (r)
		return r;
	r = db_next(db, q, e);
	if (r == 1) {
		*ret = sqlite3_column_int64(q, 0);
		r = 0;
	} else if (r == 0) {
		r = err_set(e, ENOENT, "%s: no such row", db->path);
	}
	db_done(q);
	return r;
}

/* ---- transactions ------------------------------------------------------ */

int db_begin(struct db *db, struct err *e)
{
	return db_run(db, e, "BEGIN IMMEDIATE", "");
}

int db_commit(struct db *db, struct err *e)
{
	int r = db_run(db, e, "COMMIT", "");

	/* SQLite leaves the transaction open after some failures. */
	if (r)
		db_rollback(db);
	return r;
}

void db_rollback(struct db *db)
{
	if (!sqlite3_get_autocommit(db->sql))
		db_run(db, NULL, "ROLLBACK", "");
}

int db_end(struct db *db, int r, struct err *e)
{
	if (!r)
		return db_commit(db, e);
	db_rollback(db);
	return r;
}

int64_t db_last_id(struct db *db)
{
	return sqlite3_last_insert_rowid(db->sql);
}

int64_t db_changes(struct db *db)
{
	return sqlite3_changes64(db->sql);
}

int db_data_version(struct db *db, int64_t *ret)
{
	return db_get_int(db, NULL, ret, "PRAGMA data_version", "");
}

/* ---- opening ----------------------------------------------------------- */

static int64_t count_steps(const struct db_schema *s)
{
	int64_t n = 0;

	while (s->step[n])
		n++;
	return n;
}

/* Is it ours, and not newer than we are? *ret: steps done. */
static int check_kind(struct db *db, const struct db_schema *s, int64_t *ret,
		      struct err *e)
{
	int64_t id, version, tables;
	int r;

	r = db_get_int(db, e, &id, "PRAGMA application_id", "");
	if (!r)
		r = db_get_int(db, e, &version, "PRAGMA user_version", "");
	if (!r)
		r = db_get_int(db, e, &tables,
			       "SELECT count(*) FROM sqlite_schema", "");
	if (r)
		return r;
	if ((uint32_t)id != s->application_id &&
	    (id != 0 || version != 0 || tables != 0))
		return err_set(e, EUCLEAN, "%s: a database, but not one of "
			       "this program", db->path);
	if (version < 0 || version > count_steps(s))
		return err_set(e, EPROTONOSUPPORT, "%s: made by a newer "
			       "stagefs: install that version or a later one",
			       db->path);
	*ret = version;
	return 0;
}

static int run_step(struct db *db, const struct db_schema *s, int64_t step,
		    struct err *e)
{
	char pragma[96];
	int64_t done;
	int r;

	r = db_begin(db, e);
	if (r)
		return r;
	/* Another process may have done it while this one waited. */
	r = check_kind(db, s, &done, e);
	if (r || done > step)
		return db_end(db, r, e);
	snprintf(pragma, sizeof(pragma),
		 "PRAGMA application_id=%d; PRAGMA user_version=%d",
		 (int)s->application_id, (int)step + 1);
	r = exec(db, s->step[step], e);
	if (!r)
		r = exec(db, pragma, e);
	return db_end(db, r, e);
}

static int set_up(struct db *db, enum db_mode mode, const struct db_schema *s,
		  struct err *e)
{
	int64_t done;
	int r;

	sqlite3_busy_timeout(db->sql, BUSY_TIMEOUT_MS);
	sqlite3_db_config(db->sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	r = check_kind(db, s, &done, e);
	if (!r && done == 0 && mode == DB_EXISTING)
		return err_set(e, EUCLEAN, "%s: an empty file, not a database",
			       db->path);
	if (!r && done < count_steps(s) && mode == DB_READ_ONLY)
		return err_set(e, EROFS, "%s: made by an older stagefs and "
			       "opened for reading only: run a command that "
			       "writes first", db->path);
	if (!r && mode != DB_READ_ONLY)
		r = exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
			 e);
	if (!r)
		r = exec(db, "PRAGMA foreign_keys=ON;"
			 "PRAGMA trusted_schema=OFF", e);
	for (int64_t i = done; !r && i < count_steps(s); i++)
		r = run_step(db, s, i, e);
	return r;
}

int db_open(const char *path, enum db_mode mode, const struct db_schema *s,
	    struct db **ret, struct err *e)
{
	static const int flags[] = {
		[DB_CREATE] = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
		[DB_EXISTING] = SQLITE_OPEN_READWRITE,
		[DB_READ_ONLY] = SQLITE_OPEN_READONLY,
	};
	struct db *db = calloc(1, sizeof(*db));
	int r;

	if (db)
		db->path = strdup(path);
	if (!db || !db->path) {
		free(db);
		return err_set(e, ENOMEM, "%s: out of memory", path);
	}
	r = sqlite3_open_v2(path, &db->sql,
			    flags[mode] | SQLITE_OPEN_NOMUTEX |
				    SQLITE_OPEN_EXRESCODE,
			    NULL);
	r = fail(db, r, e);
	if (!r)
		r = set_up(db, mode, s, e);
	if (r) {
		db_close(db);
		return r;
	}
	*ret = db;
	return 0;
}

void db_close(struct db *db)
{
	struct cached *c, *next;

	if (!db)
		return;
	HASH_ITER(hh, db->cache, c, next)
	{
		HASH_DEL(db->cache, c);
		sqlite3_finalize(c->stmt);
		free(c);
	}
	sqlite3_close(db->sql);
	free(db->path);
	free(db);
}
