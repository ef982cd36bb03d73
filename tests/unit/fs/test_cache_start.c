/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who else is at a cache, and what a start finds there: another mount, links
 * that somebody planted, files that nobody knows, damage (C2).
 */
#include "cache_world.h"

/* ---- who else is there --------------------------------------------------- */

static void second_opener(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct err e;

	(void)state;
	assert_int_equal(open_error(&cfg, &e), -EBUSY);
	assert_non_null(strstr(e.text, dir));
	cache_close(c);
	assert_int_equal(open_error(&cfg, &e), 0);
}

static void not_a_folder(void **state)
{
	struct cache_config cfg = config_of(in_dir("file/x"), 8 * MIB);
	struct err e;

	(void)state;
	put_file(in_dir("file"), "x");
	assert_int_equal(open_error(&cfg, &e), -ENOTDIR);
	assert_non_null(strstr(e.text, dir));
}

static void mode_is_private(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct stat st;
	struct err e;

	(void)state;
	chmod(dir, 0755);
	assert_int_equal(open_error(&cfg, &e), 0);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

/* Links that somebody planted are not followed: refused, or removed where
 * the name is ours alone; what they point to stays as it is. */
static void planted_links(void **state)
{
	static const char *const names[] = {"data", "index.db", "lock",
					    "index.db-wal", "index.db-journal",
					    "catalog", "key.pub"};
	struct cache_config cfg = config_of(dir, 8 * MIB);
	char *outside = scratch_dir(), target[512];
	struct version *v;
	struct cache *c;
	struct stat st;
	struct err e;

	(void)state;
	snprintf(target, sizeof(target), "%s/precious", outside);
	put_file(target, "precious");
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		bool folder = strcmp(names[i], "data") == 0;

		remove(in_dir(names[i])); /* from the time before */
		assert_int_equal(symlink(folder ? outside : target,
					 in_dir(names[i])), 0);
		assert_int_equal(open_error(&cfg, &e), -ELOOP);
		assert_non_null(strstr(e.text, names[i]));
		unlink(in_dir(names[i]));
	}

	/* In the place of a data file: before its row, and after. */
	c = must_open(&cfg);
	assert_int_equal(symlink(target, in_dir("data/7")), 0);
	assert_int_equal(fill_id(c, 7, BLOCK), 0);
	assert_int_equal(lstat(in_dir("data/7"), &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(cache_flush(c), 0);
	unlink(in_dir("data/7"));
	assert_int_equal(symlink(target, in_dir("data/7")), 0);
	v = must_get(c, 7, BLOCK);
	assert_int_equal(version_fd(v), -1);
	assert_int_equal(version_read(v, (char[8]){0}, 8, 0), -EIO);
	version_put(v);
	cache_close(c);

	c = must_open(&cfg);
	assert_false(present(c, 7));
	assert_int_equal(lstat(in_dir("data/7"), &st), -1);
	cache_close(c);
	assert_int_equal(stat(target, &st), 0);
	assert_int_equal(st.st_size, 8);
	scratch_remove(outside);
}

/* ---- what start-up finds (C2) -------------------------------------------- */

static void foreign_files(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct stat st;

	(void)state;
	assert_int_equal(fill_id(c, 1, BLOCK), 0);
	cache_close(c);
	put_file(in_dir("data/2"), "no row");
	put_file(in_dir("data/01"), "not a number of ours");
	put_file(in_dir("data/99999999999999999999999"), "too large");
	put_file(in_dir("data/x"), "");
	mkdir(in_dir("data/lost+found"), 0700);
	c = must_open(&cfg);
	assert_int_equal(stat(in_dir("data/1"), &st), 0);
	assert_int_equal(stat(in_dir("data/2"), &st), -1);
	assert_int_equal(stat(in_dir("data/01"), &st), -1);
	assert_int_equal(stat(in_dir("data/99999999999999999999999"), &st), -1);
	assert_int_equal(stat(in_dir("data/x"), &st), -1);
	assert_int_equal(stat(in_dir("data/lost+found"), &st), 0);
	cache_close(c);
}

static void short_and_missing_files(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct version_info info;
	struct version *v;

	(void)state;
	assert_int_equal(fill_id(c, 1, 4 * BLOCK), 0);
	assert_int_equal(fill_id(c, 2, 4 * BLOCK), 0);
	cache_close(c);
	assert_int_equal(truncate(in_dir("data/1"), 2 * BLOCK + 5), 0);
	unlink(in_dir("data/2"));
	for (int i = 0; i < 2; i++) { /* the second time from the index */
		c = must_open(&cfg);
		assert_false(present(c, 2));
		v = must_get(c, 1, 4 * BLOCK);
		assert_true(version_has_all(v, 0, 2));
		assert_int_equal(version_next_stored(v, 2, 4), 4);
		assert_int_equal(cache_info(c, 1, &info), 0);
		assert_false(info.complete);
		version_put(v);
		cache_close(c);
	}
	c = must_open(&cfg);
	v = must_get(c, 1, 4 * BLOCK);
	assert_int_equal(version_reserve(v, 2, 2, RESERVE_READER, NULL, NULL),
			 0);
	assert_int_equal(store(v, 2) | store(v, 3), 0);
	for (uint64_t b = 0; b < 4; b++)
		assert_true(right(v, b));
	version_put(v);
	cache_close(c);
}

/* The kernel would read it to its end (passthrough), not to the image's. */
static void long_file(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct stat st;

	(void)state;
	assert_int_equal(fill_id(c, 1, 4 * BLOCK - 5), 0);
	cache_close(c);
	assert_int_equal(truncate(in_dir("data/1"), 5 * BLOCK), 0);
	c = must_open(&cfg);
	assert_int_equal(stat(in_dir("data/1"), &st), 0);
	assert_int_equal(st.st_size, 4 * BLOCK - 5);
	assert_true(present(c, 1));
	cache_close(c);
}

static void damaged_index(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	char junk[4096];
	struct err e;
	int fd;

	(void)state;
	for (uint64_t id = 1; id <= 20; id++)
		assert_int_equal(fill_id(c, id, BLOCK), 0);
	cache_close(c);
	memset(junk, 0x5a, sizeof(junk));
	/* The rows, then the head of the file. */
	for (int page = 7; page >= 0; page--) {
		fd = open(in_dir("index.db"), O_WRONLY | O_CLOEXEC);
		assert_int_equal(pwrite(fd, junk, sizeof(junk), page * 4096),
				 sizeof(junk));
		close(fd);
		if (page > 1)
			continue;
		assert_int_equal(open_error(&cfg, &e), -EUCLEAN);
		assert_non_null(strstr(e.text, dir));
		assert_non_null(strstr(e.text, "remove"));
	}
	put_file(in_dir("index.db"), "this is not a database at all, is it?");
	assert_int_equal(open_error(&cfg, &e), -EUCLEAN);
	assert_non_null(strstr(e.text, "remove"));
}

static void impossible_rows(void **state)
{
	static const char *const sql[] = {
		"UPDATE version SET block = 12345",
		"UPDATE version SET block = 65536, size = -1",
		"UPDATE version SET size = 65536, bits = zeroblob(100)",
		"UPDATE version SET bits = x'01', digest = x'00'"};
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct err e;

	(void)state;
	assert_int_equal(fill_id(c, 1, BLOCK), 0);
	cache_close(c);
	for (unsigned i = 0; i < sizeof(sql) / sizeof(sql[0]); i++) {
		must_exec(sql[i]);
		assert_int_equal(open_error(&cfg, &e), -EUCLEAN);
		assert_non_null(strstr(e.text, "remove"));
	}
}

static void newer_schema(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct err e;

	(void)state;
	assert_int_equal(open_error(&cfg, &e), 0);
	must_exec("PRAGMA user_version = 99");
	assert_int_equal(open_error(&cfg, &e), -EPROTONOSUPPORT);
	assert_non_null(strstr(e.text, "newer"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(second_opener),
		T(not_a_folder),
		T(mode_is_private),
		T(planted_links),
		T(foreign_files),
		T(short_and_missing_files),
		T(long_file),
		T(damaged_index),
		T(impossible_rows),
		T(newer_schema),
	};

	return cmocka_run_group_tests_name("cache start", tests, NULL, NULL);
}
