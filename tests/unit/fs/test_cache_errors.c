/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What disk, people and other processes do to a cache: full and read-only
 * file systems (real ones, mounted in a namespace of our own), failing calls
 * (by point.h), links planted in the folder, damage, a second opener.
 */
#include "cache_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <time.h>

static char *dir;

static int setup(void **state)
{
	(void)state;
	dir = scratch_dir();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	set_point(NULL);
	umount2(dir, MNT_DETACH);
	scratch_remove(dir);
	return 0;
}

static const char *in_dir(const char *name)
{
	static char path[4][512];
	static unsigned i;

	i = (i + 1) % 4;
	snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
	return path[i];
}

static void put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static int open_error(const struct cache_config *cfg, struct err *e)
{
	struct cache *c = NULL;
	int r = cache_open(cfg, &c, e);

	if (!r)
		cache_close(c);
	return r;
}

static void must_exec(const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(in_dir("index.db"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* ---- faults by name ------------------------------------------------------ */

static pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;
static const char *fault_at;
static int fault, fault_times; /* -1: always */

static int inject(const char *name)
{
	int r = 0;

	pthread_mutex_lock(&fault_lock);
	if (fault_at && strcmp(name, fault_at) == 0 && fault_times != 0) {
		fault_times -= fault_times > 0;
		r = fault;
	}
	pthread_mutex_unlock(&fault_lock);
	return r;
}

static void inject_at(const char *name, int error, int times)
{
	pthread_mutex_lock(&fault_lock);
	fault_at = name;
	fault = error;
	fault_times = times;
	pthread_mutex_unlock(&fault_lock);
	set_point(inject);
}

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

/* ---- failing calls (C6) -------------------------------------------------- */

static void check_nothing_reserved(struct cache *c)
{
	struct cache_stats s;

	cache_stats(c, &s);
	assert_int_equal(s.reserved_bytes, 0);
	assert_true(s.used_bytes <= s.capacity_bytes);
}

static void write_fails_once(void **state)
{
	static const int errors[] = {-ENOSPC, -EDQUOT, -EIO};
	struct cache_config cfg = config_of(dir, 8 * MIB);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct cache *c = must_open(&cfg);
		uint64_t oldest = i ? 100 + i - 1 : 1;
		struct version *v;

		if (i == 0)
			assert_int_equal(fill_id(c, 1, BLOCK), 0);
		v = must_get(c, 100 + i, 2 * BLOCK);
		assert_int_equal(version_reserve(v, 0, 2, RESERVE_READER, NULL,
						 NULL), 0);
		inject_at("store.write", errors[i], 1);
		assert_int_equal(store(v, 0), 0);
		assert_int_equal(store(v, 1), 0);
		assert_true(right(v, 0) && right(v, 1));
		assert_false(present(c, oldest));
		check_nothing_reserved(c);
		version_put(v);
		cache_close(c);
	}
}

/* A disk that fails every write: the reservation comes back, the bit stays
 * clear, and the cache is not emptied for it. */
static void write_fails_always(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct cache_stats s;
	struct version *v;

	(void)state;
	for (uint64_t id = 1; id <= 10; id++)
		assert_int_equal(fill_id(c, id, BLOCK), 0);
	v = must_get(c, 20, 8 * BLOCK);
	assert_int_equal(version_reserve(v, 0, 8, RESERVE_READER, NULL, NULL),
			 0);
	inject_at("store.write", -EIO, -1);
	for (uint64_t b = 0; b < 8; b++)
		assert_int_equal(store(v, b), -EIO);
	cache_stats(c, &s);
	assert_int_equal(s.evicted, 1);
	assert_true(s.write_errors >= 8);
	assert_int_equal(version_next_stored(v, 0, 8), 8);
	check_nothing_reserved(c);
	inject_at(NULL, 0, 0);
	assert_int_equal(fill(v), 0);
	assert_true(version_complete(v));
	version_put(v);
	cache_close(c);
}

/* After a failed fdatasync the kernel may have dropped the pages: no bit that
 * was volatile is believed, the durable ones are. */
static void sync_fails(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct version *v = must_get(c, 1, 8 * BLOCK);
	struct cache_stats before, s;

	(void)state;
	assert_int_equal(version_reserve(v, 0, 6, RESERVE_READER, NULL, NULL),
			 0);
	assert_int_equal(store(v, 0) | store(v, 1), 0);
	assert_int_equal(cache_flush(c), 0);
	assert_int_equal(store(v, 4) | store(v, 5), 0);
	cache_stats(c, &before);
	inject_at("flush.sync", -EIO, 1);
	assert_int_equal(cache_flush(c), -EIO);
	assert_true(version_has_all(v, 0, 2));
	assert_int_equal(version_next_stored(v, 2, 8), 8);
	cache_stats(c, &s);
	assert_int_equal(s.used_bytes, before.used_bytes - 2 * BLOCK);
	version_unreserve(v, 0, 8);
	assert_int_equal(version_reserve(v, 4, 1, RESERVE_READER, NULL, NULL),
			 0);
	assert_int_equal(store(v, 4), 0);
	assert_int_equal(cache_flush(c), 0);
	version_put(v);
	cache_close(c);
	c = must_open(&cfg);
	v = must_get(c, 1, 8 * BLOCK);
	assert_true(version_has(v, 0) && version_has(v, 1) &&
		    version_has(v, 4) && !version_has(v, 5));
	assert_true(right(v, 0) && right(v, 4));
	version_put(v);
	cache_close(c);
}

/* Bits that could not be committed are committed the next time. */
static void commit_fails(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct version *v = must_get(c, 1, 2 * BLOCK);

	(void)state;
	assert_int_equal(version_reserve(v, 0, 1, RESERVE_READER, NULL, NULL),
			 0);
	assert_int_equal(store(v, 0), 0);
	inject_at("flush.commit", -ENOSPC, 1);
	assert_int_equal(cache_flush(c), -ENOSPC);
	assert_true(version_has(v, 0));
	assert_int_equal(cache_flush(c), 0);
	version_put(v);
	cache_close(c);
	c = must_open(&cfg);
	v = must_get(c, 1, 2 * BLOCK);
	assert_true(version_has(v, 0) && right(v, 0));
	version_put(v);
	cache_close(c);
}

static void row_or_file_fails(void **state)
{
	static const char *const points[] = {"row.add", "file.create"};
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct cache_stats s;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct version *v = must_get(c, 1, 2 * BLOCK);

		inject_at(points[i], -ENOSPC, 1);
		assert_int_equal(version_reserve(v, 0, 2, RESERVE_READER, NULL,
						 NULL), -ENOSPC);
		assert_false(present(c, 1));
		cache_stats(c, &s);
		assert_int_equal(s.used_bytes, SPACE_INDEX_BASE_BYTES);
		assert_int_equal(s.reserved_bytes, 0);
		assert_int_equal(fill(v), 0);
		version_put(v);
		assert_int_equal(cache_evict(c, 1, NULL, false, NULL), 0);
	}
	cache_close(c);
}

/* A victim that cannot be marked stays whole; the one who waited hears it. */
static void mark_fails(void **state)
{
	uint64_t size = 4 * BLOCK;
	struct cache_config cfg =
		config_of(dir, capacity_for(price(size) + BLOCK));
	struct cache *c = must_open(&cfg);
	struct version *v, *w;

	(void)state;
	assert_int_equal(fill_id(c, 1, size), 0);
	v = must_get(c, 2, size);
	inject_at("evict.mark", -EIO, 1);
	assert_int_equal(version_reserve(v, 0, 4, RESERVE_READER, NULL, NULL),
			 -EIO);
	assert_int_equal(cache_find(c, 1, &w), 0);
	assert_true(version_complete(w) && right(w, 0) && right(w, 3));
	version_put(w);
	version_put(v);
	check_nothing_reserved(c);
	/* By order at once; and without space for the mark, all the same. */
	inject_at("evict.mark", -ENOSPC, 1);
	assert_int_equal(cache_evict(c, 1, NULL, false, NULL), 0);
	assert_int_equal(fill_id(c, 2, size), 0);
	cache_close(c);
}

/* A file that will not go keeps its bytes in the account (C3), has no bits,
 * and goes at the next start (C2). */
static void remove_fails(void **state)
{
	struct cache_config cfg = config_of(dir, 8 * MIB);
	struct cache *c = must_open(&cfg);
	struct cache_stats before, s;
	struct version *v;
	struct stat st;

	(void)state;
	assert_int_equal(fill_id(c, 1, BLOCK), 0);
	cache_stats(c, &before);
	inject_at("file.remove", -EIO, 1);
	assert_int_equal(cache_evict(c, 1, NULL, false, NULL), -EIO);
	cache_stats(c, &s);
	assert_int_equal(s.used_bytes, before.used_bytes);
	assert_false(present(c, 1));
	v = must_get(c, 1, BLOCK);
	assert_false(version_has(v, 0));
	assert_int_equal(version_reserve(v, 0, 1, RESERVE_READER, NULL, NULL),
			 -EIO);
	assert_int_equal(cache_evict(c, 1, NULL, true, NULL), -EIO);
	version_put(v);
	cache_close(c);
	assert_int_equal(stat(in_dir("data/1"), &st), 0);
	c = must_open(&cfg);
	assert_int_equal(stat(in_dir("data/1"), &st), -1);
	assert_false(present(c, 1));
	cache_close(c);
}

/* ---- real file systems --------------------------------------------------- */

static bool have_mounts;

static bool mount_small(const char *options)
{
	if (!have_mounts) {
		print_message("no mounts here (not root): skipped\n");
		return false;
	}
	assert_int_equal(mount("none", dir, "tmpfs", 0, options), 0);
	return true;
}

/* Somebody else's file takes all that is free. */
static void eat(void)
{
	static char buf[4096];
	int fd = open(in_dir("other"),
		      O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	while (write(fd, buf, sizeof(buf)) == (ssize_t)sizeof(buf))
		;
	close(fd);
}

static void full_disk(void **state)
{
	struct cache_config cfg = config_of(dir, 64 * MIB);
	struct cache_stats s;
	struct version *v;
	struct cache *c;

	(void)state;
	if (!mount_small("size=4m,mode=0700"))
		skip();
	c = must_open(&cfg);
	assert_int_equal(fill_id(c, 1, 8 * BLOCK), 0);
	assert_int_equal(fill_id(c, 2, 8 * BLOCK), 0);
	assert_int_equal(cache_flush(c), 0);
	v = must_get(c, 3, 8 * BLOCK);
	assert_int_equal(version_reserve(v, 0, 8, RESERVE_READER, NULL, NULL),
			 0);
	eat();
	/* The disk has less than was promised: the oldest goes, the write is
	 * done again (C6). */
	assert_int_equal(store(v, 0), 0);
	assert_false(present(c, 1));
	assert_true(present(c, 2));
	for (uint64_t b = 1; b < 7; b++)
		assert_int_equal(store(v, b), 0);
	eat();
	assert_int_equal(store(v, 7), 0);
	assert_false(present(c, 2));
	eat();
	/* Nothing is left to go: an error, and the next reservation says so
	 * before anything is written (C3: statvfs). */
	version_put(v);
	v = must_get(c, 3, 8 * BLOCK);
	version_pin(v);
	assert_int_equal(version_forget_block(v, 2), 0);
	eat();
	assert_int_equal(version_reserve(v, 2, 1, RESERVE_READER, NULL, NULL),
			 -ENOSPC);
	unlink(in_dir("other"));
	assert_int_equal(version_reserve(v, 2, 1, RESERVE_READER, NULL, NULL),
			 0);
	eat();
	assert_int_equal(store(v, 2), -ENOSPC);
	cache_stats(c, &s);
	assert_int_equal(s.reserved_bytes, 0);
	unlink(in_dir("other"));
	assert_int_equal(version_reserve(v, 2, 1, RESERVE_READER, NULL, NULL),
			 0);
	assert_int_equal(store(v, 2), 0);
	for (uint64_t b = 0; b < 8; b++)
		assert_true(right(v, b));
	version_unpin(v);
	version_put(v);
	cache_close(c);
}

/* C3: the file system keeps min-free, whoever else fills it. */
static void keeps_min_free(void **state)
{
	struct cache_config cfg = config_of(dir, 64 * MIB);
	struct cache_stats s;
	struct version *v;
	struct cache *c;
	unsigned n = 0;

	(void)state;
	if (!mount_small("size=8m,mode=0700"))
		skip();
	cfg.min_free_bytes = 4 * MIB;
	c = must_open(&cfg);
	v = must_get(c, 1, 200 * BLOCK);
	assert_false(version_could_fit(v, RESERVE_READER));
	while (version_reserve(v, n, 1, RESERVE_READER, NULL, NULL) == 0) {
		if (n % 2)
			assert_int_equal(store(v, n), 0);
		n++;
		cache_stats(c, &s);
		assert_true(s.fs_free_bytes >= s.min_free_bytes +
						       s.reserved_bytes);
	}
	assert_true(n > 30 && n < 64);
	version_unreserve(v, 0, 200);
	version_put(v);
	/* What is stored goes to keep it. */
	v = must_get(c, 2, 40 * BLOCK);
	assert_int_equal(version_reserve(v, 0, 40, RESERVE_READER, NULL, NULL),
			 0);
	assert_false(present(c, 1));
	version_unreserve(v, 0, 40);
	version_put(v);
	cache_close(c);
}

static void read_only(void **state)
{
	struct cache_config cfg = config_of(dir, 64 * MIB);
	struct err e;

	(void)state;
	if (!mount_small("size=4m,mode=0700"))
		skip();
	assert_int_equal(open_error(&cfg, &e), 0);
	assert_int_equal(mount("none", dir, NULL, MS_REMOUNT | MS_RDONLY, NULL),
			 0);
	assert_int_equal(open_error(&cfg, &e), -EROFS);
	assert_non_null(strstr(e.text, dir));
}

/* No room even for the index. */
static void full_from_the_start(void **state)
{
	struct cache_config cfg = config_of(dir, 64 * MIB);
	struct err e;
	int r;

	(void)state;
	if (!mount_small("size=64k,mode=0700"))
		skip();
	eat();
	r = open_error(&cfg, &e);
	assert_int_equal(r, -ENOSPC);
	assert_non_null(strstr(e.text, dir));
}

/* A copy of a mount of a case that runs beside us would keep it alive after
 * its umount. */
static void let_go_of_others(void)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096], path[1024];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %*s %*s %*s %1023s", path) == 1 &&
		    strstr(path, "/stagefs-case."))
			umount2(path, MNT_DETACH);
	if (f)
		fclose(f);
}

/* Mounts of our own, which nobody else sees and which end with us. */
static bool own_mounts(void)
{
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return false;
	let_go_of_others();
	return true;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(second_opener),      T(not_a_folder),
		T(mode_is_private),    T(planted_links),
		T(foreign_files),      T(short_and_missing_files),
		T(long_file),
		T(damaged_index),      T(impossible_rows),
		T(newer_schema),       T(write_fails_once),
		T(write_fails_always), T(sync_fails),
		T(commit_fails),       T(row_or_file_fails),
		T(mark_fails),	       T(remove_fails),
		T(full_disk),	       T(keeps_min_free),
		T(read_only),	       T(full_from_the_start),
	};

	have_mounts = own_mounts();
	return cmocka_run_group_tests_name("cache errors", tests, NULL, NULL);
}
