/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buf.c - buffers come from mmap and are given back to the kernel as soon as
 * they are free: block sizes differ between versions, a pool of pages of one
 * size would have to be sized for the largest, and an idle mount should cost
 * little memory. A few free buffers are kept, so that a busy one does not
 * fault every page anew.
 */
#include "fs/fetch/buf.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/lock.h"
#include "fs/locks.h"

#define SPARE_MAX 16
#define SPARE_MAX_BYTES (UINT64_C(16) << 20)

struct buf_pool {
	void (*wake)(void *ctx); /* set once */
	void *ctx;
	uint64_t limit_bytes;

	struct lock lock; /* the rest */
	uint64_t used_bytes, spare_bytes;
	bool wanted; /* somebody was refused */
	struct buf *spare[SPARE_MAX];
	unsigned n_spare;
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

static void buf_destroy(struct buf *b)
{
	munmap(b->data, b->size);
	free(b);
}

void buf_pool_free(struct buf_pool *p)
{
	if (!p)
		return;
	while (p->n_spare)
		buf_destroy(p->spare[--p->n_spare]);
	lock_destroy(&p->lock);
	free(p);
}

void buf_pool_on_room(struct buf_pool *p, void (*wake)(void *ctx), void *ctx)
{
	p->wake = wake;
	p->ctx = ctx;
}

static struct buf *take_spare_locked(struct buf_pool *p, uint32_t size)
{
	for (unsigned i = p->n_spare; i-- > 0;) {
		struct buf *b = p->spare[i];

		if (b->size != size)
			continue;
		p->spare[i] = p->spare[--p->n_spare];
		p->spare_bytes -= size;
		return b;
	}
	return NULL;
}

static struct buf *buf_make(struct buf_pool *p, uint32_t size)
{
	struct buf *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->data = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b->data == MAP_FAILED) {
		free(b);
		return NULL;
	}
	b->size = size;
	b->pool = p;
	return b;
}

struct buf *buf_get(struct buf_pool *p, uint32_t size, bool demand)
{
	uint64_t limit = demand ? p->limit_bytes
				: p->limit_bytes - p->limit_bytes / 8;
	struct buf *b = NULL, *drop[SPARE_MAX];
	unsigned n_drop = 0;

	lock_take(&p->lock);
	if (p->used_bytes + size > limit && p->used_bytes > 0) {
		p->wanted = true;
		lock_give(&p->lock);
		return NULL;
	}
	p->used_bytes += size;
	b = take_spare_locked(p, size);
	/* Spares count too: those of another size make room. */
	while (!b && p->n_spare &&
	       p->used_bytes + p->spare_bytes > p->limit_bytes) {
		drop[n_drop++] = p->spare[--p->n_spare];
		p->spare_bytes -= drop[n_drop - 1]->size;
	}
	lock_give(&p->lock);

	while (n_drop)
		buf_destroy(drop[--n_drop]);
	if (!b)
		b = buf_make(p, size);
	if (!b) {
		lock_take(&p->lock);
		p->used_bytes -= size;
		p->wanted = true;
		lock_give(&p->lock);
		return NULL;
	}
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
	bool wake;

	if (!b || __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	p = b->pool;
	lock_take(&p->lock);
	p->used_bytes -= b->size;
	wake = p->wanted;
	p->wanted = false;
	if (p->n_spare < SPARE_MAX &&
	    p->spare_bytes + b->size <= SPARE_MAX_BYTES &&
	    p->used_bytes + p->spare_bytes + b->size <= p->limit_bytes) {
		p->spare[p->n_spare++] = b;
		p->spare_bytes += b->size;
		b = NULL;
	}
	lock_give(&p->lock);
	if (b)
		buf_destroy(b);
	if (wake && p->wake)
		p->wake(p->ctx);
}

uint64_t buf_pool_used(struct buf_pool *p)
{
	LOCK_SCOPE(&p->lock);
	return p->used_bytes;
}
