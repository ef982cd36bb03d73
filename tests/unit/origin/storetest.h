/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storetest.h - a store in a folder of its own, for the tests of the origin.
 * One per test: storetest_begin, storetest_end.
 */
#ifndef STAGEFS_TESTS_STORETEST_H
#define STAGEFS_TESTS_STORETEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fdio.h"
#include "origin/db/origindb.h"
#include "common/limits.h"
#include "origin/store/internal.h"
#include "tests/unit/xorshift.h"

#define NOW 1700000000
#define MIB (UINT64_C(1) << 20)

struct storetest {
	char dir[64], store_dir[80];
	struct store *s;
	struct db *db;
	struct err e;
};

static inline int storetest_unlink(const char *path, const struct stat *st,
				   int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static inline void storetest_open(struct storetest *t)
{
	assert_int_equal(store_open(t->store_dir, &t->s, &t->e), 0);
	assert_int_equal(origindb_open(t->store_dir, &t->db, &t->e), 0);
}

static inline void storetest_close(struct storetest *t)
{
	db_close(t->db);
	store_close(t->s);
	t->db = NULL;
	t->s = NULL;
}

static inline void storetest_begin(struct storetest *t)
{
	const char *tmp = getenv("TMPDIR");

	memset(t, 0, sizeof(*t));
	snprintf(t->dir, sizeof(t->dir), "%s/stagefs-test-XXXXXX",
		 tmp && strlen(tmp) < 30 ? tmp : "/tmp");
	assert_non_null(mkdtemp(t->dir));
	snprintf(t->store_dir, sizeof(t->store_dir), "%s/store", t->dir);
	assert_int_equal(store_init(t->store_dir, &t->e), 0);
	storetest_open(t);
}

static inline void storetest_end(struct storetest *t)
{
	storetest_close(t);
	nftw(t->dir, storetest_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- files ------------------------------------------------------------- */

/* The path of a file beside the store; valid until the fourth call from now. */
static inline const char *storetest_path(struct storetest *t, const char *name)
{
	static char path[4][256];
	static unsigned next;
	char *p = path[next++ % 4];

	snprintf(p, 256, "%s/%s", t->dir, name);
	return p;
}

/* Bytes that depend on `seed`, the same each time, and never a zero block. */
static inline void storetest_fill(uint8_t *p, size_t n, uint64_t seed)
{
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

	for (size_t i = 0; i < n; i++) {
		p[i] = (uint8_t)(xorshift(&x) >> 32);
	}
}

static inline void storetest_put(struct storetest *t, const char *name,
				 const void *data, size_t n)
{
	int fd = open(storetest_path(t, name), O_WRONLY | O_CREAT | O_TRUNC,
		      0644);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, data, n), 0);
	close(fd);
}

/* A file of n bytes that depend on `seed`. */
static inline void storetest_make(struct storetest *t, const char *name,
				  size_t n, uint64_t seed)
{
	uint8_t *p = malloc(n + 1);

	assert_non_null(p);
	storetest_fill(p, n, seed);
	storetest_put(t, name, p, n);
	free(p);
}

/* How many files a folder of the store has. */
static inline unsigned storetest_count(struct storetest *t, const char *folder)
{
	char path[128];
	struct dirent *de;
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", t->store_dir, folder);
	d = opendir(path);
	assert_non_null(d);
	while ((de = readdir(d)))
		n += de->d_name[0] != '.';
	closedir(d);
	return n;
}

static inline int storetest_add(struct storetest *t, const char *file,
				const char *name, struct image_added *ret)
{
	struct image_added added;
	struct image_add a = {
		.file = storetest_path(t, file),
		.name = name,
		.now_s = NOW,
		.keep_s = IMAGE_KEEP_DEFAULT_S,
	};

	return image_add(t->s, t->db, &a, ret ? ret : &added, &t->e);
}

static inline int storetest_remove(struct storetest *t, const char *name,
				   bool force)
{
	struct node n;

	return image_remove(t->s, t->db, name, force, NOW, &n, &t->e);
}

static inline bool storetest_live(struct storetest *t, const char *name)
{
	struct node n;

	return node_find(t->db, name, &n, NULL) == 0;
}

#endif
