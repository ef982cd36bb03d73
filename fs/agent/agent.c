/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.c - life of the agent, and the one place from which it asks the
 * origin. Three threads and no event loop: each does one thing that blocks
 * (the network, the disk, the network), and none has to be fast.
 */
#include "fs/agent/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/pulse.h"
#include "common/units.h"
#include "fs/locks.h"

#define URL_MAX 640

bool agent_stopping(struct agent *a)
{
	LOCK_SCOPE(&a->lock);
	return a->stop;
}

void agent_wait_locked(struct agent *a, struct wait_cond *c, uint64_t ns)
{
	uint64_t round = clock_mono_ns() + pulse_round_ns();

	pulse_expect();
	cond_wait_until(c, &a->lock, ns < round ? ns : round);
	pulse_expect_ns(AGENT_ROUND_NS);
}

void agent_sleep_until(struct agent *a, struct wait_cond *c, uint64_t ns)
{
	LOCK_SCOPE(&a->lock);
	while (!a->stop && clock_mono_ns() < ns)
		agent_wait_locked(a, c, ns);
}

bool agent_doubt(struct agent *a, size_t source)
{
	size_t n = sources_count(a->cfg.sources);
	uint32_t all = (uint32_t)((UINT64_C(1) << n) - 1);
	uint32_t bit = UINT32_C(1) << source;
	bool news;

	LOCK_SCOPE(&a->lock);
	news = !(a->doubted & bit) && (a->doubted | bit) != all;
	if (!a->doubted)
		a->doubted_until_ns = clock_mono_ns() +
				      REFUSED_RETRY_S * NS_PER_S;
	a->doubted |= bit;
	return news;
}

static int pick(struct agent *a, struct ask *q)
{
	uint64_t now = clock_mono_ns();
	uint32_t doubted;
	int r;

	lock_take(&a->lock);
	if (now >= a->doubted_until_ns)
		a->doubted = 0;
	doubted = a->doubted;
	lock_give(&a->lock);
	r = sources_pick_except(a->cfg.sources, NULL, doubted, false, now,
				&q->source, &q->when_ns);
	/* One whose catalog is too old still has orders. */
	if (r && doubted)
		r = sources_pick(a->cfg.sources, NULL, now, &q->source,
				 &q->when_ns);
	return r;
}

/* A 5xx says that this origin cannot do it now; another may. */
int agent_ask(struct agent *a, struct ask *q, struct http_answer *ret,
	      struct err *e)
{
	struct http_call call = {
		.method = q->method,
		.body = q->body,
		.body_n = q->body_n,
		.content_type = q->content_type,
		.etag = q->etag,
		.max_bytes = q->max_bytes,
		.timeout_ms = q->timeout_ms,
	};
	struct http_answer answer;
	char url[URL_MAX];
	size_t i;
	int r;

	if (pick(a, q))
		return err_set(e, EAGAIN, "no origin may be asked just now");
	i = q->source;
	snprintf(url, sizeof(url), "%s%s", sources_url(a->cfg.sources, i),
		 q->path);
	call.url = url;
	pulse_expect_ns(q->timeout_ms * NS_PER_MS + AGENT_ROUND_NS);
	r = http_do(a->cfg.http, &call, &answer, e);
	if (r == -ECANCELED)
		return r;
	if (!r && answer.status >= 500) {
		r = err_set(e, EIO, "%s: answered %d",
			    sources_url(a->cfg.sources, i), answer.status);
		http_answer_clear(&answer);
	}
	if (r) {
		sources_failed(a->cfg.sources, i, clock_mono_ns(),
			       e ? e->text : "");
		return r;
	}
	sources_worked(a->cfg.sources, i, clock_mono_ns());
	*ret = answer;
	return 0;
}

static void reach_changed(void *ctx, bool reachable, uint64_t for_ns,
			  const char *why)
{
	struct agent *a = ctx;
	struct reader_stats s;
	char span[UNITS_TEXT];

	if (!reachable) {
		log_warn("agent", "origin unreachable: %s: serving what is "
			 "stored, retrying", why);
		return;
	}
	reader_stats(a->cfg.reader, &s);
	log_info("agent", "origin reachable again after %s, %" PRIu64
		 " reads waited", units_span(for_ns / NS_PER_MS, span),
		 s.parked);
}

/* ---- life -------------------------------------------------------------- */

static int start_thread(struct agent *a, pthread_t *t, void *(*main)(void *))
{
	int r = pthread_create(t, NULL, main, a);

	if (r)
		return -r;
	a->n_threads++;
	return 0;
}

