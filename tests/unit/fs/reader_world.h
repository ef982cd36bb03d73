/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader_world.h - a reader over a real cache on disk and the fake fetcher,
 * reads and prefetches whose end can be waited for, and bytes compared always.
 * Included by the tests of fs/read alone.
 */
#ifndef STAGEFS_TESTS_READER_WORLD_H
#define STAGEFS_TESTS_READER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/pool.h"
#include "fs/read/reader.h"
#include "fs/read/stream.h"
#include "tests/unit/fs/fake_fetch.h"

#define B UINT64_C(65536)

struct world {
	char dir[64];
	struct cache *cache;
	struct fetch *fetch;
	struct pool *pool;
	struct reader *reader;
	struct reader_config rc;
	struct cache_config cc;
};

static inline void world_make(struct world *w, uint64_t capacity,
		       struct reader_config rc)
{
	struct err e = {""};

	memset(w, 0, sizeof(*w));
	strcpy(w->dir, "/tmp/stagefs-reader.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->cc = (struct cache_config){.dir = w->dir,
				      .capacity_bytes = capacity,
				      .just_read_ms = 0,
				      .flush_ms = 50};
	if (cache_open(&w->cc, &w->cache, &e))
		fail_msg("cache_open: %s", e.text);
	w->fetch = fake_new();
	assert_int_equal(pool_new("test", 3, &w->pool), 0);
	rc.cache = w->cache;
	rc.fetch = w->fetch;
	rc.pool = w->pool;
	if (!rc.io_timeout_ms)
		rc.io_timeout_ms = 60000;
	w->rc = rc;
	assert_int_equal(reader_new(&w->rc, &w->reader), 0);
}

static inline int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void world_free(struct world *w)
{
	FAKE_SET(w->fetch, paused, false);
	reader_free(w->reader);
	pool_free(w->pool);
	fake_free(w->fetch);
	cache_close(w->cache);
	nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline struct version_ident ident(struct world *w, uint64_t id,
					 uint64_t size)
{
	struct version_ident v = {
		.id = id, .size_bytes = size, .block_bytes = FAKE_BLOCK};

	snprintf(v.name, sizeof(v.name), "image%d", (int)id);
	fake_add(w->fetch, id, size, &v.digest);
	return v;
}

/* A read whose answer can be waited for. */
struct a_read {
	struct read_request req;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	int answers;
	int error;
	uint64_t id;
	bool right;
};

static inline void answered(struct read_request *req, const struct iovec *iov,
			    int n, int error)
{
	struct a_read *a = (struct a_read *)req;
	uint64_t at = req->offset;
	uint8_t want[FAKE_BLOCK];
	bool right = true;

	for (int i = 0; i < n; i++) {
		CHECK(iov[i].iov_len <= sizeof(want));
		fake_bytes(a->id, at, want, iov[i].iov_len);
		right = right && !memcmp(want, iov[i].iov_base,
					 iov[i].iov_len);
		at += iov[i].iov_len;
	}
	if (!error && at != req->offset + req->size)
		right = false;
	pthread_mutex_lock(&a->mutex);
	a->answers++;
	a->error = error;
	a->right = right;
	pthread_cond_broadcast(&a->cond);
	pthread_mutex_unlock(&a->mutex);
}

static inline void read_start(struct stream *s, struct a_read *a, uint64_t id,
		       uint64_t offset, uint32_t size)
{
	memset(a, 0, sizeof(*a));
	pthread_mutex_init(&a->mutex, NULL);
	pthread_cond_init(&a->cond, NULL);
	a->id = id;
	a->req.offset = offset;
	a->req.size = size;
	a->req.answer = answered;
	stream_read(s, &a->req);
}

static inline int read_wait(struct a_read *a)
{
	pthread_mutex_lock(&a->mutex);
	while (!a->answers)
		pthread_cond_wait(&a->cond, &a->mutex);
	assert_int_equal(a->answers, 1);
	if (!a->error)
		assert_true(a->right);
	pthread_mutex_unlock(&a->mutex);
	return a->error;
}

static inline int answers(struct a_read *a)
{
	int n;

	pthread_mutex_lock(&a->mutex);
	n = a->answers;
	pthread_mutex_unlock(&a->mutex);
	return n;
}

static inline int read_now(struct stream *s, uint64_t id, uint64_t offset,
		    uint32_t size)
{
	struct a_read a;

	read_start(s, &a, id, offset, size);
	return read_wait(&a);
}

#define EVENTUALLY(condition)                                   \
	do {                                                    \
		for (int i_ = 0; !(condition); i_++) {          \
			if (i_ > 20000)                         \
				fail_msg("never: " #condition); \
			usleep(1000);                           \
		}                                               \
	} while (0)

/* ---- prefetches --------------------------------------------------------- */

struct a_prefetch {
	pthread_mutex_t mutex;
	int ends, error;
	uint64_t stored;
};

static inline void p_progress(void *ctx, uint64_t stored, uint64_t size)
{
	struct a_prefetch *p = ctx;

	pthread_mutex_lock(&p->mutex);
	CHECK(!p->ends);
	CHECK(stored <= size);
	pthread_mutex_unlock(&p->mutex);
}

static inline void p_end(void *ctx, uint64_t stored, uint64_t size, int error)
{
	struct a_prefetch *p = ctx;

	(void)size;
	pthread_mutex_lock(&p->mutex);
	p->ends++;
	p->error = error;
	p->stored = stored;
	pthread_mutex_unlock(&p->mutex);
}

__attribute__((unused)) static const struct prefetch_owner p_owner = {
	p_progress, p_end};

static inline int p_ends(struct a_prefetch *p)
{
	int n;

	pthread_mutex_lock(&p->mutex);
	n = p->ends;
	pthread_mutex_unlock(&p->mutex);
	return n;
}

static inline uint64_t streams(struct world *w)
{
	struct reader_stats st;

	reader_stats(w->reader, &st);
	return st.streams;
}

#endif
