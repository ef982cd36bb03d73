/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flow.c - goes from event to event: a transfer starts or ends, a line changes.
 *
 * Of one sink only the transfer of lowest rank flows: it takes all that its
 * sink's line lets through, or all that is left of the shared one. So an event
 * looks at one transfer per sink, the head, in order of rank, and stops where
 * the shared line is used up. Heads are a set of ranks (a bit each), so 20,000
 * transfers to 1,000 sinks are a matter of milliseconds; walking all transfers
 * at each event took seconds.
 */
#include "origin/schedule/flow.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define NONE SIZE_MAX
/* A transfer that needs less than this is done: far above the rounding of a
 * double, far below what anybody sees. */
#define DONE_S 1e-6

/* ---- lines ------------------------------------------------------------- */

int flow_line_add(struct flow_line *l, double t, double bps)
{
	double *p;

	if (l->n && l->bps[l->n - 1] == bps)
		return 0;
	if ((l->n & (l->n - 1)) == 0) { /* full at powers of two */
		size_t room = l->n ? l->n * 2 : 1;

		p = realloc(l->t, room * sizeof(*p));
		if (!p)
			return -ENOMEM;
		l->t = p;
		p = realloc(l->bps, room * sizeof(*p));
		if (!p)
			return -ENOMEM;
		l->bps = p;
	}
	l->t[l->n] = t;
	l->bps[l->n++] = bps;
	return 0;
}

void flow_line_free(struct flow_line *l)
{
	free(l->t);
	free(l->bps);
	*l = (struct flow_line){0};
}

double flow_line_at(const struct flow_line *l, double t)
{
	size_t i = l->n - 1;

	while (i > 0 && l->t[i] > t)
		i--;
	return l->bps[i];
}

int flow_line_mirror(const struct flow_line *l, double end,
		     struct flow_line *ret)
{
	struct flow_line m = {0};
	int r = 0;

	for (size_t i = l->n; i-- > 0 && !r;) {
		double till = i + 1 < l->n ? l->t[i + 1] : end;

		if (l->t[i] < end)
			r = flow_line_add(&m, -fmin(till, end), l->bps[i]);
	}
	if (r) {
		flow_line_free(&m);
		return r;
	}
	*ret = m;
	return 0;
}

/* ---- the run ----------------------------------------------------------- */

struct sink {
	const struct flow_line *line;
	size_t at;    /* index into the line */
	size_t first; /* its transfers under way by rank: a list */
};

struct run {
	struct flow_task *task;
	size_t n;
	const struct flow_line *shared;
	size_t shared_at;
	struct sink *sink;
	size_t n_sinks;
	struct flow_task **by_rank;
	struct flow_task **by_start;
	size_t started;
	size_t *next; /* by rank: the next of the same sink */
	uint64_t *head; /* set of ranks */
	size_t n_words, n_heads;
	double *left; /* by rank: bytes to go */
	size_t *flowing; /* ranks that get something now */
	double *bps;	 /* ... and how much */
	size_t n_flowing;
	double now;
};

