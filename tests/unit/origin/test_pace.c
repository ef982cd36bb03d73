/* SPDX-License-Identifier: Apache-2.0 */
/* Pacing's arithmetic: R5, demand before prefetch, as rates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/units.h"
#include "origin/http/pace.h"

#define M (UINT64_C(1) << 20)
#define TICK_NS (NS_PER_S / PACE_TICKS_PER_S)

static struct pace_input quiet(void)
{
	return (struct pace_input){.table_bps = RATE_UNLIMITED,
				   .link_bps = RATE_UNLIMITED};
}

static void test_unlimited_without_readers(void **state)
{
	struct pace p = {0};
	struct pace_input in = quiet();

	(void)state;
	assert_true(pace_budget(&p, &in) == RATE_UNLIMITED);
	in.table_bps = 200 * M;
	assert_true(pace_budget(&p, &in) == 200 * M);
	in.table_bps = 0;
	assert_true(pace_budget(&p, &in) == 0);
}

static void test_yields_at_once_and_recovers_slowly(void **state)
{
	struct pace p = {0};
	struct pace_input in = quiet();
	uint64_t before, now;
	int ticks = 0;

	(void)state;
	in.prefetch_bps = 800 * M;
	in.reader_bps = 10 * M;
	assert_true(pace_budget(&p, &in) == 100 * M);
	/* Stays there, however little it uses itself by now. */
	in.prefetch_bps = 3 * M;
	assert_true(pace_budget(&p, &in) == 100 * M);
	in.reader_bps = 0;
	before = 100 * M;
	while ((now = pace_budget(&p, &in)) != RATE_UNLIMITED) {
		assert_true(now > before && now <= before + before / 4);
		before = now;
		assert_true(++ticks < 60);
	}
	assert_true(ticks > 8); /* not at once */
	assert_false(p.yielding);
}

static void test_yield_keeps_a_floor_and_obeys_the_table(void **state)
{
	struct pace p = {0};
	struct pace_input in = quiet();

	(void)state;
	in.reader_bps = 1;
	assert_true(pace_budget(&p, &in) == PACE_FLOOR_BPS);
	in.table_bps = PACE_FLOOR_BPS / 2;
	assert_true(pace_budget(&p, &in) == PACE_FLOOR_BPS / 2);
	in.table_bps = 0;
	assert_true(pace_budget(&p, &in) == 0);
	/* Recovery ends at the table. */
	in.table_bps = 2 * PACE_FLOOR_BPS;
	in.reader_bps = 0;
	for (int i = 0; i < 10; i++)
		assert_true(pace_budget(&p, &in) <= in.table_bps);
	assert_false(p.yielding);
	assert_true(pace_budget(&p, &in) == in.table_bps);
}

static void test_link_leaves_room_for_readers(void **state)
{
	struct pace p = {0};
	struct pace_input in = quiet();

	(void)state;
	in.link_bps = 1000 * M;
	assert_true(pace_budget(&p, &in) == 1000 * M);
	in.other_bps = 300 * M;
	assert_true(pace_budget(&p, &in) == 700 * M);
	in.reader_bps = 100 * M;
	assert_true(pace_budget(&p, &in) == 450 * M);
	in.other_bps = 2000 * M;
	assert_true(pace_budget(&p, &in) == PACE_FLOOR_BPS);
	in.table_bps = 5;
	assert_true(pace_budget(&p, &in) == 5);
}

/*
 * A reader that wants all gets nearly all: each tick it takes what prefetch
 * left free on the link.
 */
static void test_readers_win_a_full_link(void **state)
{
	struct pace p = {0};
	struct pace_input in = quiet();

	(void)state;
	in.link_bps = 1000 * M;
	in.reader_bps = 10 * M;
	for (int i = 0; i < 40; i++) {
		in.prefetch_bps = pace_budget(&p, &in);
		in.reader_bps = in.link_bps - in.prefetch_bps;
	}
	assert_true(in.prefetch_bps <= 2 * PACE_FLOOR_BPS);
}

static void test_share_equally(void **state)
{
	struct pace_group g[] = {{.cap_bps = RATE_UNLIMITED, .n_flows = 3},
				 {.cap_bps = RATE_UNLIMITED, .n_flows = 1}};

	(void)state;
	pace_share(400 * M, g, 2);
	assert_true(g[0].bps == g[0].n_flows * 100 * M);
	assert_true(g[1].bps == g[1].n_flows * 100 * M);
	pace_share(RATE_UNLIMITED, g, 2);
	assert_true(g[0].bps == RATE_UNLIMITED);
	pace_share(0, g, 2);
	assert_true(g[0].bps == g[0].n_flows * PACE_FLOW_MIN_BPS);
	pace_share(400 * M, g, 0);
}

