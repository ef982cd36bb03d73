/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_fixture.h - a cache in a folder of its own on tmpfs, and blocks whose
 * right bytes anybody can tell: the first and last 16 of each name version
 * and block. Included by the tests of fs/cache alone.
 */
#ifndef STAGEFS_TESTS_CACHE_FIXTURE_H
#define STAGEFS_TESTS_CACHE_FIXTURE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/manifest.h"
#include "fs/cache/cache.h"
#include "fs/cache/point.h"
#include "fs/cache/space.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define BLOCK (64u << 10)

static inline void set_point(int (*hook)(const char *name))
{
	__atomic_store_n(&cache_test_point, hook, __ATOMIC_RELEASE);
}

static inline char *scratch_dir(void)
{
	char path[] = "/dev/shm/stagefs-cache-XXXXXX";

	if (!mkdtemp(path))
		abort();
	return strdup(path);
}

static inline int scratch_unlink(const char *path, const struct stat *st,
				 int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static inline void scratch_remove(char *path)
{
	nftw(path, scratch_unlink, 16, FTW_DEPTH | FTW_PHYS);
	free(path);
}

static inline struct version_ident ident_of(uint64_t id, uint64_t size)
{
	struct version_ident i = {
		.id = id, .size_bytes = size, .block_bytes = BLOCK};

	memset(i.digest.b, (int)(id * 7 + 1), sizeof(i.digest.b));
	snprintf(i.name, sizeof(i.name), "image-%llu",
		 (unsigned long long)id);
	return i;
}

static inline struct cache_config config_of(const char *dir, uint64_t capacity)
{
	return (struct cache_config){.dir = dir,
				     .capacity_bytes = capacity,
				     .flush_ms = 3600 * 1000};
}

static inline struct cache *must_open(const struct cache_config *cfg)
{
	struct cache *c = NULL;
	struct err e;

	if (cache_open(cfg, &c, &e) != 0) {
		fprintf(stderr, "cache_open: %s\n", e.text);
		abort();
	}
	return c;
}

static inline struct version *must_get(struct cache *c, uint64_t id,
				       uint64_t size)
{
	struct version_ident i = ident_of(id, size);
	struct version *v = NULL;

	if (cache_get(c, &i, &v) != 0)
		abort();
	return v;
}

static inline uint32_t block_len(const struct version *v, uint64_t b)
{
	return manifest_block_length(version_ident(v)->size_bytes,
				     version_ident(v)->block_bytes, b);
}

/* The bytes of one block, of a static buffer per thread. */
static inline const void *pattern(const struct version *v, uint64_t b)
{
	static __thread uint8_t buf[BLOCK];
	uint64_t tag[2] = {version_ident(v)->id, b};
	uint32_t n = block_len(v, b);

	if (n >= 2 * sizeof(tag)) {
		memcpy(buf, tag, sizeof(tag));
		memcpy(buf + n - sizeof(tag), tag, sizeof(tag));
	} else {
		memset(buf, (int)(tag[0] * 31 + tag[1] + 1), n);
	}
	return buf;
}

static inline int store(struct version *v, uint64_t b)
{
	return version_store(v, b, pattern(v, b), block_len(v, b));
}

/* Are the bytes of a stored block those of `pattern`? */
static inline bool right(struct version *v, uint64_t b)
{
	static __thread uint8_t got[BLOCK];
	uint32_t n = block_len(v, b);
	uint64_t at = b * version_ident(v)->block_bytes;
	const uint8_t *want = pattern(v, b);

	if (n < 32)
		return version_read(v, got, n, at) == 0 &&
		       memcmp(got, want, n) == 0;
	return version_read(v, got, 16, at) == 0 &&
	       memcmp(got, want, 16) == 0 &&
	       version_read(v, got, 16, at + n - 16) == 0 &&
	       memcmp(got, want + n - 16, 16) == 0;
}

/* Reserves and stores all of it. */
static inline int fill(struct version *v)
{
	uint64_t n = version_blocks(v);
	int r = version_reserve(v, 0, n, RESERVE_READER, NULL, NULL);

	for (uint64_t b = 0; b < n && !r; b++)
		r = store(v, b);
	return r;
}

static inline int fill_id(struct cache *c, uint64_t id, uint64_t size)
{
	struct version *v = must_get(c, id, size);
	int r = fill(v);

	version_put(v);
	return r;
}

/* What a version of this size takes, all of it stored. */
static inline uint64_t price(uint64_t size)
{
	uint64_t n = manifest_block_count(size, BLOCK);

	return space_block(size) + space_row(n) + space_inode(n);
}

static inline uint64_t capacity_for(uint64_t bytes)
{
	return SPACE_INDEX_BASE_BYTES + bytes;
}

static inline bool present(struct cache *c, uint64_t id)
{
	struct version_info i;

	return cache_info(c, id, &i) == 0;
}

#endif
