/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fetch.c - what others call. Nothing here touches the network or calls an
 * owner: tasks are queued, marked, and the network thread is woken. That is
 * why it may be called from a callback and under the caller's locks.
 */
#include "fs/fetch/fetch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "common/bitmap.h"
#include "common/clock.h"
#include "fs/fetch/curlset.h"
#include "fs/fetch/task.h"
#include "fs/locks.h"

#define CONNECTIONS_DEFAULT 32
#define CONNECTIONS_MAX 256
#define STALL_DEFAULT_MS 10000

/* A wakeup costs a system call on both sides: one is enough until the network
 * thread has looked. */
void fetch_wake(struct fetch *f)
{
	if (!atomic_exchange(&f->woken, true))
		curl_multi_wakeup(f->multi);
}

static void on_room(void *ctx)
{
	struct fetch *f = ctx;

	atomic_store(&f->room, true);
	fetch_wake(f);
}

/* ---- tasks ----------------------------------------------------------- */

/* What is given back after a failure goes in front: it is the oldest. */
void task_enqueue_locked(struct task *t, bool front)
{
	struct fetch *f = t->f;

	t->state = TASK_QUEUED;
	if (front)
		DL_PREPEND(f->queue[t->class_], t);
	else
		DL_APPEND(f->queue[t->class_], t);
	f->n_queued++;
}

/* Leaves it RUNNING: in the hands of the network thread. */
void task_dequeue_locked(struct task *t)
{
	struct fetch *f = t->f;

	DL_DELETE(f->queue[t->class_], t);
	f->n_queued--;
	t->state = TASK_RUNNING;
}

bool task_missing_locked(const struct task *t, uint64_t *ret_first,
			 uint64_t *ret_end)
{
	const struct fetch_window *w = (const struct fetch_window *)t;
	const struct manifest_task *mt = (const struct manifest_task *)t;
	uint64_t first;

	if (!t->is_window)
		return mt->error == -ECANCELED && t->checks == 0;
	first = bitmap_next_clear(w->got, 0, w->n);
	if (first == w->n)
		return false;
	*ret_first = first;
	*ret_end = bitmap_next_set(w->got, first, w->n);
	return true;
}

bool task_settle_locked(struct task *t)
{
	uint64_t first, end;

	if (!t->cancelled && task_missing_locked(t, &first, &end)) {
		task_enqueue_locked(t, true);
		return false;
	}
	t->state = TASK_CHECKING;
	return t->checks == 0;
}

void task_end(struct task *t)
{
	struct fetch_window *w = (struct fetch_window *)t;
	struct manifest_task *mt = (struct manifest_task *)t;
	struct fetch *f = t->f;
	bool wake;

	if (t->is_window)
		w->owner->end(w->ctx);
	else
		mt->done(mt->ctx, mt->m, mt->error);
	lock_take(&f->lock);
	DL_DELETE2(f->all, t, all_prev, all_next);
	wake = --f->n_live == 0 && f->quit;
	if (wake)
		cond_wake_all(&f->gone);
	lock_give(&f->lock);
	free(t);
}

static void task_add_locked(struct task *t)
{
	struct fetch *f = t->f;

	DL_APPEND2(f->all, t, all_prev, all_next);
	f->n_live++;
	if (!f->quit) {
		task_enqueue_locked(t, false);
		return;
	}
	t->cancelled = true;
	t->state = TASK_RUNNING;
	DL_APPEND(f->dead, t);
}

static void task_cancel_locked(struct task *t)
{
	t->cancelled = true;
	if (t->state != TASK_QUEUED)
		return;
	task_dequeue_locked(t);
	DL_APPEND(t->f->dead, t);
}

/* ---- windows and manifests ------------------------------------------- */

struct fetch_window *fetch_start(struct fetch *f, const struct manifest *m,
				 uint64_t first, uint64_t n,
				 enum wire_class class_, uint64_t order,
				 const struct fetch_owner *owner, void *ctx)
{
	struct fetch_window *w = calloc(1, sizeof(*w) + bitmap_bytes(n));

	if (!w)
		return NULL;
	w->task = (struct task){.f = f,
				.is_window = true,
				.digest = &m->digest,
				.order = order,
				.class_ = class_};
	w->m = m;
	w->first = first;
	w->n = n;
	w->owner = owner;
	w->ctx = ctx;
	lock_take(&f->lock);
	task_add_locked(&w->task);
	lock_give(&f->lock);
	fetch_wake(f);
	return w;
}

void fetch_promote(struct fetch *f, struct fetch_window *w,
		   enum wire_class class_)
{
	struct task *t = &w->task;
	bool better;

	lock_take(&f->lock);
	better = class_ < t->class_;
	if (better && t->state == TASK_QUEUED) {
		task_dequeue_locked(t);
		t->class_ = class_;
		task_enqueue_locked(t, false);
	} else if (better) {
		t->class_ = class_;
	}
	lock_give(&f->lock);
	if (better)
		fetch_wake(f);
}

