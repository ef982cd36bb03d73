/* SPDX-License-Identifier: Apache-2.0 */
/*
 * carry.c - carries out one order. All but a prefetch are done when work_run
 * returns; a prefetch is only started, goes on in the reader and ends in a
 * callback of it.
 *
 * What stops a prefetch, a delete or a reclaim is told in words that somebody
 * who plans can act on.
 */
#include "fs/agent/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/units.h"

/* ---- ends -------------------------------------------------------------- */

static void done(struct work *w, uint64_t stored, uint64_t size)
{
	LOCK_SCOPE(&w->a->lock);
	w->report.stored_bytes = stored;
	w->report.size_bytes = size;
	work_end_locked(w, true, "");
}

__attribute__((format(printf, 2, 3))) static void failed(struct work *w,
							 const char *fmt, ...)
{
	struct err why;
	va_list ap;
	char text[sizeof(why.text)];

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(&why, EIO, "%s", text); /* cleans it: names are in it */
	log_warn("agent", "order %" PRIu64 " (%s %s) failed: %s", w->o.number,
		 wire_order_kind_name(w->o.kind), w->o.name ? w->o.name : "",
		 why.text);
	LOCK_SCOPE(&w->a->lock);
	work_end_locked(w, false, why.text);
}

/* ---- what an order is about -------------------------------------------- */

/* From the catalog; the order's own words are only compared with it. */
static int ident_of(struct agent *a, const struct wire_order *o,
		    struct version_ident *ret)
{
	struct catalog_node n;
	struct version_info info;

	if (catalog_get(a->cfg.catalog, o->id, &n) == 0 && !n.is_dir) {
		*ret = (struct version_ident){
			.id = n.id,
			.digest = n.digest,
			.size_bytes = n.size_bytes,
			.block_bytes = n.block_bytes,
		};
		catalog_path(a->cfg.catalog, n.id, ret->name,
			     sizeof(ret->name));
		if (!digest_equal(&n.digest, &o->digest))
			return -ESTALE;
		return n.ghost ? -ENOLINK : 0;
	}
	if (cache_info(a->cfg.cache, o->id, &info) == 0) {
		*ret = info.ident;
		return digest_equal(&ret->digest, &o->digest) ? -ENOLINK
							      : -ESTALE;
	}
	return -ENOENT;
}

/* ---- prefetch ---------------------------------------------------------- */

static void prefetch_failed(struct work *w, uint64_t stored, uint64_t size,
			    int error)
{
	struct err why;

	if (error == -ECANCELED) {
		LOCK_SCOPE(&w->a->lock);
		work_end_locked(w, false, "cancelled");
		return;
	}
	prefetch_why(w->a->cfg.cache, stored, size, error, &why);
	failed(w, "%s", why.text);
}

static void hold(struct work *w)
{
	LOCK_SCOPE(&w->a->lock);
	w->holds++;
}

static void release(struct work *w)
{
	struct agent *a = w->a;

	LOCK_SCOPE(&a->lock);
	w->holds--;
	cond_wake_all(&a->orders_wake);
}

static void prefetch_progress(void *ctx, uint64_t stored, uint64_t size)
{
	struct work *w = ctx;

	LOCK_SCOPE(&w->a->lock);
	if (w->report.stored_bytes == stored)
		return;
	w->report.stored_bytes = stored;
	w->report.size_bytes = size;
	work_changed_locked(w);
}

/* "Staged" is said only here and where the cache says complete. */
static void prefetch_end(void *ctx, uint64_t stored, uint64_t size, int error)
{
	struct work *w = ctx;
	struct agent *a = w->a;
	bool stop;

	lock_take(&a->lock);
	w->prefetch = NULL;
	w->over = true;
	w->report.stored_bytes = stored;
	w->report.size_bytes = size;
	stop = a->stop;
	if (stop && error) { /* not a result: it will be ordered again */
		w->stage = WORK_ENDED;
		w->reported = w->version;
	}
	lock_give(&a->lock);
	if (!error)
		done(w, stored, size);
	else if (!stop)
		prefetch_failed(w, stored, size, error);
	release(w);
}

static const struct prefetch_owner prefetch_owner = {
	.progress = prefetch_progress,
	.end = prefetch_end,
};

static void start_prefetch(struct work *w, const struct version_ident *ident)
{
	struct agent *a = w->a;
	struct prefetch *p = NULL;
	int r;

	hold(w);
	r = reader_prefetch(a->cfg.reader, ident, w->o.number, CLASS_PREFETCH,
			    &prefetch_owner, w, &p);
	if (r) {
		release(w);
		prefetch_failed(w, 0, ident->size_bytes, r);
		return;
	}
	LOCK_SCOPE(&a->lock);
	if (w->over) /* already; `p` is gone or going */
		return;
	w->prefetch = p;
	if (w->cancelled || a->stop)
		reader_prefetch_cancel(a->cfg.reader, p);
	work_changed_locked(w);
}

