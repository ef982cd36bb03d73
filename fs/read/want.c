/* SPDX-License-Identifier: Apache-2.0 */
/*
 * want.c - turns what a stream wants into windows, most urgent first (R5):
 * what parked reads lack, what readers will want next, the rest.
 *
 * The pump calls it whenever something changed; it looks at the whole state
 * anew and keeps no plan of its own, so there is nothing that could disagree
 * with what readers, cache and fetcher really have. Rejected: queues of wanted
 * blocks per class, which have to be corrected at each seek and each answer.
 */
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/clock.h"
#include "fs/read/stream.h"

struct window *window_of_locked(struct stream *s, uint64_t block)
{
	struct window *w;

	DL_FOREACH(s->windows, w)
		if (block >= w->first && block < w->first + w->n)
			return w;
	return NULL;
}

static bool in_memory_locked(struct stream *s, uint64_t block)
{
	struct held *h;

	HASH_FIND(hh, s->held, &block, sizeof(block), h);
	return h != NULL;
}

/* First run of blocks in [from, end) that is neither stored, in memory nor in
 * flight, at most `max` long; false if there is none. */
static bool find_gap_locked(struct stream *s, uint64_t from, uint64_t end,
			    uint64_t max, uint64_t *ret_first, uint64_t *ret_n)
{
	uint64_t b = from, n = 1;
	struct window *w;

	for (;;) {
		b = version_next_missing(s->v, b, end);
		if (b >= end)
			return false;
		w = window_of_locked(s, b);
		if (w)
			b = w->first + w->n;
		else if (in_memory_locked(s, b))
			b++;
		else
			break;
	}
	while (n < max && b + n < end && !version_has(s->v, b + n) &&
	       !window_of_locked(s, b + n) && !in_memory_locked(s, b + n))
		n++;
	*ret_first = b;
	*ret_n = n;
	return true;
}

/* False: no memory. The pump comes again. */
static bool start_locked(struct stream *s, uint64_t first, uint64_t n,
			 enum wire_class class_, uint64_t order)
{
	struct window *w = calloc(1, sizeof(*w));

	if (!w)
		return false;
	w->s = stream_ref(s);
	w->first = first;
	w->n = n;
	w->class_ = class_;
	DL_APPEND(s->windows, w);
	s->n_windows++;
	work_begin(s->r);
	w->fetch = fetch_start(s->r->cfg.fetch, version_manifest(s->v), first,
			       n, class_, order, &arrive_owner, w);
	if (w->fetch)
		return true;
	DL_DELETE(s->windows, w);
	s->n_windows--;
	work_end(s->r);
	free(w);
	stream_put(s); /* not the last: the pump has one */
	return false;
}

static uint64_t window_blocks(struct stream *s)
{
	uint64_t n = fetch_window_bytes(s->r->cfg.fetch) / s->block_bytes;

	return n ? n : 1;
}

static void promote_locked(struct stream *s, struct window *w,
			   enum wire_class class_)
{
	if (w->class_ <= class_)
		return;
	w->class_ = class_;
	fetch_promote(s->r->cfg.fetch, w->fetch, class_);
}

static void want_wait_locked(struct stream *s, struct wait *wait)
{
	uint64_t end = wait->first + wait->n, first, n;
	struct window *w;

	for (uint64_t b = wait->first; b < end; b++) {
		w = window_of_locked(s, b);
		if (w && !wait->buf[b - wait->first])
			promote_locked(s, w, CLASS_DEMAND);
	}
	while (s->n_windows < WINDOWS_DEMAND_MAX &&
	       find_gap_locked(s, wait->first, end, wait->n, &first, &n))
		if (!start_locked(s, first, n, CLASS_DEMAND, 0))
			return;
}

/* What the fill has under way just there is wanted sooner now: it must not
 * stand in the way of the reader as something less urgent. */
static void promote_range_locked(struct stream *s, uint64_t from, uint64_t end)
{
	struct window *w;

	DL_FOREACH(s->windows, w)
		if (w->first < end && w->first + w->n > from)
			promote_locked(s, w, CLASS_LOOKAHEAD);
}