static void test_what_one_cannot_use_others_get(void **state)
{
	char big = 'b', small = 's';
	struct pace_group g[] = {
		{.cap_bps = RATE_UNLIMITED, .n_flows = 2, .who = &big},
		{.cap_bps = 20 * M, .n_flows = 2, .who = &small}};

	(void)state;
	pace_share(400 * M, g, 2);
	for (int i = 0; i < 2; i++)
		assert_true(g[i].bps ==
			    (*(char *)g[i].who == 'b' ? 380 * M : 20 * M));
	/* Each capped server obeys its cap. */
	pace_share(RATE_UNLIMITED, g, 2);
	for (int i = 0; i < 2; i++)
		assert_true(g[i].bps == (*(char *)g[i].who == 'b'
						 ? RATE_UNLIMITED
						 : 20 * M));
}

/* As the schedule has it: what is due first has all that it can take. */
static void test_earliest_deadline_first(void **state)
{
	const uint64_t least = PACE_FLOW_MIN_BPS;
	struct pace_group g[] = {
		{.cap_bps = RATE_UNLIMITED, .rank = 2, .n_flows = 8},
		{.cap_bps = 100 * M, .rank = 0, .n_flows = 4},
		{.cap_bps = RATE_UNLIMITED, .rank = 1, .n_flows = 1},
		{.cap_bps = 50 * M, .rank = PACE_RANK_LAST, .n_flows = 2}};

	(void)state;
	pace_share(400 * M, g, 4);
	for (int i = 0; i < 4; i++)
		assert_true(g[i].bps == (g[i].rank == 0	  ? 100 * M
					 : g[i].rank == 1 ? 300 * M - 10 * least
					 : g[i].rank == 2 ? 8 * least
							  : 2 * least));
}

static void sort_by_rank(struct pace_group g[2])
{
	struct pace_group x = g[0];

	if (g[0].rank < g[1].rank)
		return;
	g[0] = g[1];
	g[1] = x;
}

/* A slow line of the first does not keep the rest waiting, and a cap that is
 * taken in full does not count as a slow line. */
static void test_no_more_than_it_can_take(void **state)
{
	struct pace_group slow[] = {
		{.cap_bps = RATE_UNLIMITED, .rank = 0, .n_flows = 1,
		 .took_bps = 40 * M, .gave_bps = 400 * M},
		{.cap_bps = RATE_UNLIMITED, .rank = 1, .n_flows = 1}};

	(void)state;
	pace_share(400 * M, slow, 2);
	sort_by_rank(slow);
	assert_true(slow[0].bps == 50 * M);
	assert_true(slow[1].bps == 350 * M);
	/* If the other can take no more either, nothing is held back. */
	slow[1].cap_bps = 50 * M;
	pace_share(400 * M, slow, 2);
	assert_true(slow[0].bps + slow[1].bps == 400 * M);
	slow[slow[0].rank == 1 ? 0 : 1].cap_bps = RATE_UNLIMITED;
	sort_by_rank(slow);
	/* It stays there, as it takes no more ... */
	slow[0].gave_bps = 50 * M;
	pace_share(400 * M, slow, 2);
	sort_by_rank(slow);
	assert_true(slow[0].bps == 50 * M);
	/* ... and has all when it does. */
	slow[0].took_bps = 49 * M;
	pace_share(400 * M, slow, 2);
	sort_by_rank(slow);
	assert_true(slow[0].bps == 400 * M - PACE_FLOW_MIN_BPS);
	/* One that stood still can come back. */
	slow[0].took_bps = 0;
	pace_share(400 * M, slow, 2);
	sort_by_rank(slow);
	assert_true(slow[0].bps == PACE_FLOOR_BPS);
}

/* What it is worth to a group: see `want` in pace.c. */
static uint64_t wanted(const struct pace_group *g)
{
	uint64_t most = g->cap_bps, least = g->n_flows * PACE_FLOW_MIN_BPS;
	uint64_t probe = g->took_bps * 5 / 4;

	if (g->gave_bps && g->took_bps < g->gave_bps * 7 / 8) {
		probe = probe > PACE_FLOOR_BPS ? probe : PACE_FLOOR_BPS;
		most = probe < most ? probe : most;
	}
	return most > least ? most : least;
}

static void random_group(struct pace_group *g, unsigned *seed)
{
	*g = (struct pace_group){
		.n_flows = 1 + (unsigned)(rand_r(seed) % 9),
		.rank = (size_t)(rand_r(seed) % 5),
		.cap_bps = rand_r(seed) % 3
				   ? (uint64_t)(rand_r(seed) % 300) * M
				   : RATE_UNLIMITED,
	};
	if (rand_r(seed) % 2) {
		g->gave_bps = (uint64_t)(rand_r(seed) % 100) * 8 * M;
		g->took_bps = (uint64_t)(rand_r(seed) % 1000) * M;
	}
}

