/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buf.c - buffers come from mmap: block sizes differ between versions, and a
 * pool of pages of one size would have to be sized for the largest. While the
 * pool is in use what is free is kept, or each block would fault its pages
 * anew; that costs as much as half of its hash. When nothing is in use any
 * more all but a little goes back to the kernel, so an idle mount is small.
 *
 * Large pages where the kernel has them, for the same reason: two blocks of
 * the usual size share one.
 */
#include "fs/fetch/buf.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/lock.h"
#include "fs/locks.h"

#define IDLE_MAX_BYTES (UINT64_C(16) << 20)
#define LARGE_PAGE_BYTES ((size_t)2 << 20)

struct buf_pool {
	void (*wake)(void *ctx); /* set once */
	void *ctx;
	uint64_t limit_bytes;

	struct lock lock; /* the rest */
	uint64_t used_bytes, spare_bytes;
	bool wanted;	   /* somebody was refused */
	struct buf *spare; /* the last one that came is the first */
};

int buf_pool_new(uint64_t bytes, struct buf_pool **ret)
{
	struct buf_pool *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->limit_bytes = bytes;
	lock_init(&p->lock, LOCK_BUFS);
	*ret = p;
	return 0;
}

static void destroy_all(struct buf *list)
{
	while (list) {
		struct buf *b = list;

		list = b->next;
		munmap(b->data, b->size);
		free(b);
	}
}

void buf_pool_free(struct buf_pool *p)
{
	if (!p)
		return;
	destroy_all(p->spare);
	lock_destroy(&p->lock);
	free(p);
}

void buf_pool_on_room(struct buf_pool *p, void (*wake)(void *ctx), void *ctx)
{
	p->wake = wake;
	p->ctx = ctx;
}

/* ---- spares -------------------------------------------------------------- */

static struct buf *take_spare_locked(struct buf_pool *p, uint32_t size)
{
	for (struct buf **at = &p->spare; *at; at = &(*at)->next) {
		struct buf *b = *at;

		if (b->size != size)
			continue;
		*at = b->next;
		p->spare_bytes -= size;
		return b;
	}
	return NULL;
}

/* The list of those that are one too many, for destroy_all. */
static struct buf *trim_locked(struct buf_pool *p)
{
	struct buf *drop = NULL;

	while (p->spare &&
	       (p->used_bytes + p->spare_bytes > p->limit_bytes ||
		(!p->used_bytes && p->spare_bytes > IDLE_MAX_BYTES))) {
		struct buf *b = p->spare;

		p->spare = b->next;
		p->spare_bytes -= b->size;
		b->next = drop;
		drop = b;
	}
	return drop;
}

static struct buf *keep_locked(struct buf_pool *p, struct buf *b)
{
	b->next = p->spare;
	p->spare = b;
	p->spare_bytes += b->size;
	return trim_locked(p);
}

/* ---- new ones ------------------------------------------------------------ */

static uint8_t *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Where large pages begin and end; `size` is a multiple of them. */
static uint8_t *map_large(size_t size)
{
	uint8_t *all = map(size + LARGE_PAGE_BYTES);
	size_t before;

	if (!all)
		return NULL;
	before = -(uintptr_t)all % LARGE_PAGE_BYTES;
	if (before)
		munmap(all, before);
	if (before < LARGE_PAGE_BYTES)
		munmap(all + before + size, LARGE_PAGE_BYTES - before);
	madvise(all + before, size, MADV_HUGEPAGE); /* if there are any */
	return all + before;
}

static struct buf *wrap(struct buf_pool *p, uint8_t *data, uint32_t size)
{
	struct buf *b = data ? calloc(1, sizeof(*b)) : NULL;

	if (!b) {
		if (data)
			munmap(data, size);
		return NULL;
	}
	b->data = data;
	b->size = size;
	b->pool = p;
	return b;
}

/* ret_twin: another one that came with it, or NULL. */
static struct buf *make(struct buf_pool *p, uint32_t size,
			struct buf **ret_twin)
{
	uint8_t *data;

	*ret_twin = NULL;
	if (size % LARGE_PAGE_BYTES == 0)
		return wrap(p, map_large(size), size);
	if (size != LARGE_PAGE_BYTES / 2)
		return wrap(p, map(size), size);
	data = map_large(LARGE_PAGE_BYTES);
	if (data)
		*ret_twin = wrap(p, data + size, size);
	return wrap(p, data, size);
}

static struct buf *get_new(struct buf_pool *p, uint32_t size)
{
	struct buf *twin, *b = make(p, size, &twin), *drop = NULL;

	lock_take(&p->lock);
	if (twin)
		drop = keep_locked(p, twin);
	if (!b) {
		p->used_bytes -= size;
		p->wanted = true;
	}
	lock_give(&p->lock);
	destroy_all(drop);
	return b;
}

struct buf *buf_get(struct buf_pool *p, uint32_t size, bool demand)
{
	uint64_t limit = demand ? p->limit_bytes
				: p->limit_bytes - p->limit_bytes / 8;
	struct buf *b, *drop;

	lock_take(&p->lock);
	if (p->used_bytes + size > limit && p->used_bytes > 0) {
		p->wanted = true;
		lock_give(&p->lock);
		return NULL;
	}
	p->used_bytes += size;
	b = take_spare_locked(p, size);
	drop = trim_locked(p); /* spares of another size make room */
	lock_give(&p->lock);

	destroy_all(drop);
	if (!b)
		b = get_new(p, size);
	if (!b)
		return NULL;
	b->n = 0;
	__atomic_store_n(&b->refs, 1, __ATOMIC_RELAXED);
	return b;
}

struct buf *buf_ref(struct buf *b)
{
	__atomic_add_fetch(&b->refs, 1, __ATOMIC_RELAXED);
	return b;
}

void buf_put(struct buf *b)
{
	struct buf_pool *p;
	struct buf *drop;
	bool wake;

	if (!b || __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	p = b->pool;
	lock_take(&p->lock);
	p->used_bytes -= b->size;
	wake = p->wanted;
	p->wanted = false;
	drop = keep_locked(p, b);
	lock_give(&p->lock);
	destroy_all(drop);
	if (wake && p->wake)
		p->wake(p->ctx);
}

uint64_t buf_pool_used(struct buf_pool *p)
{
	LOCK_SCOPE(&p->lock);
	return p->used_bytes;
}
