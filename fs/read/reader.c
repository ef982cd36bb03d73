/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader.c - the table of streams, and the pump: one thread that looks at
 * every stream whose state changed (want.c), ends prefetches, expires waits.
 *
 * The pump never waits for disk or network: what has to is handed to the
 * fetcher and the pool. So one thread serves every image, and the state of a
 * stream is only ever turned into windows at one place.
 */
#include "fs/read/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/pulse.h"
#include "fs/locks.h"
#include "fs/read/stream.h"

#define LOOK_AHEAD_DEFAULT (UINT64_C(32) << 20)
#define RING_DEFAULT (UINT64_C(64) << 20)
#define TICK_NS (250 * NS_PER_MS)
#define CLASH_TELL_NS (60 * NS_PER_S)

/* ---- references and the pump's queue ----------------------------------- */

struct stream *stream_ref(struct stream *s)
{
	__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
	return s;
}

void stream_put(struct stream *s)
{
	if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	ring_drop_locked(s); /* nobody else can see it */
	lock_destroy(&s->lock);
	version_put(s->v);
	free(s);
}

void stream_ring(struct stream *s)
{
	struct reader *r = s->r;

	lock_take(&r->pump_lock);
	if (!s->queued) {
		s->queued = true;
		s->queue_next = NULL;
		stream_ref(s);
		if (r->queue_end)
			r->queue_end->queue_next = s;
		else
			r->queue = s;
		r->queue_end = s;
		cond_wake_one(&r->pump_bell);
	}
	lock_give(&r->pump_lock);
}

void work_begin(struct reader *r)
{
	lock_take(&r->pump_lock);
	r->work++;
	lock_give(&r->pump_lock);
}

void work_end(struct reader *r)
{
	lock_take(&r->pump_lock);
	if (--r->work == 0)
		cond_wake_all(&r->work_gone);
	lock_give(&r->pump_lock);
}

bool reader_stopping(struct reader *r)
{
	return __atomic_load_n(&r->stop, __ATOMIC_ACQUIRE);
}

/* ---- the pump ----------------------------------------------------------- */

/* By the id: whoever opens and closes around each read has a stream each. */
bool stream_says(struct stream *s, enum stream_fault what)
{
	struct reader *r = s->r;
	bool news;

	lock_take(&r->pump_lock);
	news = said_is_news(&r->said[what], s->id, clock_mono_ns(),
			    SAY_AGAIN_NS);
	lock_give(&r->pump_lock);
	return news;
}

bool stream_wanted_locked(const struct stream *s)
{
	return s->opens || s->parked || s->prefetches || s->filling;
}

static void cancel_all_locked(struct stream *s)
{
	struct window *w;

	DL_FOREACH(s->windows, w)
		fetch_cancel(s->r->cfg.fetch, w->fetch);
	manifest_cancel_locked(s);
}

void stream_look(struct stream *s)
{
	struct wait *ready = NULL;
	uint64_t now = clock_mono_ns();

	prefetch_tick(s, now);
	lock_take(&s->lock);
	if (reader_stopping(s->r) || !stream_wanted_locked(s))
		cancel_all_locked(s);
	else
		want_locked(s, now);
	/* Never complete here: R9 gives way to C5. */
	if (s->no_store && s->r->cfg.serve_complete)
		park_complete_locked(s, &ready);
	lock_give(&s->lock);
	park_answer(ready);
}

/* References to all streams, malloc'd. */
static size_t all_streams(struct reader *r, struct stream ***ret)
{
	struct stream *s, *tmp;
	size_t n = 0;

	lock_take(&r->lock);
	*ret = calloc(HASH_COUNT(r->streams) + 1, sizeof(**ret));
	if (*ret)
		HASH_ITER(hh, r->streams, s, tmp)
			(*ret)[n++] = stream_ref(s);
	lock_give(&r->lock);
	return n;
}

/* How much of an image was read outlives its stream: an NFS server may open
 * and close it around every read (R7). Bounded: the oldest goes. */
static void past_keep_locked(struct reader *r, const struct stream *s)
{
	struct past *p;

	if (!s->engaged_bytes || version_complete(s->v))
		return;
	HASH_FIND(hh, r->past, &s->id, sizeof(s->id), p);
	if (!p) {
		if (HASH_COUNT(r->past) >= PAST_MAX) {
			p = r->past; /* uthash keeps the order of adding */
			HASH_DEL(r->past, p);
		} else {
			p = calloc(1, sizeof(*p));
		}
		if (!p)
			return;
		p->id = s->id;
		HASH_ADD(hh, r->past, id, sizeof(p->id), p);
	}
	p->engaged_bytes = s->engaged_bytes;
}

static uint64_t past_take_locked(struct reader *r, uint64_t id)
{
	uint64_t bytes = 0;
	struct past *p;

	HASH_FIND(hh, r->past, &id, sizeof(id), p);
	if (p) {
		bytes = p->engaged_bytes;
		HASH_DEL(r->past, p);
		free(p);
	}
	return bytes;
}

