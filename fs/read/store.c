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

/* ---- the ring ------------------------------------------------------------ */

static void leave_ring_locked(struct stream *s, struct held *h)
{
	h->in_ring = false;
	DL_DELETE(s->ring, h);
	s->ring_bytes -= h->buf->size;
	if (!s->ring)
		__atomic_sub_fetch(&s->r->n_rings, 1, __ATOMIC_RELAXED);
}

/* Forgets a held block that is in no queue any more. */
void held_free_locked(struct stream *s, struct held *h)
{
	if (h->in_ring)
		leave_ring_locked(s, h);
	HASH_DEL(s->held, h);
	buf_put(h->buf);
	free(h);
}

/*
 * All rings together have ring_bytes, so that what nobody may ever ask for
 * again cannot take the buffers that readers of other images wait for. Equal
 * shares; more than twice the look-ahead is no use.
 */
uint64_t ring_share_bytes(const struct stream *s)
{
	const struct reader_config *cfg = &s->r->cfg;
	unsigned n = __atomic_load_n(&s->r->n_rings, __ATOMIC_RELAXED);
	uint64_t share = cfg->ring_bytes / (n ? n : 1);

	return share < 2 * cfg->look_ahead_bytes ? share
						 : 2 * cfg->look_ahead_bytes;
}

void ring_trim_locked(struct stream *s)
{
	while (s->ring && s->ring_bytes > ring_share_bytes(s))
		held_free_locked(s, s->ring);
}

void ring_drop_locked(struct stream *s)
{
	while (s->ring)
		held_free_locked(s, s->ring);
}

/* The block may be gone at once: who waited for it has it. */
static void to_ring_locked(struct stream *s, struct held *h)
{
	if (!s->ring)
		__atomic_add_fetch(&s->r->n_rings, 1, __ATOMIC_RELAXED);
	h->in_ring = true;
	DL_APPEND(s->ring, h);
	s->ring_bytes += h->buf->size;
	ring_trim_locked(s);
}

/* ---- storing ------------------------------------------------------------- */

static const char *unstored_why(int error)
{
	switch (error) {
	case -ENOSPC:
		return "no space can be freed for it";
	case -EUCLEAN:
		return "the cache's index is damaged: unmount, and remove "
		       "index.db* and data there";
	default:
		return "the cache's disk failed";
	}
}

/* Why a block could not be stored changes what is fetched next. What comes
 * after it only counts: space is asked for again when its time has come. True:
 * a line about it goes to the log. */
static bool store_failed_locked(struct stream *s, int error)
{
	uint64_t now = clock_mono_ns();

	COUNT(s->r, from_memory, 1);
	if (s->no_store)
		return false;
	s->no_store = true;
	s->space_retry_ns = now + SPACE_RETRY_NS;
	s->fill_retry_ns = now + FILL_RETRY_NS;
	fill_stop_locked(s);
	prefetch_fail_locked(s, error == -ENOSPC ? -ENOSPC : -EIO);
	return stream_says(s, STREAM_UNSTORED);
}

static void store_done(struct held *h, int error)
{
	struct stream *s = h->s;
	struct reader *r = s->r;
	struct wait *ready = NULL;
	bool complete, say = false;

	lock_take(&s->lock);
	if (error == 0) {
		park_stored_locked(s, h->block);
		held_free_locked(s, h);
	} else if (reader_stopping(r)) {
		held_free_locked(s, h);
	} else {
		say = store_failed_locked(s, error);
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
	if (say)
		log_warn("read", "%s: not stored, served from memory: %s",
			 version_ident(s->v)->name, unstored_why(error));
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

void ring_store_locked(struct stream *s)
{
	struct held *h;

	while ((h = s->ring)) {
		leave_ring_locked(s, h);
		stream_ref(s);
		work_begin(s->r);
		store_submit(h);
	}
}
