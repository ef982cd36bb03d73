/* SPDX-License-Identifier: Apache-2.0 */
/* The database handle: schema steps, refusals, errors as -errno. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "common/db.h"

static const char *const one_step[] = {
	"CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT UNIQUE, data BLOB);",
	NULL};
static const char *const two_steps[] = {
	"CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT UNIQUE, data BLOB);",
	"ALTER TABLE t ADD COLUMN more INTEGER NOT NULL DEFAULT 7;", NULL};
static const char *const broken_step[] = {
	"CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT UNIQUE, data BLOB);",
	"CREATE TABLE u(x); CREATE TABLE t(again);", NULL};

#define APP 0x53475431
static const struct db_schema v1 = {APP, one_step};
static const struct db_schema v2 = {APP, two_steps};
static const struct db_schema broken = {APP, broken_step};
static const struct db_schema other = {APP + 1, one_step};

static char dir[64], path[96];

static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_db.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/x.db", dir);
	return 0;
}

static int tear_down(void **state)
{
	char p[128];

	(void)state;
	for (int i = 0; i < 3; i++) {
		static const char *const tail[] = {"", "-wal", "-shm"};

		snprintf(p, sizeof(p), "%s%s", path, tail[i]);
		unlink(p);
	}
	return rmdir(dir);
}

static void test_round_trip(void **state)
{
	struct sqlite3_stmt *q;
	struct db *db;
	struct err e;
	int64_t n;
	size_t size;

	(void)state;
	assert_int_equal(db_open(path, DB_CREATE, &v1, &db, &e), 0);
	assert_int_equal(db_run(db, &e, "INSERT INTO t VALUES(?,?,?)", "usb",
				UINT64_MAX, "name", "\0\1\2", (size_t)3), 0);
	assert_int_equal(db_run(db, &e, "INSERT INTO t VALUES(?,?,?)", "isb",
				(int64_t)5, NULL, NULL, (size_t)0), 0);
	assert_int_equal(db_last_id(db), 5);
	assert_int_equal(db_changes(db), 1);

	assert_int_equal(db_query(db, &q, &e,
				  "SELECT id,name,data FROM t ORDER BY id", ""),
			 0);
	assert_int_equal(db_next(db, q, &e), 1);
	assert_true(db_col_u64(q, 0) == UINT64_MAX); /* as -1: sorts first */
	assert_string_equal(db_col_text(q, 1), "name");
	assert_memory_equal(db_col_blob(q, 2, &size), "\0\1\2", 3);
	assert_int_equal(size, 3);
	assert_int_equal(db_next(db, q, &e), 1);
	assert_true(db_col_null(q, 1));
	assert_null(db_col_dup(q, 1));
	assert_false(db_col_null(q, 2)); /* an empty blob is not NULL */
	assert_int_equal(db_next(db, q, &e), 0);
	db_done(q);

	assert_int_equal(db_get_int(db, &e, &n, "SELECT count(*) FROM t", ""),
			 0);
	assert_int_equal(n, 2);
	n = 42;
	assert_int_equal(db_get_int(db, &e, &n, "SELECT id FROM t WHERE id=?",
				    "i", (int64_t)99), -ENOENT);
	assert_int_equal(n, 42);
	db_close(db);
}

static void test_durability_settings(void **state)
{
	struct db *db;
	int64_t n;
	struct sqlite3_stmt *q;

	(void)state;
	assert_int_equal(db_open(path, DB_CREATE, &v1, &db, NULL), 0);
	assert_int_equal(db_get_int(db, NULL, &n, "PRAGMA synchronous", ""), 0);
	assert_int_equal(n, 2);
	assert_int_equal(db_get_int(db, NULL, &n, "PRAGMA foreign_keys", ""),
			 0);
	assert_int_equal(n, 1);
	assert_int_equal(db_query(db, &q, NULL, "PRAGMA journal_mode", ""), 0);
	assert_int_equal(db_next(db, q, NULL), 1);
	assert_string_equal(db_col_text(q, 0), "wal");
	db_done(q);
	db_close(db);
}

static void test_transactions(void **state)
{
	struct db *a, *b;
	int64_t before, after, n;

	(void)state;
	assert_int_equal(db_open(path, DB_CREATE, &v1, &a, NULL), 0);
	assert_int_equal(db_open(path, DB_EXISTING, &v1, &b, NULL), 0);
	db_rollback(a); /* harmless outside */
	assert_int_equal(db_begin(a, NULL), 0);
	assert_int_equal(db_run(a, NULL, "INSERT INTO t(id) VALUES(1)", ""),
			 0);
	db_rollback(a);
	assert_int_equal(db_data_version(b, &before), 0);
	assert_int_equal(db_begin(a, NULL), 0);
	assert_int_equal(db_run(a, NULL, "INSERT INTO t(id) VALUES(2)", ""),
			 0);
	assert_int_equal(db_commit(a, NULL), 0);
	assert_int_equal(db_data_version(b, &after), 0);
	assert_int_not_equal(before, after);
	assert_int_equal(db_begin(a, NULL), 0);
	assert_int_equal(db_run(a, NULL, "INSERT INTO t(id) VALUES(4)", ""),
			 0);
	assert_int_equal(db_end(a, -EINVAL, NULL), -EINVAL);
	assert_int_equal(db_begin(a, NULL), 0);
	assert_int_equal(db_run(a, NULL, "INSERT INTO t(id) VALUES(8)", ""),
			 0);
	assert_int_equal(db_end(a, 0, NULL), 0);
	assert_int_equal(db_get_int(b, NULL, &n, "SELECT sum(id) FROM t", ""),
			 0);
	assert_int_equal(n, 2 + 8);
	db_close(a);
	db_close(b);
}