/* Nobody of its rank has more per flow, and later ones have the least. */
static void assert_served_first(const struct pace_group *g, size_t n,
				const struct pace_group *me)
{
	for (size_t i = 0; i < n; i++) {
		if (g[i].rank == me->rank)
			assert_true(g[i].bps / g[i].n_flows <=
				    me->bps / me->n_flows + 16);
		if (g[i].rank > me->rank)
			assert_true(g[i].bps ==
				    g[i].n_flows * PACE_FLOW_MIN_BPS);
	}
}

/*
 * By their definition, on random groups: nobody above its cap; all of the
 * budget is given, or everybody has its cap; who has less than it can take was
 * served before all that are later.
 */
static void test_random_shares(void **state)
{
	struct pace_group g[12];
	unsigned seed = 7;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		uint64_t budget = (uint64_t)(rand_r(&seed) % 1000) * M;
		uint64_t used = 0, least = 0;
		size_t n = 1 + (size_t)(rand_r(&seed) % 12);
		bool all = true;

		for (size_t i = 0; i < n; i++) {
			random_group(&g[i], &seed);
			least += g[i].n_flows * PACE_FLOW_MIN_BPS;
		}
		pace_share(budget, g, n);
		for (size_t i = 0; i < n; i++) {
			uint64_t min = g[i].n_flows * PACE_FLOW_MIN_BPS;

			assert_true(g[i].bps <= g[i].cap_bps ||
				    g[i].bps == min);
			assert_true(g[i].bps >= min);
			all = all && g[i].bps >= g[i].cap_bps;
			used += g[i].bps;
			if (g[i].bps < wanted(&g[i]))
				assert_served_first(g, n, &g[i]);
		}
		assert_true(used <= (budget > least ? budget : least));
		assert_true(all || used == budget || budget <= least);
	}
}

static void test_meter(void **state)
{
	struct pace_meter m = {0};
	uint64_t now = 5 * NS_PER_S, total = 1000;

	(void)state;
	assert_true(pace_measure(&m, now, total) == 0);
	for (int i = 0; i < 20; i++) {
		now += TICK_NS;
		total += 25 * M;
		assert_true(pace_measure(&m, now, total) == 100 * M);
	}
	/* Gone from the measure a second after the last byte. */
	for (int i = 0; i < PACE_TICKS_PER_S - 1; i++) {
		now += TICK_NS;
		assert_true(pace_measure(&m, now, total) > 0);
	}
	now += TICK_NS;
	assert_true(pace_measure(&m, now, total) == 0);
	/* A late tick is not a burst. */
	now += 4 * TICK_NS;
	assert_true(pace_measure(&m, now, total + 100 * M) < 100 * M);
	/* The counter of an interface that came anew. */
	now += TICK_NS;
	assert_true(pace_measure(&m, now, 5) == 0);
	assert_true(pace_measure(&m, now, 6) == 0); /* no time has passed */
}

static void test_line_backs_off(void **state)
{
	struct pace_line l = {0};
	uint64_t bps = 0, before;

	(void)state;
	/* A queue that nobody minds. */
	assert_true(pace_line(&l, 0, 80 << 20) == RATE_UNLIMITED);
	assert_true(pace_line(&l, PACE_QUEUE_US, 80 << 20) == RATE_UNLIMITED);
	before = pace_line(&l, PACE_QUEUE_US + 1, 80 << 20);
	assert_true(before == 60 << 20);
	for (int i = 0; i < 60; i++) {
		bps = pace_line(&l, 500000, 60 << 20);
		assert_true(bps < before || bps == PACE_FLOOR_BPS);
		before = bps;
	}
	assert_true(bps == PACE_FLOOR_BPS);
	/* Gone: it grows, and in the end there is no limit any more. */
	for (int i = 0; i < 400 && bps != RATE_UNLIMITED; i++) {
		bps = pace_line(&l, 0, 60 << 20);
		assert_true(bps > before);
		before = bps;
	}
	assert_true(bps == RATE_UNLIMITED);
	/* One that is not what slows it is not cut bit by bit. */
	pace_line(&l, 500000, 80 << 20);
	for (int i = 0; i < 100; i++)
		pace_line(&l, 0, 10 << 20);
	assert_true(pace_line(&l, 500000, 8 << 20) == 6 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unlimited_without_readers),
		cmocka_unit_test(test_yields_at_once_and_recovers_slowly),
		cmocka_unit_test(test_yield_keeps_a_floor_and_obeys_the_table),
		cmocka_unit_test(test_link_leaves_room_for_readers),
		cmocka_unit_test(test_readers_win_a_full_link),
		cmocka_unit_test(test_share_equally),
		cmocka_unit_test(test_what_one_cannot_use_others_get),
		cmocka_unit_test(test_earliest_deadline_first),
		cmocka_unit_test(test_no_more_than_it_can_take),
		cmocka_unit_test(test_random_shares),
		cmocka_unit_test(test_meter),
		cmocka_unit_test(test_line_backs_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
