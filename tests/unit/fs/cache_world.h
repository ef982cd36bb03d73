/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_world.h - a folder for each test, what people do to a cache in it,
 * and faults by name. Included by the tests of fs/cache alone.
 */
#ifndef STAGEFS_TESTS_CACHE_WORLD_H
#define STAGEFS_TESTS_CACHE_WORLD_H

#include "cache_fixture.h"

#include <pthread.h>
#include <sqlite3.h>
#include <sys/mount.h>

static char *dir;

static inline int setup(void **state)
{
	(void)state;
	dir = scratch_dir();
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	set_point(NULL);
	umount2(dir, MNT_DETACH);
	scratch_remove(dir);
	return 0;
}

static inline const char *in_dir(const char *name)
{
	static char path[4][512];
	static unsigned i;

	i = (i + 1) % 4;
	snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
	return path[i];
}

static inline void put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static inline int open_error(const struct cache_config *cfg, struct err *e)
{
	struct cache *c = NULL;
	int r = cache_open(cfg, &c, e);

	if (!r)
		cache_close(c);
	return r;
}

static inline void must_exec(const char *sql)
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

static inline int inject(const char *name)
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

static inline void inject_at(const char *name, int error, int times)
{
	pthread_mutex_lock(&fault_lock);
	fault_at = name;
	fault = error;
	fault_times = times;
	pthread_mutex_unlock(&fault_lock);
	set_point(inject);
}

static inline void check_nothing_reserved(struct cache *c)
{
	struct cache_stats s;

	cache_stats(c, &s);
	assert_int_equal(s.reserved_bytes, 0);
	assert_true(s.used_bytes <= s.capacity_bytes);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
