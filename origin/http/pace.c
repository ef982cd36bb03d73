/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pace.c - budget, shares and meters.
 *
 * Rejected: a token bucket per class in the daemon. It needs a timer per
 * transfer and sends in bursts, while the kernel's pacing (SO_MAX_PACING_RATE)
 * spaces the packets themselves. What is left to do here is to choose rates.
 */
#include "origin/http/pace.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/units.h"

/* From here on a growing budget counts as unlimited: no line carries more. */
#define GROWN_BPS (UINT64_C(64) << 30)

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t left_on_link(const struct pace_input *in)
{
	uint64_t left = minus(minus(in->link_bps, in->other_bps),
			      in->reader_bps);

	if (in->reader_bps > 0)
		left -= left / 4;
	return max_u64(left, PACE_FLOOR_BPS);
}

static uint64_t yield(struct pace *p, const struct pace_input *in)
{
	if (in->reader_bps > 0) {
		if (!p->yielding)
			p->yield_bps = max_u64(in->prefetch_bps / 8,
					       PACE_FLOOR_BPS);
		p->yielding = true;
		return p->yield_bps;
	}
	if (!p->yielding)
		return RATE_UNLIMITED;
	p->yield_bps += p->yield_bps / 4;
	if (p->yield_bps >= min_u64(in->table_bps, GROWN_BPS)) {
		p->yielding = false;
		return RATE_UNLIMITED;
	}
	return p->yield_bps;
}

uint64_t pace_budget(struct pace *p, const struct pace_input *in)
{
	uint64_t room = in->link_bps != RATE_UNLIMITED ? left_on_link(in)
						       : yield(p, in);

	return min_u64(room, in->table_bps);
}

/* ---- sharing ----------------------------------------------------------- */

/* From here on it counts as having taken all that it was given. */
#define HUNGRY(gave) ((gave) - (gave) / 8)

/*
 * What it can take, as far as is known. A group that takes four fifths of what
 * it gets is at rest: a quarter more than that is what it gets again.
 */
static uint64_t want(const struct pace_group *g)
{
	if (g->gave_bps == 0 || g->took_bps >= HUNGRY(g->gave_bps))
		return g->cap_bps;
	return min_u64(g->cap_bps, max_u64(g->took_bps + g->took_bps / 4,
					   PACE_FLOOR_BPS));
}

static uint64_t per_flow(const struct pace_group *g)
{
	return g->more_bps == RATE_UNLIMITED ? RATE_UNLIMITED
					     : g->more_bps / g->n_flows;
}

static int by_more(const void *a, const void *b)
{
	uint64_t x = per_flow(a), y = per_flow(b);

	return (x > y) - (x < y);
}

static int by_rank(const void *a, const void *b)
{
	const struct pace_group *x = a, *y = b;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return 0;
}

/*
 * Gives each up to its more_bps, all flows alike. The most modest first: what
 * they leave is then known. Returns what is left.
 */
static uint64_t share_alike(uint64_t left, struct pace_group *g, size_t n)
{
	uint64_t flows = 0;

	for (size_t i = 0; i < n; i++)
		flows += g[i].n_flows;
	qsort(g, n, sizeof(*g), by_more);
	for (size_t i = 0; i < n; i++) {
		uint64_t share = RATE_UNLIMITED, bps;

		if (left != RATE_UNLIMITED)
			share = (uint64_t)((unsigned __int128)left *
					   g[i].n_flows / flows);
		bps = min_u64(share, g[i].more_bps);
		flows -= g[i].n_flows;
		if (left != RATE_UNLIMITED)
			left -= bps;
		g[i].bps = bps == RATE_UNLIMITED ? bps : g[i].bps + bps;
	}
	return left;
}

static uint64_t beyond(uint64_t limit_bps, uint64_t has_bps)
{
	return limit_bps == RATE_UNLIMITED ? limit_bps
					   : minus(limit_bps, has_bps);
}

void pace_share(uint64_t budget_bps, struct pace_group *g, size_t n)
{
	uint64_t left = budget_bps;
	size_t end;

	if (n == 0)
		return;
	for (size_t i = 0; i < n; i++) {
		g[i].bps = g[i].n_flows * PACE_FLOW_MIN_BPS;
		g[i].more_bps = beyond(want(&g[i]), g[i].bps);
		left = beyond(left, g[i].bps);
	}
	qsort(g, n, sizeof(*g), by_rank);
	for (size_t i = 0; i < n; i = end) {
		for (end = i + 1; end < n && g[end].rank == g[i].rank; end++)
			;
		left = share_alike(left, &g[i], end - i);
	}
	for (size_t i = 0; i < n; i++)
		g[i].more_bps = beyond(g[i].cap_bps, g[i].bps);
	share_alike(left, g, n);
}

/* ---- backing off ------------------------------------------------------- */

uint64_t pace_line(struct pace_line *l, uint64_t queue_us, uint64_t took_bps)
{
	if (queue_us > PACE_QUEUE_US) {
		if (l->bps == 0 || took_bps < l->bps / 2)
			l->bps = took_bps - took_bps / 4;
		else
			l->bps -= l->bps / 8;
		l->bps = max_u64(l->bps, PACE_FLOOR_BPS);
	} else if (l->bps > 0) {
		l->bps += l->bps / 16;
		if (l->bps >= GROWN_BPS)
			l->bps = 0;
	}
	return l->bps ? l->bps : RATE_UNLIMITED;
}

/* ---- measuring --------------------------------------------------------- */

uint64_t pace_measure(struct pace_meter *m, uint64_t now_ns, uint64_t total)
{
	const unsigned max = sizeof(m->sample) / sizeof(m->sample[0]);
	uint64_t span_ns, bytes;

	if (m->n > 0 && total < m->sample[0].total)
		m->n = 0;
	if (m->n > 0 && now_ns <= m->sample[0].time_ns)
		return 0;
	memmove(&m->sample[1], &m->sample[0],
		(max - 1) * sizeof(m->sample[0]));
	m->sample[0].time_ns = now_ns;
	m->sample[0].total = total;
	if (m->n < max)
		m->n++;
	if (m->n == 1)
		return 0;
	span_ns = now_ns - m->sample[m->n - 1].time_ns;
	bytes = total - m->sample[m->n - 1].total;
	return (uint64_t)((double)bytes * (double)NS_PER_S / (double)span_ns);
}
