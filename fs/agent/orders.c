/* SPDX-License-Identifier: Apache-2.0 */
/*
 * orders.c - the table of orders and the thread that has them carried out
 * (carry.c) one by one, because they wait for the disk. A cancel does not stand
 * in line: it would be late behind what it cancels.
 */
#include "fs/agent/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "common/pulse.h"
#include "common/utf8.h"

void work_changed_locked(struct work *w)
{
	w->version++;
	cond_wake_all(&w->a->report_wake);
}

void work_end_locked(struct work *w, bool done, const char *message)
{
	if (w->stage == WORK_ENDED)
		return;
	w->stage = WORK_ENDED;
	w->a->n_open--;
	w->a->n_ended++;
	w->report.state = done ? REPORT_DONE : REPORT_FAILED;
	snprintf(w->report.message, sizeof(w->report.message), "%.*s",
		 STAGEFS_REPORT_MESSAGE_MAX_BYTES, message);
	utf8_clean(w->report.message); /* it may be cut inside a character */
	if (!done)
		w->a->stats.orders_failed++;
	work_changed_locked(w);
}

/* ---- the thread -------------------------------------------------------- */

static struct work *next_locked(struct agent *a)
{
	struct work *w = a->queue;

	if (!w)
		return NULL;
	a->queue = w->next;
	if (!a->queue)
		a->queue_end = &a->queue;
	w->next = NULL;
	return w;
}

/* What was ended while it waited: once it is reported its memory may go. */
static void dequeue_locked(struct agent *a, struct work *w)
{
	struct work **at = &a->queue;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	if (!*at)
		a->queue_end = at;
	w->next = NULL;
}

void *orders_main(void *agent)
{
	struct agent *a = agent;
	struct work *w;

	pulse_name("orders");
	lock_take(&a->lock);
	while (!a->stop) {
		w = next_locked(a);
		if (!w) {
			agent_wait_locked(a, &a->orders_wake, UINT64_MAX);
			continue;
		}
		w->stage = WORK_RUNNING;
		w->holds++;
		lock_give(&a->lock);
		pulse_rest(); /* a slow disk is no hang */
		work_run(w);
		lock_take(&a->lock);
		w->holds--;
	}
	lock_give(&a->lock);
	return NULL;
}

/* ---- the table --------------------------------------------------------- */

static void work_free(struct agent *a, struct work *w)
{
	HASH_DEL(a->works, w);
	wire_order_clear(&w->o);
	free(w);
}

/* The oldest of those that ended and were reported. */
static void trim_locked(struct agent *a)
{
	struct work *w, *next;

	HASH_ITER(hh, a->works, w, next)
	{
		if (a->n_ended <= WORK_ENDED_MAX)
			return;
		if (w->stage != WORK_ENDED || w->holds ||
		    w->reported != w->version)
			continue;
		a->n_ended--;
		work_free(a, w);
	}
}

static struct work *find_locked(struct agent *a, uint64_t number)
{
	struct work *w;

	HASH_FIND(hh, a->works, &number, sizeof(number), w);
	return w;
}

static void cancel_locked(struct agent *a, struct work *cancel)
{
	struct work *w = find_locked(a, cancel->o.cancels);

	if (w && w->stage != WORK_ENDED) {
		w->cancelled = true;
		if (w->prefetch)
			reader_prefetch_cancel(a->cfg.reader, w->prefetch);
		if (w->stage == WORK_QUEUED) {
			dequeue_locked(a, w);
			work_end_locked(w, false, "cancelled");
		}
	}
	work_end_locked(cancel, true, "");
}

static void take_one_locked(struct agent *a, struct wire_order *o)
{
	struct work *w = find_locked(a, o->number);

	if (w) {
		if (w->stage == WORK_ENDED)
			work_changed_locked(w); /* told again */
		return;
	}
	if (a->n_open >= WORK_OPEN_MAX)
		return; /* comes again after a reconnect */
	w = calloc(1, sizeof(*w));
	if (!w)
		return;
	w->a = a;
	w->o = *o;
	memset(o, 0, sizeof(*o));
	w->report = (struct wire_report){.number = w->o.number,
					 .state = REPORT_RUNNING,
					 .size_bytes = w->o.size_bytes};
	HASH_ADD(hh, a->works, o.number, sizeof(w->o.number), w);
	a->n_open++;
	a->stats.orders++;
	if (w->o.kind == ORDER_CANCEL) {
		cancel_locked(a, w);
		return;
	}
	*a->queue_end = w;
	a->queue_end = &w->next;
	cond_wake_all(&a->orders_wake);
}

void orders_take(struct agent *a, struct wire_orders *o)
{
	LOCK_SCOPE(&a->lock);
	for (size_t i = 0; i < o->n_orders; i++)
		take_one_locked(a, &o->order[i]);
	trim_locked(a);
}

/* The threads have ended; prefetches still call back. */
void orders_end(struct agent *a)
{
	struct work *w, *next;

	lock_take(&a->lock);
	HASH_ITER(hh, a->works, w, next)
	{
		if (w->prefetch)
			reader_prefetch_cancel(a->cfg.reader, w->prefetch);
	}
	HASH_ITER(hh, a->works, w, next)
	{
		while (w->holds)
			cond_wait(&a->orders_wake, &a->lock);
	}
	lock_give(&a->lock);
}

void orders_free(struct agent *a)
{
	struct work *w, *next;

	HASH_ITER(hh, a->works, w, next)
	{
		work_free(a, w);
	}
}