/*
 * Out of the table if only it and the caller have the stream: a reference to
 * a version keeps its file's space, so an idle stream must not stay.
 */
static void sweep(struct reader *r, struct stream *s)
{
	struct stream *gone = NULL, *there;

	lock_take(&r->lock);
	HASH_FIND(hh, r->streams, &s->id, sizeof(s->id), there);
	/* Nobody can take a reference without the lock. */
	if (there == s && __atomic_load_n(&s->refs, __ATOMIC_ACQUIRE) == 2) {
		HASH_DEL(r->streams, s);
		past_keep_locked(r, s);
		gone = s;
	}
	lock_give(&r->lock);
	if (gone)
		stream_put(gone);
}

static void tick(struct reader *r, uint64_t now)
{
	struct stream **all;
	size_t n = all_streams(r, &all);

	for (size_t i = 0; i < n; i++) {
		struct wait *failed = NULL;
		bool busy;

		lock_take(&all[i]->lock);
		park_expire_locked(all[i], now, &failed);
		ring_trim_locked(all[i]);
		busy = all[i]->parked || all[i]->prefetches || all[i]->filling;
		lock_give(&all[i]->lock);
		park_answer(failed);
		if (busy)
			stream_ring(all[i]);
		sweep(r, all[i]);
		stream_put(all[i]);
	}
	free(all);
}

static void *pump_main(void *ctx)
{
	struct reader *r = ctx;
	uint64_t next_tick = clock_mono_ns() + TICK_NS;
	struct stream *s;
	bool quit;

	pulse_name("pump");
	for (;;) {
		pulse_expect();
		lock_take(&r->pump_lock);
		while (!r->queue && !r->quit && clock_mono_ns() < next_tick)
			cond_wait_until(&r->pump_bell, &r->pump_lock,
					next_tick);
		s = r->queue;
		if (s) {
			r->queue = s->queue_next;
			if (!r->queue)
				r->queue_end = NULL;
			s->queued = false;
		}
		quit = r->quit;
		lock_give(&r->pump_lock);
		if (s) {
			stream_look(s);
			sweep(r, s);
			stream_put(s);
		} else if (quit) {
			return NULL;
		}
		if (clock_mono_ns() >= next_tick) {
			tick(r, clock_mono_ns());
			next_tick = clock_mono_ns() + TICK_NS;
		}
	}
}

/* ---- life cycle --------------------------------------------------------- */

int reader_new(const struct reader_config *cfg, struct reader **ret)
{
	struct reader *r = calloc(1, sizeof(*r));
	int error;

	if (!r)
		return -ENOMEM;
	r->cfg = *cfg;
	if (!r->cfg.look_ahead_bytes)
		r->cfg.look_ahead_bytes = LOOK_AHEAD_DEFAULT;
	if (!r->cfg.ring_bytes)
		r->cfg.ring_bytes = RING_DEFAULT;
	lock_init(&r->lock, LOCK_READER);
	lock_init(&r->pump_lock, LOCK_PUMP);
	cond_init(&r->pump_bell);
	cond_init(&r->work_gone);
	error = pthread_create(&r->pump, NULL, pump_main, r);
	if (error) {
		lock_destroy(&r->lock);
		lock_destroy(&r->pump_lock);
		free(r);
		return -error;
	}
	*ret = r;
	return 0;
}

static void stop_stream(struct stream *s)
{
	struct wait *failed = NULL;

	lock_take(&s->lock);
	park_fail_locked(s, UINT64_MAX, -EIO, &failed);
	cancel_all_locked(s);
	fill_stop_locked(s);
	lock_give(&s->lock);
	park_answer(failed);
	stream_ring(s); /* ends its prefetches */
}

void reader_free(struct reader *r)
{
	struct stream **all, *s, *tmp;
	struct past *p, *next;
	size_t n;

	if (!r)
		return;
	n = all_streams(r, &all);
	__atomic_store_n(&r->stop, true, __ATOMIC_RELEASE);
	for (size_t i = 0; i < n; i++)
		stop_stream(all[i]);
	lock_take(&r->pump_lock);
	r->quit = true; /* not before all streams were rung */
	cond_wake_all(&r->pump_bell);
	lock_give(&r->pump_lock);
	pthread_join(r->pump, NULL); /* it empties the queue first */

	lock_take(&r->pump_lock);
	while (r->work)
		cond_wait(&r->work_gone, &r->pump_lock);
	s = r->queue; /* rung by the last windows */
	r->queue = NULL;
	lock_give(&r->pump_lock);
	while (s) {
		struct stream *after = s->queue_next;

		stream_put(s);
		s = after;
	}
	for (size_t i = 0; i < n; i++)
		stream_put(all[i]);
	free(all);
	HASH_ITER(hh, r->streams, s, tmp) {
		HASH_DEL(r->streams, s);
		stream_put(s);
	}
	HASH_ITER(hh, r->past, p, next) {
		HASH_DEL(r->past, p);
		free(p);
	}
	lock_destroy(&r->lock);
	lock_destroy(&r->pump_lock);
	cond_destroy(&r->pump_bell);
	cond_destroy(&r->work_gone);
	free(r);
}

