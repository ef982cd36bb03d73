/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent_fakes.h - the cache and the reader of the agent's test: a few
 * variables. Their functions are defined here, so the library's own are not
 * linked.
 */
#ifndef STAGEFS_TESTS_AGENT_FAKES_H
#define STAGEFS_TESTS_AGENT_FAKES_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/envelope.h"
#include "common/log.h"
#include "common/wire.h"
#include "fs/agent/agent.h"
#include "tests/unit/fs/mini_httpd.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define STORE "11111111-2222-4333-8444-555555555555"
#define NAME "line3"
#define SIZE 5000000u

#define IMAGES 16

static struct {
	pthread_mutex_t lock;
	/* the cache: by id */
	struct version_info info[IMAGES];
	bool stored[IMAGES];
	int evict_error, reclaim_error;
	uint64_t evicts, reclaims, holds, held_before_prefetch;
	/* the reader: one prefetch at a time */
	struct {
		const struct prefetch_owner *owner;
		void *ctx;
		uint64_t id, order;
		bool cancelled;
	} pre;
	uint64_t prefetches, cancels;
	pthread_t canceller;
	bool have_canceller;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

#define FAKE_SCOPE pthread_mutex_lock(&fake.lock)
#define FAKE_END pthread_mutex_unlock(&fake.lock)

int cache_info(struct cache *c, uint64_t id, struct version_info *ret)
{
	int r = -ENOENT;

	(void)c;
	FAKE_SCOPE;
	if (id < IMAGES && fake.stored[id]) {
		*ret = fake.info[id];
		r = 0;
	}
	FAKE_END;
	return r;
}

int cache_list(struct cache *c, struct version_info **ret, size_t *ret_n)
{
	struct version_info *list = calloc(IMAGES, sizeof(*list));
	size_t n = 0;

	(void)c;
	FAKE_SCOPE;
	for (int i = 0; i < IMAGES; i++)
		if (fake.stored[i])
			list[n++] = fake.info[i];
	FAKE_END;
	*ret = list;
	*ret_n = n;
	return 0;
}

void cache_stats(struct cache *c, struct cache_stats *ret)
{
	(void)c;
	*ret = (struct cache_stats){.capacity_bytes = 10 << 20,
				    .bad_blocks = 5,
				    .repaired_blocks = 4};
	FAKE_SCOPE;
	for (int i = 0; i < IMAGES; i++)
		if (fake.stored[i])
			ret->used_bytes += fake.info[i].stored_bytes;
	FAKE_END;
	ret->free_bytes = ret->capacity_bytes - ret->used_bytes;
}

static inline void store_it(const struct version_ident *ident, uint64_t bytes)
{
	FAKE_SCOPE;
	fake.stored[ident->id] = true;
	fake.info[ident->id].ident = *ident;
	fake.info[ident->id].stored_bytes = bytes;
	fake.info[ident->id].stored_seq = ident->id;
	fake.info[ident->id].complete = bytes == ident->size_bytes;
	FAKE_END;
}

int cache_hold(struct cache *c, const struct version_ident *ident,
	       int64_t until_s)
{
	(void)c;
	FAKE_SCOPE;
	fake.holds++;
	if (!fake.stored[ident->id]) {
		fake.stored[ident->id] = true;
		fake.info[ident->id].ident = *ident;
		fake.info[ident->id].stored_seq = ident->id;
	}
	fake.info[ident->id].held_until_s = until_s;
	FAKE_END;
	return 0;
}

int cache_evict(struct cache *c, uint64_t id, const struct digest *digest,
		bool force, uint64_t *ret_freed_bytes)
{
	int r;

	(void)c;
	assert_false(force);
	FAKE_SCOPE;
	fake.evicts++;
	r = fake.evict_error;
	if (!r && !fake.stored[id])
		r = -ENOENT;
	if (!r && !digest_equal(digest, &fake.info[id].ident.digest))
		r = -ESTALE;
	if (!r) {
		*ret_freed_bytes = fake.info[id].stored_bytes;
		fake.stored[id] = false;
	}
	FAKE_END;
	return r;
}

int cache_reclaim(struct cache *c, uint64_t bytes, uint64_t *ret_freed_bytes)
{
	(void)c;
	(void)bytes;
	FAKE_SCOPE;
	fake.reclaims++;
	FAKE_END;
	*ret_freed_bytes = 4096;
	return fake.reclaim_error;
}

int reader_prefetch(struct reader *r, const struct version_ident *ident,
		    uint64_t order, enum wire_class class_,
		    const struct prefetch_owner *owner, void *ctx,
		    struct prefetch **ret)
{
	(void)r;
	assert_int_equal(class_, CLASS_PREFETCH);
	FAKE_SCOPE;
	fake.prefetches++;
	if (fake.stored[ident->id] && fake.info[ident->id].held_until_s)
		fake.held_before_prefetch++;
	fake.pre.owner = owner;
	fake.pre.ctx = ctx;
	fake.pre.id = ident->id;
	fake.pre.order = order;
	fake.pre.cancelled = false;
	*ret = (struct prefetch *)&fake.pre;
	FAKE_END;
	return 0;
}

static void end_prefetch(uint64_t stored, int error)
{
	const struct prefetch_owner *owner;
	void *ctx;

	FAKE_SCOPE;
	owner = fake.pre.owner;
	ctx = fake.pre.ctx;
	fake.pre.owner = NULL;
	FAKE_END;
	if (owner)
		owner->end(ctx, stored, SIZE, error);
}

static void *end_cancelled(void *arg)
{
	(void)arg;
	end_prefetch(1000, -ECANCELED);
	return NULL;
}

/* The end comes from another thread, as the reader's does. */
void reader_prefetch_cancel(struct reader *r, struct prefetch *p)
{
	bool first;

	(void)r;
	assert_ptr_equal(p, &fake.pre);
	FAKE_SCOPE;
	first = !fake.pre.cancelled;
	fake.pre.cancelled = true;
	fake.cancels++;
	if (first && !fake.have_canceller) {
		fake.have_canceller = true;
		pthread_create(&fake.canceller, NULL, end_cancelled, NULL);
	}
	FAKE_END;
}

bool reader_active(struct reader *r, uint64_t id)
{
	bool active;

	(void)r;
	FAKE_SCOPE;
	active = fake.pre.owner && fake.pre.id == id;
	FAKE_END;
	return active;
}

void reader_stats(struct reader *r, struct reader_stats *ret)
{
	(void)r;
	memset(ret, 0, sizeof(*ret));
}

#endif