void fetch_cancel(struct fetch *f, struct fetch_window *w)
{
	lock_take(&f->lock);
	task_cancel_locked(&w->task);
	lock_give(&f->lock);
	fetch_wake(f);
}

uint64_t fetch_manifest(struct fetch *f, const struct digest *digest,
			enum wire_class class_,
			void (*done)(void *ctx, struct manifest *m, int error),
			void *ctx)
{
	struct manifest_task *mt = calloc(1, sizeof(*mt));
	uint64_t number;

	if (!mt)
		return 0;
	mt->task = (struct task){
		.f = f, .digest = &mt->digest, .class_ = class_};
	mt->digest = *digest;
	mt->done = done;
	mt->ctx = ctx;
	mt->error = -ECANCELED;
	lock_take(&f->lock);
	number = mt->number = ++f->last_number;
	task_add_locked(&mt->task);
	lock_give(&f->lock);
	fetch_wake(f);
	return number;
}

void fetch_manifest_cancel(struct fetch *f, uint64_t number)
{
	struct task *t;

	lock_take(&f->lock);
	DL_FOREACH2(f->all, t, all_next) {
		struct manifest_task *mt = (struct manifest_task *)t;

		if (t->is_window || mt->number != number)
			continue;
		task_cancel_locked(t);
		break;
	}
	lock_give(&f->lock);
	fetch_wake(f);
}

/* ---- life ------------------------------------------------------------ */

static void destroy(struct fetch *f)
{
	for (unsigned i = 0; f->slot && i < f->n_slots; i++)
		slot_free(&f->slot[i]);
	free(f->slot);
	curl_multi_cleanup(f->multi);
	buf_pool_free(f->bufs);
	lock_destroy(&f->lock);
	cond_destroy(&f->gone);
	free(f->server);
	free(f->ca_file);
	free(f);
}

static int set_up(struct fetch *f, const struct fetch_config *cfg)
{
	int r = buf_pool_new(cfg->memory_bytes, &f->bufs);

	if (r < 0)
		return r;
	buf_pool_on_room(f->bufs, on_room, f);
	f->server = strdup(cfg->server ? cfg->server : "");
	f->ca_file = cfg->ca_file ? strdup(cfg->ca_file) : NULL;
	f->slot = calloc(f->n_slots, sizeof(*f->slot));
	f->multi = curl_multi_init();
	if (!f->server || (cfg->ca_file && !f->ca_file) || !f->slot ||
	    !f->multi)
		return -ENOMEM;
	/* Without this curl keeps four times the running transfers, then
	 * closes warm ones as those come and go. */
	curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS,
			  (long)f->n_slots * 2);
	curl_multi_setopt(f->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
	for (unsigned i = 0; i < f->n_slots; i++) {
		r = slot_init(&f->slot[i], f);
		if (r < 0)
			return r;
	}
	return 0;
}

int fetch_new(const struct fetch_config *cfg, struct fetch **ret,
	      struct err *e)
{
	struct fetch *f;
	int r = curlset_global();

	if (r < 0)
		return err_set(e, EIO, "libcurl does not start");
	f = calloc(1, sizeof(*f));
	if (!f)
		return err_set(e, ENOMEM, "out of memory");
	lock_init(&f->lock, LOCK_FETCH);
	cond_init(&f->gone);
	f->sources = cfg->sources;
	f->pool = cfg->pool;
	f->n_slots = cfg->max_connections ? cfg->max_connections
					  : CONNECTIONS_DEFAULT;
	if (f->n_slots > CONNECTIONS_MAX)
		f->n_slots = CONNECTIONS_MAX;
	f->stall_ms = cfg->stall_ms ? cfg->stall_ms : STALL_DEFAULT_MS;
	r = set_up(f, cfg);
	if (r == 0)
		r = -pthread_create(&f->thread, NULL, net_main, f);
	if (r < 0) {
		destroy(f);
		return err_set(e, -r, "cannot start fetching: %s",
			       strerror(-r));
	}
	*ret = f;
	return 0;
}

void fetch_free(struct fetch *f)
{
	struct task *t;

	if (!f)
		return;
	lock_take(&f->lock);
	f->quit = true;
	DL_FOREACH2(f->all, t, all_next)
		task_cancel_locked(t);
	lock_give(&f->lock);
	fetch_wake(f);
	lock_take(&f->lock);
	while (f->n_live > 0)
		cond_wait(&f->gone, &f->lock);
	lock_give(&f->lock);
	fetch_wake(f);
	pthread_join(f->thread, NULL);
	destroy(f);
}

/* ---- figures --------------------------------------------------------- */

uint64_t fetch_window_bytes(struct fetch *f)
{
	return rate_window_bytes(atomic_load(&f->average_bps));
}

void fetch_stats(struct fetch *f, struct fetch_stats *ret)
{
	uint64_t buffers = buf_pool_used(f->bufs), now_ns = clock_mono_ns();

	LOCK_SCOPE(&f->lock);
	*ret = f->stats;
	ret->in_flight = f->n_running;
	ret->waiting = f->n_queued;
	ret->buffers_bytes = buffers;
	ret->rate_bps = rate_bps(&f->rate, now_ns);
}