static unsigned urgent_windows_locked(struct stream *s)
{
	unsigned n = 0;
	struct window *w;

	DL_FOREACH(s->windows, w)
		n += w->class_ <= CLASS_LOOKAHEAD;
	return n;
}

/*
 * Ahead of one run. Windows start when a whole one fits or less than half of
 * the look-ahead is left: not one of a single block each time that a reader
 * has moved on by one.
 */
static void want_run_locked(struct stream *s, uint64_t from, uint64_t end)
{
	uint64_t max = window_blocks(s), first, n;

	if (max > (end - from) / 4)
		max = (end - from) / 4 ? (end - from) / 4 : 1;
	promote_range_locked(s, from, end);
	while (urgent_windows_locked(s) < WINDOWS_MAX &&
	       find_gap_locked(s, from, end, max, &first, &n)) {
		if (n < max && first - from > (end - from) / 2 &&
		    first + n == end && end < s->n_blocks)
			return;
		if (!start_locked(s, first, n, CLASS_LOOKAHEAD, 0))
			return;
	}
}

/* R5, R7: nothing but what is touched until fill-after bytes were read. */
static void want_ahead_locked(struct stream *s)
{
	uint64_t ahead = s->r->cfg.look_ahead_bytes, front;

	if (!stream_engaged_locked(s) || !s->opens)
		return;
	if (s->no_store && ahead > ring_share_bytes(s) / 2)
		ahead = ring_share_bytes(s) / 2;
	for (unsigned i = 0; runs_nth(&s->runs, i, &front); i++) {
		uint64_t from = front / s->block_bytes;
		uint64_t end = (front + ahead) / s->block_bytes;

		if (end > s->n_blocks)
			end = s->n_blocks;
		if (from < end)
			want_run_locked(s, from, end);
	}
}

static void want_rest_locked(struct stream *s)
{
	enum wire_class class_ = s->filling ? CLASS_FILL : CLASS_PREFETCH;
	uint64_t order = 0, first, n;
	struct prefetch *p;
	bool wanted = s->filling;
	struct window *w;

	if (s->no_store)
		return;
	DL_FOREACH(s->prefetches, p) {
		if (p->cancelled || p->over)
			continue;
		wanted = true;
		order = p->order;
		if (p->class_ < class_)
			class_ = p->class_;
	}
	if (!wanted)
		return;
	/* The origin may hold prefetch back: a fill does not wait for that. */
	DL_FOREACH(s->windows, w)
		promote_locked(s, w, class_);
	while (s->n_windows < WINDOWS_MAX &&
	       find_gap_locked(s, 0, s->n_blocks, window_blocks(s), &first, &n))
		if (!start_locked(s, first, n, class_, order))
			return;
}

void fill_start_locked(struct stream *s)
{
	if (s->filling || version_complete(s->v))
		return;
	s->filling = true;
	version_want(s->v);
	version_pin(s->v);
	stream_ref(s);
}

/* The caller holds another reference. */
void fill_stop_locked(struct stream *s)
{
	if (!s->filling)
		return;
	s->filling = false;
	version_unpin(s->v);
	stream_put(s);
}

static void check_space_locked(struct stream *s, uint64_t now_ns)
{
	if (now_ns < s->space_retry_ns)
		return;
	s->no_store = !version_could_fit(s->v, RESERVE_READER);
	if (!s->no_store)
		ring_store_locked(s);
	s->space_retry_ns = now_ns + SPACE_RETRY_NS;
}

/* With no fill (no space) readers in sequence still want their look-ahead. */
static bool wants_anything_locked(const struct stream *s)
{
	return s->parked || s->prefetches || s->filling ||
	       (s->opens && stream_engaged_locked(s));
}

void want_locked(struct stream *s, uint64_t now_ns)
{
	struct wait *wait;

	if (version_complete(s->v) || !wants_anything_locked(s))
		return;
	if (!version_manifest(s->v)) {
		if (s->parked || now_ns >= s->fill_retry_ns)
			manifest_want_locked(s);
		return;
	}
	check_space_locked(s, now_ns);
	DL_FOREACH(s->parked, wait)
		want_wait_locked(s, wait);
	if (s->no_store)
		fill_stop_locked(s);
	want_ahead_locked(s);
	if (now_ns >= s->fill_retry_ns)
		want_rest_locked(s);
}