static int by_start(const void *a, const void *b)
{
	const struct flow_task *x = *(struct flow_task *const *)a;
	const struct flow_task *y = *(struct flow_task *const *)b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static void run_free(struct run *r)
{
	free(r->sink);
	free(r->by_rank);
	free(r->by_start);
	free(r->next);
	free(r->head);
	free(r->left);
	free(r->flowing);
	free(r->bps);
}

static int run_init(struct run *r, const struct flow_line *const *line)
{
	size_t n = r->n;

	r->n_words = (n + 63) / 64;
	r->sink = calloc(r->n_sinks, sizeof(*r->sink));
	r->by_rank = calloc(n, sizeof(struct flow_task *));
	r->by_start = calloc(n, sizeof(struct flow_task *));
	r->next = calloc(n, sizeof(*r->next));
	r->head = calloc(r->n_words, sizeof(*r->head));
	r->left = calloc(n, sizeof(*r->left));
	r->flowing = calloc(n, sizeof(*r->flowing));
	r->bps = calloc(n, sizeof(*r->bps));
	if (!r->sink || !r->by_rank || !r->by_start || !r->next || !r->head ||
	    !r->left || !r->flowing || !r->bps)
		return -ENOMEM;
	for (size_t i = 0; i < r->n_sinks; i++)
		r->sink[i] = (struct sink){line[i], 0, NONE};
	for (size_t i = 0; i < n; i++) {
		struct flow_task *t = &r->task[i];

		t->end = INFINITY;
		r->left[t->rank] = t->bytes;
		r->by_rank[t->rank] = r->by_start[i] = t;
	}
	qsort(r->by_start, n, sizeof(struct flow_task *), by_start);
	return 0;
}

static void set_head(struct run *r, size_t rank, bool on)
{
	uint64_t bit = UINT64_C(1) << rank % 64;

	if (rank == NONE)
		return;
	if (on)
		r->head[rank / 64] |= bit;
	else
		r->head[rank / 64] &= ~bit;
	r->n_heads += on ? 1 : (size_t)-1;
}

static void task_start(struct run *r, const struct flow_task *t)
{
	struct sink *s = &r->sink[t->sink];
	size_t *at = &s->first;

	while (*at != NONE && *at < t->rank)
		at = &r->next[*at];
	if (at == &s->first) {
		set_head(r, s->first, false);
		set_head(r, t->rank, true);
	}
	r->next[t->rank] = *at;
	*at = t->rank;
}

/* Only heads flow, so only heads end. */
static void task_end(struct run *r, size_t rank)
{
	struct flow_task *t = r->by_rank[rank];
	struct sink *s = &r->sink[t->sink];

	t->end = r->now;
	set_head(r, rank, false);
	s->first = r->next[rank];
	set_head(r, s->first, true);
}

/* The line's rate now, and when it changes (lowers *next). */
static double line_now(const struct flow_line *l, size_t *at, double now,
		       double *next)
{
	while (*at + 1 < l->n && l->t[*at + 1] <= now)
		(*at)++;
	if (*at + 1 < l->n && l->t[*at + 1] < *next)
		*next = l->t[*at + 1];
	return l->bps[*at];
}

/* Gives the shared line to the heads. Returns when that is over. */
static double share(struct run *r)
{
	double next = INFINITY, left;

	left = line_now(r->shared, &r->shared_at, r->now, &next);
	r->n_flowing = 0;
	for (size_t w = 0; w < r->n_words && left > 0; w++) {
		uint64_t set = r->head[w];

		for (; set && left > 0; set &= set - 1) {
			size_t rank = w * 64 + (size_t)__builtin_ctzll(set);
			struct sink *s = &r->sink[r->by_rank[rank]->sink];
			double bps = line_now(s->line, &s->at, r->now, &next);

			bps = fmin(bps, left);
			if (bps <= 0)
				continue;
			left -= bps;
			next = fmin(next, r->now + r->left[rank] / bps);
			r->flowing[r->n_flowing] = rank;
			r->bps[r->n_flowing++] = bps;
		}
	}
	return next;
}

static void advance(struct run *r, double to)
{
	double dt = to - r->now;

	r->now = to;
	for (size_t i = 0; i < r->n_flowing; i++) {
		size_t rank = r->flowing[i];

		r->left[rank] -= dt * r->bps[i];
		if (r->left[rank] <= r->bps[i] * DONE_S)
			task_end(r, rank);
	}
}

static void run_loop(struct run *r, double stop)
{
	for (;;) {
		double next;

		while (r->started < r->n &&
		       r->by_start[r->started]->start <= r->now)
			task_start(r, r->by_start[r->started++]);
		if (r->n_heads == 0 && r->started == r->n)
			return;
		next = share(r);
		if (r->started < r->n)
			next = fmin(next, r->by_start[r->started]->start);
		if (next >= stop) /* also if nothing will ever flow */
			return;
		advance(r, next);
	}
}

int flow_run(struct flow_task *task, size_t n, const struct flow_line *shared,
	     const struct flow_line *const *sink, size_t n_sinks, double from,
	     double stop)
{
	struct run r = {.task = task, .n = n, .shared = shared,
			.n_sinks = n_sinks, .now = from};
	int rc;

	if (n == 0)
		return 0;
	rc = run_init(&r, sink);
	if (!rc)
		run_loop(&r, stop);
	run_free(&r);
	return rc;
}