/* ---- opens --------------------------------------------------------------- */

static struct stream *stream_make(struct reader *r, struct version *v)
{
	const struct version_ident *ident = version_ident(v);
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->r = r;
	s->id = ident->id;
	s->v = version_ref(v);
	s->n_blocks = version_blocks(v);
	s->size_bytes = ident->size_bytes;
	s->block_bytes = ident->block_bytes;
	s->refs = 1; /* the table's */
	lock_init(&s->lock, LOCK_STREAM);
	return s;
}

/* Whatever is stored is of the other version: nothing of it is this one's. */
static void tell_clash(struct reader *r, const struct version_ident *ident)
{
	uint64_t now = clock_mono_ns();
	bool again;

	lock_take(&r->lock);
	again = r->clash_told_ns && now - r->clash_told_ns < CLASH_TELL_NS;
	if (!again)
		r->clash_told_ns = now;
	lock_give(&r->lock);
	if (!again)
		log_err("read", "%s: its id %llu is stored here with another "
			"digest: not served: the origin gave the id out twice "
			"(a restored database?): give this mount a new cache=",
			ident->name, (unsigned long long)ident->id);
}

int reader_open(struct reader *r, const struct version_ident *ident,
		struct stream **ret)
{
	struct stream *s, *old = NULL;
	struct version *v;
	int error = cache_get(r->cfg.cache, ident, &v);

	if (error == -EINVAL)
		tell_clash(r, ident);
	if (error)
		return error;
	version_open(v);
	lock_take(&r->lock);
	HASH_FIND(hh, r->streams, &ident->id, sizeof(ident->id), s);
	if (s && s->v != v) {
		/* It was evicted since: that stream's version is gone. */
		HASH_DEL(r->streams, s);
		old = s;
		s = NULL;
	}
	if (!s) {
		s = stream_make(r, v);
		if (s)
			s->engaged_bytes = past_take_locked(r, s->id);
		if (s)
			HASH_ADD(hh, r->streams, id, sizeof(s->id), s);
	}
	if (s)
		stream_ref(s);
	lock_give(&r->lock);
	if (old)
		stream_put(old);
	if (!s) {
		version_close(v);
		version_put(v);
		return -ENOMEM;
	}
	version_put(v); /* the stream has its own */
	lock_take(&s->lock);
	s->opens++;
	lock_give(&s->lock);
	*ret = s;
	return 0;
}

void reader_close(struct stream *s)
{
	lock_take(&s->lock);
	if (--s->opens == 0)
		ring_drop_locked(s);
	lock_give(&s->lock);
	version_close(s->v);
	stream_ring(s);
	stream_put(s);
}

struct version *stream_version(struct stream *s)
{
	return s->v;
}

bool reader_active(struct reader *r, uint64_t id)
{
	bool active = false;
	struct stream *s;

	lock_take(&r->lock);
	HASH_FIND(hh, r->streams, &id, sizeof(id), s);
	if (s) {
		lock_take(&s->lock);
		active = s->filling || s->prefetches || s->n_windows;
		lock_give(&s->lock);
	}
	lock_give(&r->lock);
	return active;
}

void reader_wants(struct reader *r, uint64_t id, struct reader_wants *ret)
{
	uint64_t now = clock_mono_ns();
	struct prefetch *p;
	struct stream *s;

	*ret = (struct reader_wants){0};
	LOCK_SCOPE(&r->lock);
	HASH_FIND(hh, r->streams, &id, sizeof(id), s);
	if (!s)
		return;
	lock_take(&s->lock);
	DL_COUNT(s->prefetches, p, ret->prefetches);
	ret->parked = s->n_parked;
	ret->windows = s->n_windows;
	ret->filling = s->filling;
	if (s->fill_retry_ns > now)
		ret->retry_ms = (s->fill_retry_ns - now) / NS_PER_MS;
	lock_give(&s->lock);
}

void reader_stats(struct reader *r, struct reader_stats *ret)
{
#define LOAD(f) ret->f = __atomic_load_n(&r->stats.f, __ATOMIC_RELAXED)
	LOAD(reads_stored);
	LOAD(reads_waited);
	LOAD(reads_failed);
	LOAD(reads_timed_out);
	LOAD(bytes_stored);
	LOAD(bytes_waited);
	LOAD(parked);
	LOAD(wait_ns_total);
	LOAD(from_memory);
#undef LOAD
	lock_take(&r->lock);
	ret->streams = HASH_COUNT(r->streams);
	lock_give(&r->lock);
}
