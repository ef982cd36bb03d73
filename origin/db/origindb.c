/* SPDX-License-Identifier: Apache-2.0 */
/*
 * origindb.c - opening STORE/origin.db, settings, and the audit log.
 */
#include "origin/db/origindb.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "origin/db/schema.h"

#define LOG_TEXT_BYTES 1024

int origindb_open(const char *dir, struct db **ret, struct err *e)
{
	CLEAN_FREE char *path = NULL;

	if (asprintf(&path, "%s/origin.db", dir) < 0) {
		path = NULL;
		return err_set(e, ENOMEM, "out of memory");
	}
	/* SQLite would only say that it cannot open it. Even to read takes a
	 * lock that is written. */
	if (access(path, F_OK) && errno != EACCES)
		return err_set(e, errno,
			       "%s is not a store: run `stagefs-origin -C %s "
			       "init` or name another with -C", dir, dir);
	if (access(path, R_OK | W_OK) && errno == EACCES)
		return err_set(e, EACCES, "%s: you may not use this store: run "
			       "it as the store's owner, or as root", dir);
	return db_open(path, DB_EXISTING, &origin_schema, ret, e);
}

int origindb_create(const char *dir, struct db **ret, struct err *e)
{
	CLEAN_FREE char *path = NULL;

	if (asprintf(&path, "%s/origin.db", dir) < 0) {
		path = NULL;
		return err_set(e, ENOMEM, "out of memory");
	}
	return db_open(path, DB_CREATE, &origin_schema, ret, e);
}

int origindb_setting(struct db *db, const char *name, char **ret)
{
	struct sqlite3_stmt *q;
	int r;

	r = db_query(db, &q, NULL, "SELECT value FROM setting WHERE name=?",
		     "s", name);
	if (r)
		return r;
	r = db_next(db, q, NULL);
	if (r == 1) {
		char *value = db_col_dup(q, 0);

		r = value ? 0 : -ENOMEM;
		if (value)
			*ret = value;
	} else if (r == 0) {
		r = -ENOENT;
	}
	db_done(q);
	return r;
}

int origindb_set(struct db *db, const char *name, const char *value,
		 struct err *e)
{
	return db_run(db, e,
		      "INSERT INTO setting(name,value) VALUES(?1,?2)"
		      " ON CONFLICT(name) DO UPDATE SET value=?2",
		      "ss", name, value);
}

int origindb_log(struct db *db, struct err *e, int64_t now_s,
		 const char *event, const char *server, uint64_t order,
		 const char *image, const char *fmt, ...)
{
	char text[LOG_TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return db_run(db, e,
		      "INSERT INTO log(time_s,event,server,order_number,image,"
		      "text) VALUES(?,?,?,?,?,?)",
		      "issuss", now_s, event, server, order, image, text);
}
