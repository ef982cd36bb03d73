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

static uint64_t per_flow(const struct pace_group *g)
{
	return g->cap_bps == RATE_UNLIMITED ? RATE_UNLIMITED
					    : g->cap_bps / g->n_flows;
}

static int by_cap(const void *a, const void *b)
{
	uint64_t x = per_flow(a), y = per_flow(b);

	return (x > y) - (x < y);
}

void pace_share(uint64_t budget_bps, struct pace_group *g, size_t n)
{
	uint64_t left = budget_bps, flows = 0;

	for (size_t i = 0; i < n; i++)
		flows += g[i].n_flows;
	/* The most tightly capped first: what they leave is then known. */
	if (n > 1)
		qsort(g, n, sizeof(*g), by_cap);
	for (size_t i = 0; i < n; i++) {
		uint64_t share = left == RATE_UNLIMITED ? RATE_UNLIMITED
							: left / flows;
		uint64_t bps = min_u64(share, per_flow(&g[i]));

		g[i].flow_bps = max_u64(bps, PACE_FLOW_MIN_BPS);
		if (left != RATE_UNLIMITED)
			left = minus(left, bps * g[i].n_flows);
		flows -= g[i].n_flows;
	}
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