static void test_steps(void **state)
{
	struct db *db;
	struct err e;
	int64_t n;

	(void)state;
	assert_int_equal(db_open(path, DB_CREATE, &v1, &db, &e), 0);
	assert_int_equal(db_run(db, &e, "INSERT INTO t(id) VALUES(1)", ""), 0);
	db_close(db);

	/* Older than the program: only reading cannot bring it forward. */
	assert_int_equal(db_open(path, DB_READ_ONLY, &v2, &db, &e), -EROFS);
	assert_int_equal(db_open(path, DB_EXISTING, &v2, &db, &e), 0);
	assert_int_equal(db_get_int(db, &e, &n, "SELECT more FROM t", ""), 0);
	assert_int_equal(n, 7);
	db_close(db);

	/* Newer than the program: refused, and untouched. */
	assert_int_equal(db_open(path, DB_EXISTING, &v1, &db, &e),
			 -EPROTONOSUPPORT);
	assert_non_null(strstr(e.text, "newer"));
	assert_int_equal(db_open(path, DB_READ_ONLY, &v2, &db, &e), 0);
	db_close(db);
}

static void test_failed_step_leaves_the_one_before(void **state)
{
	struct db *db;
	int64_t n;

	(void)state;
	assert_int_not_equal(db_open(path, DB_CREATE, &broken, &db, NULL), 0);
	assert_int_equal(db_open(path, DB_EXISTING, &v1, &db, NULL), 0);
	assert_int_equal(db_get_int(db, NULL, &n, "SELECT count(*) FROM "
				    "sqlite_schema WHERE name='u'", ""), 0);
	assert_int_equal(n, 0);
	db_close(db);
}

