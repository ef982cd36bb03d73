/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Full and read-only file systems: real ones, mounted in a namespace of our
 * own (C3, C6).
 */
#include "cache_world.h"

#include <sched.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(full_disk),
		T(keeps_min_free),
		T(read_only),
		T(full_from_the_start),
	};

	have_mounts = own_mounts();
	return cmocka_run_group_tests_name("cache disks", tests, NULL, NULL);
}
