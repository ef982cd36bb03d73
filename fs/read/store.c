/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.c - verified blocks on their way from memory to the cache file, and
 * the ring of those that have no place there (C5, C6).
 *
 * A block that waits for victims to be deleted simply stays held: readers find
 * it in memory, and the buffer pool slows the fetcher down when too many wait.
 */
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "fs/read/stream.h"

/* Forgets a held block that is in no queue any more. */
void held_free_locked(struct stream *s, struct held *h)
{
	HASH_DEL(s->held, h);
	if (h->in_ring) {
		DL_DELETE(s->ring, h);
		s->ring_bytes -= h->buf->size;
	}
	buf_put(h->buf);
	free(h);
}

void ring_drop_locked(struct stream *s)
{
	while (s->ring)
		held_free_locked(s, s->ring);
}

static void to_ring_locked(struct stream *s, struct held *h)
{
	h->in_ring = true;
	DL_APPEND(s->ring, h);
	s->ring_bytes += h->buf->size;
	while (s->ring_bytes > s->r->ring_max_bytes && s->ring != h)
		held_free_locked(s, s->ring);
}

/* Why a block could not be stored changes what is fetched next. */
static void store_failed_locked(struct stream *s, int error)
{
	uint64_t now = clock_mono_ns();

	COUNT(s->r, from_memory, 1);
	if (!s->no_store)
		log_warn("read", "%s: not stored, served from memory: %s",
			 version_ident(s->v)->name,
			 error == -ENOSPC ? "no space can be freed for it"
					  : "the cache's disk failed");
	s->no_store = true;
	s->space_retry_ns = now + SPACE_RETRY_NS;
	s->fill_retry_ns = now + FILL_RETRY_NS;
	fill_stop_locked(s);
	prefetch_fail_locked(s, error == -ENOSPC ? -ENOSPC : -EIO);
}

static void store_done(struct held *h, int error)
{
	struct stream *s = h->s;
	struct reader *r = s->r;
	struct wait *ready = NULL;
	bool complete;

	lock_take(&s->lock);
	if (error == 0)
		held_free_locked(s, h);
	else if (error == -ESTALE || reader_stopping(r))
		held_free_locked(s, h); /* evicted meanwhile: not wanted */
	else {
		store_failed_locked(s, error);
		to_ring_locked(s, h);
	}
	complete = version_complete(s->v);
	if (complete) {
		fill_stop_locked(s);
		ring_drop_locked(s);
		park_complete_locked(s, &ready);
	}
	lock_give(&s->lock);

	park_answer(ready);
	stream_ring(s);
	stream_put(s);
	work_end(r);
}

static void store_again(void *ctx)
{
	struct held *h = ctx;

	store_submit(h);
}

static void store_run(struct pool_job *job)
{
	struct held *h = (struct held *)((char *)job -
					 offsetof(struct held, job));
	struct stream *s = h->s;
	int r;

	if (reader_stopping(s->r)) {
		store_done(h, -ECANCELED);
		return;
	}
	lock_take(&s->lock);
	r = s->no_store ? -ENOSPC : 0;
	lock_give(&s->lock);
	if (!r)
		r = version_reserve(s->v, h->block, 1,
				    h->class_ == CLASS_PREFETCH
					    ? RESERVE_PREFETCH
					    : RESERVE_READER,
				    store_again, h);
	if (r == -EAGAIN)
		return; /* store_again */
	if (!r)
		r = version_store(s->v, h->block, h->buf->data, h->buf->n);
	store_done(h, r);
}

void store_submit(struct held *h)
{
	h->job.run = store_run;
	pool_submit(h->s->r->cfg.pool, &h->job, h->class_);
}
