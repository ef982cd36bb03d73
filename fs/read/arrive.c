/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arrive.c - what the fetcher calls: a verified block, a block that cannot be
 * had, the end of a window. Pool and network threads.
 *
 * The order in `arrive_block` is the promise R3: readers are answered from
 * memory first, and only then is the block handed on to be stored.
 */
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "fs/read/stream.h"

static struct held *hold_locked(struct stream *s, uint64_t block,
				struct buf *b, enum wire_class class_)
{
	struct held *h;

	HASH_FIND(hh, s->held, &block, sizeof(block), h);
	if (h || version_has(s->v, block))
		return NULL; /* forgotten and fetched twice: keep the first */
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->s = stream_ref(s);
	h->block = block;
	h->buf = buf_ref(b);
	h->class_ = class_;
	HASH_ADD(hh, s->held, block, sizeof(h->block), h);
	return h;
}

static void arrive_block(void *ctx, uint64_t block, struct buf *b)
{
	struct window *w = ctx;
	struct stream *s = w->s;
	struct wait *ready = NULL;
	struct held *h;

	lock_take(&s->lock);
	s->progress_ns = clock_mono_ns();
	h = hold_locked(s, block, b, w->class_);
	if (h)
		work_begin(s->r);
	park_deliver_locked(s, block, b, &ready);
	lock_give(&s->lock);

	park_answer(ready);
	buf_put(b);
	if (h)
		store_submit(h);
}

static void arrive_lost(void *ctx, uint64_t block, int error)
{
	struct window *w = ctx;
	struct stream *s = w->s;
	struct wait *failed = NULL;
	bool say;

	lock_take(&s->lock);
	say = stream_says(s, STREAM_LOST);
	park_fail_locked(s, block, error, &failed);
	/* The rest is not asked for again and again: a reader may. */
	s->fill_retry_ns = clock_mono_ns() + FILL_RETRY_NS;
	prefetch_fail_locked(s, error);
	if (error == -ENOENT)
		fill_stop_locked(s); /* nor will it have it in a while */
	lock_give(&s->lock);

	if (say)
		log_err("read", "%s: block %llu: %s",
			version_ident(s->v)->name, (unsigned long long)block,
			error == -ENOENT ? "the origin does not have this "
					   "version any more"
					 : "no source has right bytes");
	park_answer(failed);
}

static void arrive_end(void *ctx)
{
	struct window *w = ctx;
	struct stream *s = w->s;
	struct reader *r = s->r;

	lock_take(&s->lock);
	DL_DELETE(s->windows, w);
	s->n_windows--;
	lock_give(&s->lock);
	free(w);
	stream_ring(s);
	stream_put(s);
	work_end(r);
}

const struct fetch_owner arrive_owner = {
	.block = arrive_block,
	.lost = arrive_lost,
	.end = arrive_end,
};
