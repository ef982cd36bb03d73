/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evictor.c - the thread that makes room for those who wait in room.c's
 * queue, ends promises that nobody came for, and shrinks a cache whose
 * capacity was lowered.
 *
 * It looks at the whole state anew after each batch and keeps no plan: what
 * was open a moment ago may go now, and the reverse.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/cache/internal.h"

#include <utlist.h>

#include "common/pulse.h"

#define PROMISE_NS (2 * NS_PER_S)
#define TRIM_RETRY_NS (10 * NS_PER_S)

/* Takes the first waiter off the queue, promised or not, and calls it. */
static void call_first_locked(struct cache *c, bool promise)
{
	struct leftovers l = LEFTOVERS_NONE;
	struct waiter *w = c->waiters;
	struct version *v = w->v;

	c->waiters = w->next;
	v->waiting--;
	if (promise && v->refs > 0) {
		if (!v->promised_bytes)
			LL_PREPEND2(c->promised, v, promised_next);
		v->promised_bytes += w->need_bytes;
		c->space.promised_bytes += w->need_bytes;
		v->promised_until_ns = clock_mono_ns() + PROMISE_NS;
	}
	lock_give(&c->lock);
	w->again(w->ctx);
	lock_take(&c->lock);
	version_unuse_locked(v, &l);
	free(w);
	lock_give(&c->lock);
	leftovers_end(c, &l);
	lock_take(&c->lock);
}

/* Promises that nobody came for. Returns when the next one ends, or 0. */
static uint64_t expire_promises_locked(struct cache *c)
{
	uint64_t now_ns = clock_mono_ns(), next_ns = 0;
	struct version *v, *tmp;

	LL_FOREACH_SAFE2(c->promised, v, tmp, promised_next) {
		if (v->promised_until_ns <= now_ns)
			promise_drop_locked(v);
		else if (!next_ns || v->promised_until_ns < next_ns)
			next_ns = v->promised_until_ns;
	}
	return next_ns;
}

static void serve_first_locked(struct cache *c)
{
	struct waiter *w = c->waiters;
	struct victim_rules rules;
	struct fs_sample fs;
	uint64_t shortage, freed;

	/* Only this thread takes waiters off, but a better one may come. */
	lock_give(&c->lock);
	fs_sample_take(c, &fs);
	lock_take(&c->lock);
	w = c->waiters;
	rules = rules_now(c, w->why);
	shortage = space_shortage(&c->space, &fs, w->need_bytes, 0);
	if (shortage == 0)
		call_first_locked(c, true);
	else if (evict_for_locked(c, shortage, &rules, EVICT_ROOM, &freed) <
		 0)
		call_first_locked(c, false); /* hears why when it asks */
}

/* Above capacity since it was lowered. False: nothing can go for now. */
static bool trim_locked(struct cache *c)
{
	struct victim_rules rules = rules_now(c, RESERVE_PREFETCH);
	uint64_t excess = space_excess(&c->space), freed;

	rules.partly = true;
	c->trim = excess > 0;
	return !excess || evict_for_locked(c, excess, &rules, EVICT_TRIM,
					   &freed) == 0;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

static void *evictor(void *arg)
{
	struct cache *c = arg;
	uint64_t until_ns;

	pulse_name("evict");
	lock_take(&c->lock);
	while (!c->quit || c->waiters) {
		pulse_rest(); /* a slow disk is no hang */
		until_ns = expire_promises_locked(c);
		if (c->waiters && c->quit)
			call_first_locked(c, false);
		else if (c->waiters)
			serve_first_locked(c);
		else if (c->trim && trim_locked(c))
			continue;
		else {
			if (c->trim)
				until_ns = earlier(until_ns, clock_mono_ns() +
								TRIM_RETRY_NS);
			pulse_expect();
			cond_wait_until(&c->bell, &c->lock,
					earlier(until_ns, clock_mono_ns() +
							  pulse_round_ns()));
		}
	}
	lock_give(&c->lock);
	return NULL;
}

int evictor_start(struct cache *c)
{
	int r = pthread_create(&c->evictor, NULL, evictor, c);

	c->has_evictor = r == 0;
	return -r;
}

void evictor_stop(struct cache *c)
{
	if (!c->has_evictor)
		return;
	lock_take(&c->lock);
	c->quit = true;
	cond_wake_all(&c->bell);
	cond_wake_all(&c->moved);
	lock_give(&c->lock);
	pthread_join(c->evictor, NULL);
	c->has_evictor = false;
}
