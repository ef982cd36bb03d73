/* SPDX-License-Identifier: Apache-2.0 */
/*
 * origindb.h - the origin's database, STORE/origin.db: its schema, and how
 * the daemon's threads and the CLI open it.
 *
 * Every process and every thread has a handle of its own; writers take the
 * SQLite lock for one short transaction. Who reads a table finds its columns
 * in schema.c, where each is explained.
 */
#ifndef STAGEFS_ORIGIN_DB_ORIGINDB_H
#define STAGEFS_ORIGIN_DB_ORIGINDB_H

#include "common/db.h"

static inline void cleanup_db(struct db **db)
{
	db_close(*db);
}
#define CLEAN_DB __attribute__((cleanup(cleanup_db)))

/* `dir` is the store's folder. -ENOENT: "not a store: run init". */
int origindb_open(const char *dir, struct db **ret, struct err *e);
/* Only for `init`: makes the file. */
int origindb_create(const char *dir, struct db **ret, struct err *e);

/* Settings: text by name. -ENOENT. */
int origindb_setting(struct db *db, const char *name, char **ret);
int origindb_set(struct db *db, const char *name, const char *value,
		 struct err *e);

/*
 * One line in the audit log (`stagefs-origin log`): who was sent what, when,
 * verified or why not. Inside the caller's transaction, if there is one.
 * `server`, `image` may be NULL; `order` 0: none.
 */
int origindb_log(struct db *db, struct err *e, int64_t now_s,
		 const char *event, const char *server, uint64_t order,
		 const char *image, const char *fmt, ...)
	__attribute__((format(printf, 8, 9)));

#endif
