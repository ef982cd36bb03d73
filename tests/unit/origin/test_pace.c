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
	assert_true(g[0].flow_bps == 100 * M && g[1].flow_bps == 100 * M);
	pace_share(RATE_UNLIMITED, g, 2);
	assert_true(g[0].flow_bps == RATE_UNLIMITED);
	pace_share(0, g, 2);
	assert_true(g[0].flow_bps == PACE_FLOW_MIN_BPS);
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
		assert_true(g[i].flow_bps ==
			    (*(char *)g[i].who == 'b' ? 190 * M : 10 * M));
	/* Each flow of a capped server alone obeys its cap. */
	pace_share(RATE_UNLIMITED, g, 2);
	for (int i = 0; i < 2; i++)
		assert_true(g[i].flow_bps == (*(char *)g[i].who == 'b'
						      ? RATE_UNLIMITED
						      : 10 * M));
}

/* Max-min fairness by its definition, on random groups. */
static void test_random_shares(void **state)
{
	struct pace_group g[12];
	unsigned seed = 7;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		uint64_t budget = (uint64_t)(rand_r(&seed) % 1000) * M;
		uint64_t used = 0, most = 0;
		size_t n = 1 + (size_t)(rand_r(&seed) % 12);

		for (size_t i = 0; i < n; i++) {
			g[i].n_flows = 1 + (unsigned)(rand_r(&seed) % 9);
			g[i].cap_bps = rand_r(&seed) % 3
					       ? (uint64_t)(rand_r(&seed) %
							    300) * M
					       : RATE_UNLIMITED;
		}
		pace_share(budget, g, n);
		for (size_t i = 0; i < n; i++) {
			if (g[i].flow_bps > most)
				most = g[i].flow_bps;
			if (g[i].flow_bps == PACE_FLOW_MIN_BPS)
				continue; /* the minimum is given on top */
			assert_true(g[i].flow_bps * g[i].n_flows <=
				    g[i].cap_bps);
			used += g[i].flow_bps * g[i].n_flows;
		}
		assert_true(used <= budget);
		/* Whoever has less than another is held down by its cap. */
		for (size_t i = 0; i < n; i++)
			if (g[i].flow_bps + 16 < most)
				assert_true(g[i].flow_bps ==
						    PACE_FLOW_MIN_BPS ||
					    g[i].flow_bps ==
						    g[i].cap_bps /
							    g[i].n_flows);
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
		cmocka_unit_test(test_random_shares),
		cmocka_unit_test(test_meter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