static void run_prefetch(struct work *w)
{
	struct agent *a = w->a;
	struct version_ident ident;
	struct version_info info;
	int r = ident_of(a, &w->o, &ident);

	if (r == -ESTALE) {
		failed(w, "id %" PRIu64 " is another version here: plan it "
		       "anew", w->o.id);
		return;
	}
	if (r) {
		failed(w, "not in the catalog any more: it was removed or "
		       "replaced");
		return;
	}
	if (w->o.hold_until_s) {
		r = cache_hold(a->cfg.cache, &ident, w->o.hold_until_s);
		if (r == -EINVAL) {
			prefetch_failed(w, 0, 0, -EINVAL);
			return;
		}
		if (r) {
			failed(w, "cannot note the hold: %s", strerror(-r));
			return;
		}
	}
	if (cache_info(a->cfg.cache, ident.id, &info) == 0 && info.complete) {
		done(w, ident.size_bytes, ident.size_bytes);
		return;
	}
	start_prefetch(w, &ident);
}

/* ---- the others -------------------------------------------------------- */

static void run_delete(struct work *w)
{
	struct agent *a = w->a;
	char until[UNITS_TIME_TEXT];
	struct version_info info = {0};
	uint64_t freed = 0;
	int r;

	r = cache_evict(a->cfg.cache, w->o.id, &w->o.digest, false, &freed);
	switch (r) {
	case 0:
	case -ENOENT: /* ordered twice, or evicted meanwhile */
		done(w, freed, freed);
		break;
	case -EBUSY:
		cache_info(a->cfg.cache, w->o.id, &info);
		failed(w, info.opens || !info.pins
			       ? "open: a station is reading it"
			       : "being fetched: cancel that first");
		break;
	case -EPERM:
		cache_info(a->cfg.cache, w->o.id, &info);
		failed(w, "on hold until %s: remove its plan entry first",
		       units_time(info.held_until_s, until));
		break;
	case -ESTALE:
		failed(w, "id %" PRIu64 " has another digest here", w->o.id);
		break;
	default:
		failed(w, "%s", strerror(-r));
	}
}

static void run_reclaim(struct work *w)
{
	char want[UNITS_TEXT], got[UNITS_TEXT], have[UNITS_TEXT];
	struct cache_stats s;
	uint64_t freed = 0;
	int r;

	r = cache_reclaim(w->a->cfg.cache, w->o.bytes, &freed);
	if (!r) {
		done(w, freed, freed);
		return;
	}
	lock_take(&w->a->lock);
	w->report.stored_bytes = w->report.size_bytes = freed;
	lock_give(&w->a->lock);
	if (r != -ENOSPC) {
		failed(w, "%s", strerror(-r));
		return;
	}
	cache_stats(w->a->cfg.cache, &s);
	failed(w, "%s were asked for, %s are free after deleting %s; the rest "
	       "is held, open or just read", units_size(w->o.bytes, want),
	       units_size(s.free_bytes, have), units_size(freed, got));
}

static void run_hold(struct work *w, int64_t until_s)
{
	struct version_ident ident;
	int r = ident_of(w->a, &w->o, &ident);

	/* Removed from the catalog, but still stored: that is fine. */
	if (r == -ENOLINK)
		r = 0;
	if (r == -ENOENT && until_s == 0) {
		done(w, 0, 0);
		return;
	}
	if (!r)
		r = cache_hold(w->a->cfg.cache, &ident, until_s);
	if (r == -ENOENT)
		failed(w, "neither in the catalog nor stored");
	else if (r == -ESTALE)
		failed(w, "id %" PRIu64 " is another version here", w->o.id);
	else if (r == -EINVAL)
		prefetch_failed(w, 0, 0, -EINVAL);
	else if (r)
		failed(w, "%s", strerror(-r));
	else
		done(w, 0, 0);
}

void work_run(struct work *w)
{
	switch (w->o.kind) {
	case ORDER_PREFETCH:
		run_prefetch(w);
		return;
	case ORDER_DELETE:
		run_delete(w);
		return;
	case ORDER_RECLAIM:
		run_reclaim(w);
		return;
	case ORDER_HOLD:
		run_hold(w, w->o.hold_until_s);
		return;
	case ORDER_RELEASE:
		run_hold(w, 0);
		return;
	case ORDER_CANCEL: /* done when it came */
	case ORDER_KIND_COUNT:
		break;
	}
	failed(w, "an order of a kind that this version does not know");
}
