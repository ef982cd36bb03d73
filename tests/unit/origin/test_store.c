/* SPDX-License-Identifier: Apache-2.0 */
/* Making, opening and locking a store; settings and the log. */
#include "storetest.h"

#include <sys/file.h>

static void test_init_makes_a_store(void **state)
{
	struct storetest t;
	struct stat st;
	char path[128];

	(void)state;
	storetest_begin(&t);
	assert_true(uuid_valid(t.s->uuid));
	snprintf(path, sizeof(path), "%s/secret.pem", t.store_dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(path, sizeof(path), "%s/objects", t.store_dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0750);
	storetest_end(&t);
}

static void test_key_file_is_the_public_half(void **state)
{
	struct sign_public pub;
	struct storetest t;
	char path[128];

	(void)state;
	storetest_begin(&t);
	snprintf(path, sizeof(path), "%s/key.pub", t.store_dir);
	assert_int_equal(sign_public_load(path, &pub, &t.e), 0);
	assert_memory_equal(pub.b, t.s->key.pub.b, SIGN_KEY_BYTES);
	storetest_end(&t);
}

static void test_init_refuses_a_store_and_other_things(void **state)
{
	struct sign_secret before;
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	before = t.s->key;
	assert_int_equal(store_init(t.store_dir, &t.e), -EEXIST);
	storetest_close(&t);
	storetest_open(&t);
	assert_memory_equal(&before, &t.s->key, sizeof(before));

	assert_int_equal(mkdir(storetest_path(&t, "full"), 0755), 0);
	storetest_make(&t, "full/holiday.jpg", 3, 1);
	assert_int_equal(store_init(storetest_path(&t, "full"), &t.e),
			 -ENOTEMPTY);
	assert_non_null(strstr(t.e.text, "holiday.jpg"));
	storetest_make(&t, "file", 3, 1);
	assert_int_equal(store_init(storetest_path(&t, "file"), &t.e),
			 -ENOTDIR);
	storetest_end(&t);
}

/* What makes a store is the uuid, written last. */
static void test_half_done_init_is_finished(void **state)
{
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	assert_int_equal(db_run(t.db, &t.e,
				"DELETE FROM setting WHERE name='uuid'", ""),
			 0);
	storetest_close(&t);
	assert_int_equal(store_open(t.store_dir, &t.s, &t.e), -ENOENT);
	assert_non_null(strstr(t.e.text, "init"));
	assert_int_equal(store_init(t.store_dir, &t.e), 0);
	storetest_open(&t);
	storetest_end(&t);
}

static void test_open_says_what_to_do(void **state)
{
	struct storetest t;
	struct store *s;
	struct db *db;

	(void)state;
	storetest_begin(&t);
	assert_int_equal(store_open("/nonexistent", &s, &t.e), -ENOENT);
	assert_non_null(strstr(t.e.text, "init"));
	assert_int_equal(origindb_open(t.dir, &db, &t.e), -ENOENT);
	assert_non_null(strstr(t.e.text, "init"));
	storetest_end(&t);
}

static void test_newer_schema_is_refused(void **state)
{
	struct storetest t;
	struct store *s;

	(void)state;
	storetest_begin(&t);
	assert_int_equal(db_run(t.db, &t.e, "PRAGMA user_version=99", ""), 0);
	storetest_close(&t);
	assert_int_equal(store_open(t.store_dir, &s, &t.e), -EPROTONOSUPPORT);
	assert_non_null(strstr(t.e.text, "newer"));
	storetest_end(&t);
}

static void test_one_daemon_only(void **state)
{
	struct storetest t;
	struct store *other;

	(void)state;
	storetest_begin(&t);
	assert_int_equal(store_lock_serve(t.s, &t.e), 0);
	assert_int_equal(store_open(t.store_dir, &other, &t.e), 0);
	assert_int_equal(store_lock_serve(other, &t.e), -EBUSY);
	store_close(t.s);
	t.s = NULL;
	assert_int_equal(store_lock_serve(other, &t.e), 0);
	store_close(other);
	storetest_end(&t);
}

static void test_lock_file_shares_and_excludes(void **state)
{
	struct storetest t;
	int a, b;

	(void)state;
	storetest_begin(&t);
	a = store_lock_file(t.s, "objects.lock", LOCK_SH);
	b = store_lock_file(t.s, "objects.lock", LOCK_SH | LOCK_NB);
	assert_true(a >= 0 && b >= 0);
	assert_int_equal(store_lock_file(t.s, "objects.lock",
					 LOCK_EX | LOCK_NB),
			 -EWOULDBLOCK);
	close(a);
	close(b);
	a = store_lock_file(t.s, "objects.lock", LOCK_EX | LOCK_NB);
	assert_true(a >= 0);
	close(a);
	storetest_end(&t);
}

static void test_settings(void **state)
{
	struct storetest t;
	char *v;

	(void)state;
	storetest_begin(&t);
	assert_int_equal(origindb_setting(t.db, "link", &v), -ENOENT);
	assert_int_equal(origindb_set(t.db, "link", "eth0=10G/s", &t.e), 0);
	assert_int_equal(origindb_set(t.db, "link", "eth1=1G/s", &t.e), 0);
	assert_int_equal(origindb_setting(t.db, "link", &v), 0);
	assert_string_equal(v, "eth1=1G/s");
	free(v);
	storetest_end(&t);
}

static void test_log_keeps_lines_in_order(void **state)
{
	struct storetest t;
	struct sqlite3_stmt *q;

	(void)state;
	storetest_begin(&t);
	assert_int_equal(origindb_log(t.db, NULL, NOW, "sent", "line3", 7,
				      "a/b", "%d bytes", 5),
			 0);
	assert_int_equal(origindb_log(t.db, NULL, NOW, "late", NULL, 0, NULL,
				      "%s", "why"),
			 0);
	assert_int_equal(db_query(t.db, &q, &t.e,
				  "SELECT event,server,order_number,image,text"
				  " FROM log ORDER BY line",
				  ""),
			 0);
	assert_int_equal(db_next(t.db, q, &t.e), 1);
	assert_string_equal(db_col_text(q, 0), "sent");
	assert_string_equal(db_col_text(q, 1), "line3");
	assert_int_equal(db_col_int(q, 2), 7);
	assert_string_equal(db_col_text(q, 4), "5 bytes");
	assert_int_equal(db_next(t.db, q, &t.e), 1);
	assert_true(db_col_null(q, 1) && db_col_null(q, 3));
	db_done(q);
	storetest_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_init_makes_a_store),
		cmocka_unit_test(test_key_file_is_the_public_half),
		cmocka_unit_test(test_init_refuses_a_store_and_other_things),
		cmocka_unit_test(test_half_done_init_is_finished),
		cmocka_unit_test(test_open_says_what_to_do),
		cmocka_unit_test(test_newer_schema_is_refused),
		cmocka_unit_test(test_one_daemon_only),
		cmocka_unit_test(test_lock_file_shares_and_excludes),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_log_keeps_lines_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
