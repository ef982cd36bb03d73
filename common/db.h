/* SPDX-License-Identifier: Apache-2.0 */
/*
 * db.h - SQLite as both programs use it; the only user of sqlite3_open.
 *
 * WAL, synchronous=FULL (a commit is durable), foreign keys on, busy timeout
 * 10 s. The schema is a list of steps; user_version counts the steps done. A
 * database with more steps than the program knows is refused with
 * -EPROTONOSUPPORT ("made by a newer stagefs: install ..."), and application_id
 * tells a database of ours from any other file.
 *
 * A struct db belongs to one thread at a time. Prepared statements are cached
 * by their text's address (string literals). Text and blobs bound are copied.
 */
#ifndef STAGEFS_COMMON_DB_H
#define STAGEFS_COMMON_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct db;
struct sqlite3_stmt;

struct db_schema {
	uint32_t application_id;
	const char *const *step; /* SQL scripts, NULL-terminated */
};

enum db_mode { DB_CREATE, DB_EXISTING, DB_READ_ONLY };

int db_open(const char *path, enum db_mode mode, const struct db_schema *s,
	    struct db **ret, struct err *e);
void db_close(struct db *db);

/*
 * Runs one statement to its end. `types` has a letter per argument:
 * i int64_t, u uint64_t (kept as its bit pattern), s const char * (NULL is
 * NULL), b const void *, size_t (blob), n (no argument: NULL).
 * Returns 0 or -errno: SQLITE_FULL is -ENOSPC, BUSY -EBUSY, IOERR -EIO,
 * CORRUPT/NOTADB -EUCLEAN, CONSTRAINT -EEXIST, READONLY -EROFS.
 */
int db_run(struct db *db, struct err *e, const char *sql, const char *types,
	   ...);

/*
 * A query: db_query, then db_next until it returns 0 (1: a row), columns with
 * db_col_*, then db_done (always). One cursor per statement text at a time.
 */
int db_query(struct db *db, struct sqlite3_stmt **ret, struct err *e,
	     const char *sql, const char *types, ...);
int db_next(struct db *db, struct sqlite3_stmt *q, struct err *e);
void db_done(struct sqlite3_stmt *q);
int64_t db_col_int(struct sqlite3_stmt *q, int col);
uint64_t db_col_u64(struct sqlite3_stmt *q, int col);
/* Valid until db_next or db_done. NULL for NULL. */
const char *db_col_text(struct sqlite3_stmt *q, int col);
const void *db_col_blob(struct sqlite3_stmt *q, int col, size_t *ret_n);
bool db_col_null(struct sqlite3_stmt *q, int col);
/* strdup of a text column; NULL for NULL. */
char *db_col_dup(struct sqlite3_stmt *q, int col);
/* The text, cut to `size` bytes with its end; "" for NULL. */
void db_col_copy(struct sqlite3_stmt *q, int col, char *ret, size_t size);

/* How a row becomes a thing of `size` bytes. */
struct db_row {
	size_t size;
	/* Fills one; -ENOMEM leaves what `clear` takes. */
	int (*read)(struct sqlite3_stmt *q, void *ret);
	void (*clear)(void *thing); /* NULL: nothing to free in it */
};

/* All rows of a query as an array, malloc'd (*ret, a pointer to such things,
 * is NULL if there are none), and db_done. */
int db_rows(struct db *db, struct sqlite3_stmt *q, const struct db_row *row,
	    void *ret, size_t *ret_n, struct err *e);

/* First column of the first row; -ENOENT if there is none. */
int db_get_int(struct db *db, struct err *e, int64_t *ret, const char *sql,
	       const char *types, ...);

/* BEGIN IMMEDIATE; COMMIT; ROLLBACK (never fails, harmless outside). */
int db_begin(struct db *db, struct err *e);
int db_commit(struct db *db, struct err *e);
void db_rollback(struct db *db);
/* The end of a transaction that came to `r`: COMMIT if that is 0, else ROLLBACK
 * and `r`. */
int db_end(struct db *db, int r, struct err *e);
int64_t db_last_id(struct db *db);
int64_t db_changes(struct db *db);
/* Changes whenever another connection has committed. */
int db_data_version(struct db *db, int64_t *ret);

#endif
