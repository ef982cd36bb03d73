/* SPDX-License-Identifier: Apache-2.0 */
/* The flow against a simulation by ticks, which shares nothing with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "origin/schedule/flow.h"
#include "tests/unit/xorshift.h"

static uint64_t seed;

static unsigned below(unsigned n)
{
	return (unsigned)(xorshift(&seed) % n);
}

#define TASKS 12
#define SINKS 3
#define TICK (1 / 32.0)

static void random_line(struct flow_line *l, unsigned max, bool some)
{
	double t = 0;
	unsigned n = 1 + below(3);

	for (unsigned i = 0; i < n; i++) {
		flow_line_add(l, t, some && i + 1 == n ? 1 + below(max)
						       : below(max + 1));
		t += 1 + below(20);
	}
}

/* Every transfer at every tick, in order of rank. */
static void ticks(struct flow_task *task, size_t n, const struct flow_line *all,
		  const struct flow_line *const *sink, double stop)
{
	double left[TASKS];

	for (size_t i = 0; i < n; i++) {
		left[task[i].rank] = task[i].bytes;
		task[i].end = INFINITY;
	}
	for (double t = 0; t < stop; t += TICK) {
		double line = flow_line_at(all, t) * TICK, of[SINKS];

		for (int s = 0; s < SINKS; s++)
			of[s] = flow_line_at(sink[s], t) * TICK;
		for (size_t rank = 0; rank < n; rank++)
			for (size_t i = 0; i < n; i++) {
				struct flow_task *k = &task[i];
				double take;

				if (k->rank != rank || k->start > t ||
				    !isinf(k->end))
					continue;
				take = fmin(left[rank],
					    fmin(line, of[k->sink]));
				left[rank] -= take;
				line -= take;
				of[k->sink] -= take;
				if (left[rank] < 1e-9)
					k->end = t + TICK;
			}
	}
}

static void test_flow_against_ticks(void **state)
{
	(void)state;
	for (int round = 0; round < 400; round++) {
		struct flow_task a[TASKS], b[TASKS];
		struct flow_line all = {0}, line[SINKS] = {{0}};
		const struct flow_line *sink[SINKS];
		size_t n = 1 + below(TASKS);

		seed = 88172645463325252u + (unsigned)round * 7919u;
		random_line(&all, 6, true);
		for (int s = 0; s < SINKS; s++) {
			random_line(&line[s], 4, true);
			sink[s] = &line[s];
		}
		for (size_t i = 0; i < n; i++)
			a[i] = (struct flow_task){.rank = (i * 5 + 3) % n,
						  .sink = below(SINKS),
						  .start = below(30),
						  .bytes = 1 + below(40)};
		for (size_t i = 0; i < n; i++) /* each rank once */
			a[i].rank = n - 1 - i;
		memcpy(b, a, sizeof(a));
		assert_int_equal(flow_run(a, n, &all, sink, SINKS, 0, 2000), 0);
		ticks(b, n, &all, sink, 2000);
		for (size_t i = 0; i < n; i++) {
			/* A tick at each end of each transfer before. */
			if (fabs(a[i].end - b[i].end) > TICK * 4 * TASKS)
				print_message("round %d task %zu: %f, %f\n",
					      round, i, a[i].end, b[i].end);
			assert_true(fabs(a[i].end - b[i].end) <=
				    TICK * 4 * TASKS);
		}
		flow_line_free(&all);
		for (int s = 0; s < SINKS; s++)
			flow_line_free(&line[s]);
	}
}

static void test_flow_edges(void **state)
{
	struct flow_line all = {0}, unlimited = {0}, m;
	const struct flow_line *sink[] = {&unlimited};
	struct flow_task t = {.bytes = 10};

	(void)state;
	flow_line_add(&unlimited, 0, INFINITY);
	flow_line_add(&all, 0, 0);
	assert_int_equal(flow_run(&t, 1, &all, sink, 1, 0, 1000), 0);
	assert_true(isinf(t.end)); /* no rate, ever */
	flow_line_add(&all, 50, 5);
	assert_int_equal(flow_run(&t, 1, &all, sink, 1, 0, 1000), 0);
	assert_true(fabs(t.end - 52) < 1e-6);
	assert_int_equal(flow_run(&t, 1, &all, sink, 1, 0, 51), 0);
	assert_true(isinf(t.end)); /* not by then */
	assert_int_equal(flow_run(&t, 0, &all, sink, 1, 0, 51), 0);
	assert_int_equal(flow_line_mirror(&all, 60, &m), 0);
	assert_true(flow_line_at(&m, -55) == 5 && flow_line_at(&m, -10) == 0);
	flow_line_free(&m);
	flow_line_free(&all);
	flow_line_free(&unlimited);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flow_against_ticks),
		cmocka_unit_test(test_flow_edges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
