/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefetch.c - versions that an order, or `stagefs fetch`, wants whole. What
 * is fetched is decided in want.c; here is only who waits for the end.
 *
 * All callbacks come from the pump, so `progress` never comes after `end`.
 */
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/clock.h"
#include "fs/read/stream.h"

int reader_prefetch(struct reader *r, const struct version_ident *ident,
		    uint64_t order, enum wire_class class_,
		    const struct prefetch_owner *owner, void *ctx,
		    struct prefetch **ret)
{
	struct prefetch *p = calloc(1, sizeof(*p));
	struct stream *s;
	int error;

	if (!p)
		return -ENOMEM;
	/* An open that is closed again once the prefetch is noted: between
	 * the two nothing can evict the version. */
	error = reader_open(r, ident, &s);
	if (error) {
		free(p);
		return error;
	}
	p->s = stream_ref(s);
	p->order = order;
	p->class_ = class_;
	p->owner = owner;
	p->ctx = ctx;
	version_pin(s->v);
	lock_take(&s->lock);
	DL_APPEND(s->prefetches, p);
	s->fill_retry_ns = 0;
	*ret = p; /* before the pump can end it */
	lock_give(&s->lock);
	stream_ring(s);
	reader_close(s);
	return 0;
}

void reader_prefetch_cancel(struct reader *r, struct prefetch *p)
{
	struct stream *s = p->s;

	(void)r;
	lock_take(&s->lock);
	p->cancelled = true;
	lock_give(&s->lock);
	stream_ring(s);
}

void prefetch_fail_locked(struct stream *s, int error)
{
	struct prefetch *p;

	DL_FOREACH(s->prefetches, p) {
		if (p->over)
			continue;
		p->over = true;
		p->error = error;
	}
}

static void end_one(struct prefetch *p, int error)
{
	struct stream *s = p->s;

	p->owner->end(p->ctx, version_stored_bytes(s->v), s->size_bytes,
		      error);
	version_unpin(s->v);
	free(p);
	stream_put(s);
}

/* Complete, and still so after a power cut: who hears "staged" relies on it.
 * Of an empty image nothing is stored. */
static bool kept_locked(const struct stream *s)
{
	struct version_info info;

	if (s->size_bytes == 0)
		return true;
	return cache_info(s->r->cfg.cache, s->id, &info) == 0 && info.complete;
}

/* Decides about one; true if it has to be ended with p->error. */
static bool over_locked(struct prefetch *p)
{
	struct stream *s = p->s;

	if (version_complete(s->v) && kept_locked(s)) {
		p->error = 0;
		return true;
	}
	if (p->over)
		return true;
	if (p->cancelled || reader_stopping(s->r)) {
		p->error = -ECANCELED;
		return true;
	}
	if (!version_complete(s->v) &&
	    !version_could_fit(s->v, RESERVE_PREFETCH)) {
		p->error = -ENOSPC;
		return true;
	}
	return false;
}

void prefetch_tick(struct stream *s, uint64_t now_ns)
{
	struct prefetch *ended = NULL, *told = NULL, *p, *next;

	lock_take(&s->lock);
	DL_FOREACH_SAFE(s->prefetches, p, next) {
		if (!over_locked(p)) {
			if (now_ns - p->reported_ns < PREFETCH_REPORT_NS)
				continue;
			p->reported_ns = now_ns;
			told = p; /* one at a time: see below */
			continue;
		}
		DL_DELETE(s->prefetches, p);
		DL_APPEND(ended, p);
	}
	lock_give(&s->lock);

	/* Only this thread frees prefetches, so `told` is still there. If
	 * several are due, the others come with the next tick. */
	if (told)
		told->owner->progress(told->ctx, version_stored_bytes(s->v),
				      s->size_bytes);
	DL_FOREACH_SAFE(ended, p, next) {
		DL_DELETE(ended, p);
		end_one(p, p->error);
	}
}