static void write_file(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void test_refusals(void **state)
{
	struct db *db = NULL;
	struct err e;
	sqlite3 *raw;

	(void)state;
	assert_int_equal(db_open(path, DB_EXISTING, &v1, &db, &e), -ENOENT);
	assert_int_equal(db_open("/nonexistent/x.db", DB_CREATE, &v1, &db, &e),
			 -ENOENT);
	write_file("");
	assert_int_equal(db_open(path, DB_EXISTING, &v1, &db, &e), -EUCLEAN);
	write_file("this is a text and no database, and it is long enough for "
		   "the library to look at its first hundred bytes, or so....");
	assert_int_equal(db_open(path, DB_CREATE, &v1, &db, &e), -EUCLEAN);
	unlink(path);

	/* Ours, but of another kind. */
	assert_int_equal(db_open(path, DB_CREATE, &other, &db, &e), 0);
	db_close(db);
	db = NULL;
	assert_int_equal(db_open(path, DB_EXISTING, &v1, &db, &e), -EUCLEAN);

	/* Somebody else's database must stay as it is. */
	unlink(path);
	assert_int_equal(sqlite3_open(path, &raw), SQLITE_OK);
	assert_int_equal(sqlite3_exec(raw, "CREATE TABLE x(y)", 0, 0, 0), 0);
	sqlite3_close(raw);
	assert_int_equal(db_open(path, DB_CREATE, &v1, &db, &e), -EUCLEAN);
	assert_non_null(strstr(e.text, "not one of"));
	assert_null(db);
}

static void test_errors(void **state)
{
	struct db *db;
	struct err e;

	(void)state;
	assert_int_equal(db_open(path, DB_CREATE, &v1, &db, &e), 0);
	assert_int_equal(db_run(db, &e, "INSERT INTO t(id,name) VALUES(1,'a')",
				""), 0);
	assert_int_equal(db_run(db, &e, "INSERT INTO t(id,name) VALUES(2,'a')",
				""), -EEXIST);
	assert_int_equal(db_run(db, &e, "SELECT nonsense FROM t", ""),
			 -EINVAL);
	/* A full database behaves as a full disk. */
	assert_int_equal(db_run(db, &e, "PRAGMA max_page_count=1", ""), 0);
	assert_int_equal(db_run(db, &e, "INSERT INTO t(data) "
				"VALUES(zeroblob(100000))", ""), -ENOSPC);
	assert_non_null(strstr(e.text, "full"));
	db_close(db);

	assert_int_equal(db_open(path, DB_READ_ONLY, &v1, &db, &e), 0);
	assert_int_equal(db_run(db, &e, "DELETE FROM t", ""), -EROFS);
	db_close(db);
}

struct thing {
	char name[8];
	char *copy;
};

static int n_read, n_cleared, fails_at;

static int read_thing(struct sqlite3_stmt *q, void *ret)
{
	struct thing *t = ret;

	db_col_copy(q, 0, t->name, sizeof(t->name));
	t->copy = ++n_read == fails_at ? NULL : strdup(t->name);
	return t->copy ? 0 : -ENOMEM;
}

static void clear_thing(void *thing)
{
	free(((struct thing *)thing)->copy);
	n_cleared++;
}

static void test_rows(void **state)
{
	static const char all[] = "SELECT name FROM t WHERE id<=? ORDER BY id";
	const struct db_row row = {sizeof(struct thing), read_thing,
				   clear_thing};
	struct thing none, *t = &none;
	struct sqlite3_stmt *q;
	struct db *db;
	struct err e;
	size_t n = 7;

	(void)state;
	assert_int_equal(db_open(path, DB_CREATE, &v1, &db, NULL), 0);
	for (int64_t i = 1; i <= 100; i++)
		assert_int_equal(db_run(db, &e, "INSERT INTO t(id,name) VALUES("
					"?1,CASE ?1 WHEN 1 THEN NULL ELSE "
					"'number '||?1 END)", "i", i), 0);
	/* Nothing is left of what was read, nothing is given back. */
	n_read = n_cleared = 0;
	fails_at = 70;
	assert_int_equal(db_query(db, &q, &e, all, "i", INT64_C(100)), 0);
	assert_int_equal(db_rows(db, q, &row, &t, &n, &e), -ENOMEM);
	assert_int_equal(n_cleared, 70);
	assert_string_equal(e.text, "out of memory");
	assert_ptr_equal(t, &none);
	assert_int_equal(n, 7);

	fails_at = 0;
	assert_int_equal(db_query(db, &q, &e, all, "i", INT64_C(100)), 0);
	assert_int_equal(db_rows(db, q, &row, &t, &n, &e), 0);
	assert_int_equal(n, 100);
	assert_string_equal(t[0].name, "");
	assert_string_equal(t[98].name, "number ");
	while (n)
		clear_thing(&t[--n]);
	free(t);
	assert_int_equal(db_query(db, &q, &e, all, "i", INT64_C(0)), 0);
	assert_int_equal(db_rows(db, q, &row, &t, &n, &e), 0);
	assert_int_equal(n, 0);
	assert_null(t);
	db_close(db);
}

static void test_busy(void **state)
{
	struct db *a, *b;

	(void)state;
	assert_int_equal(db_open(path, DB_CREATE, &v1, &a, NULL), 0);
	assert_int_equal(db_open(path, DB_EXISTING, &v1, &b, NULL), 0);
	assert_int_equal(db_begin(a, NULL), 0);
	assert_int_equal(db_run(b, NULL, "PRAGMA busy_timeout=1", ""), 0);
	assert_int_equal(db_begin(b, NULL), -EBUSY);
	assert_int_equal(db_commit(a, NULL), 0);
	assert_int_equal(db_begin(b, NULL), 0);
	db_rollback(b);
	db_close(a);
	db_close(b);
}

/* Bytes overwritten in the middle: told as damage, no crash. */
static void test_damage(void **state)
{
	struct sqlite3_stmt *q;
	char junk[4096];
	struct stat st;
	struct db *db;
	struct err e;
	FILE *f;
	int r;

	(void)state;
	assert_int_equal(db_open(path, DB_CREATE, &v1, &db, &e), 0);
	for (int i = 0; i < 50; i++)
		assert_int_equal(db_run(db, &e, "INSERT INTO t(data) "
					"VALUES(randomblob(2000))", ""), 0);
	db_close(db);
	assert_int_equal(stat(path, &st), 0);
	memset(junk, 0xa5, sizeof(junk));
	f = fopen(path, "r+");
	assert_non_null(f);
	for (long at = 4096; at + 4096 <= st.st_size; at += 4096) {
		fseek(f, at, SEEK_SET);
		fwrite(junk, 1, sizeof(junk), f);
	}
	fclose(f);
	r = db_open(path, DB_EXISTING, &v1, &db, &e);
	if (r == 0) {
		r = db_query(db, &q, &e, "SELECT data FROM t", "");
		if (r == 0) {
			do
				r = db_next(db, q, &e);
			while (r == 1);
			db_done(q);
		}
		db_close(db);
	}
	assert_int_equal(r, -EUCLEAN);
	assert_non_null(strstr(e.text, "damaged"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_round_trip),
		T(test_durability_settings),
		T(test_transactions),
		T(test_steps),
		T(test_rows),
		T(test_failed_step_leaves_the_one_before),
		T(test_refusals),
		T(test_errors),
		T(test_busy),
		T(test_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