int agent_new(const struct agent_config *cfg, struct agent **ret,
	      struct err *e)
{
	struct agent *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return err_set(e, ENOMEM, "out of memory");
	a->cfg = *cfg;
	a->name = strdup(cfg->name);
	if (!a->name) {
		free(a);
		return err_set(e, ENOMEM, "out of memory");
	}
	if (cfg->pin) {
		a->pin = *cfg->pin;
		a->cfg.pin = &a->pin;
	}
	if (!a->cfg.wait_s)
		a->cfg.wait_s = 50;
	if (!a->cfg.report_ms)
		a->cfg.report_ms = 1000;
	lock_init(&a->lock, LOCK_AGENT);
	cond_init(&a->channel_wake);
	cond_init(&a->orders_wake);
	cond_init(&a->report_wake);
	cond_init(&a->state_wake);
	a->queue_end = &a->queue;
	a->need_full = true;
	uuid_make(a->boot);
	descriptor_time_zone(a->time_zone, sizeof(a->time_zone));
	sources_on_change(cfg->sources, reach_changed, a);
	r = start_thread(a, &a->channel, channel_main);
	if (!r)
		r = start_thread(a, &a->orders, orders_main);
	if (!r)
		r = start_thread(a, &a->reporter, report_main);
	if (r) {
		agent_free(a);
		return err_set(e, -r, "cannot start a thread: %s",
			       strerror(-r));
	}
	*ret = a;
	return 0;
}

static void wake_all(struct agent *a)
{
	LOCK_SCOPE(&a->lock);
	a->stop = true;
	cond_wake_all(&a->channel_wake);
	cond_wake_all(&a->orders_wake);
	cond_wake_all(&a->report_wake);
	cond_wake_all(&a->state_wake);
}

void agent_free(struct agent *a)
{
	struct dirty *d, *next;

	if (!a)
		return;
	wake_all(a);
	http_stop(a->cfg.http);
	if (a->n_threads > 0)
		pthread_join(a->channel, NULL);
	if (a->n_threads > 1)
		pthread_join(a->orders, NULL);
	if (a->n_threads > 2)
		pthread_join(a->reporter, NULL);
	orders_end(a);
	sources_on_change(a->cfg.sources, NULL, NULL);
	orders_free(a);
	descriptor_forget(a);
	HASH_ITER(hh, a->dirty, d, next)
	{
		HASH_DEL(a->dirty, d);
		free(d);
	}
	cond_destroy(&a->channel_wake);
	cond_destroy(&a->orders_wake);
	cond_destroy(&a->report_wake);
	cond_destroy(&a->state_wake);
	lock_destroy(&a->lock);
	free(a->name);
	free(a);
}

/* ---- what others ask and tell ------------------------------------------ */

void agent_changed(struct agent *a, uint64_t id)
{
	struct dirty *d;

	if (!a)
		return;
	LOCK_SCOPE(&a->lock);
	HASH_FIND(hh, a->dirty, &id, sizeof(id), d);
	if (d)
		return;
	d = malloc(sizeof(*d));
	if (d) {
		d->id = id;
		HASH_ADD(hh, a->dirty, id, sizeof(d->id), d);
	} else {
		a->need_full = true;
	}
	cond_wake_all(&a->report_wake);
}

int agent_wait_catalog(struct agent *a, uint32_t timeout_ms, struct err *e)
{
	uint64_t until = clock_mono_ns() + timeout_ms * NS_PER_MS;
	struct err why;
	int r;

	lock_take(&a->lock);
	while (!a->stop && !a->synced && !a->refused)
		if (cond_wait_until(&a->state_wake, &a->lock, until))
			break;
	r = a->synced ? 0 : a->refused ? a->sync_error : -ETIMEDOUT;
	why = a->sync_why;
	lock_give(&a->lock);
	if (r)
		err_set(e, -r, "%s", *why.text ? why.text
					       : "no answer from the origin");
	return r;
}

void agent_stats(struct agent *a, struct agent_stats *ret)
{
	LOCK_SCOPE(&a->lock);
	*ret = a->stats;
	ret->connected = a->connected;
}

static int by_number(const void *a, const void *b)
{
	const struct agent_order *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

int agent_orders(struct agent *a, struct agent_order **ret, size_t *ret_n)
{
	struct agent_order *list;
	struct work *w, *next;
	size_t n = 0;

	lock_take(&a->lock);
	list = calloc(HASH_COUNT(a->works) + 1, sizeof(*list));
	if (!list) {
		lock_give(&a->lock);
		return -ENOMEM;
	}
	HASH_ITER(hh, a->works, w, next)
	{
		struct agent_order *o = &list[n++];

		o->number = w->o.number;
		o->kind = w->o.kind;
		o->state = w->report.state;
		o->stored_bytes = w->report.stored_bytes;
		o->size_bytes = w->report.size_bytes;
		snprintf(o->name, sizeof(o->name), "%.*s",
			 (int)sizeof(o->name) - 1, w->o.name ? w->o.name : "");
		snprintf(o->message, sizeof(o->message), "%.*s",
			 (int)sizeof(o->message) - 1, w->report.message);
	}
	lock_give(&a->lock);
	qsort(list, n, sizeof(*list), by_number);
	*ret = list;
	*ret_n = n;
	return 0;
}
