/* SPDX-License-Identifier: Apache-2.0 */
/* test_rate.c - speeds, and the size of a window that follows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "fs/fetch/rate.h"

#define MIB (UINT64_C(1) << 20)

static void test_seconds(void **state)
{
	struct rate r = {{0}, {0}};
	uint64_t t = 1000 * NS_PER_S;

	(void)state;
	assert_int_equal(rate_bps(&r, t), 0);
	for (unsigned ms = 0; ms < 10000; ms += 10)
		rate_add(&r, t + ms * NS_PER_MS, 1000);
	/* 100 kB/s, whole seconds only. */
	assert_int_equal(rate_bps(&r, t + 10 * NS_PER_S), 100000);
	assert_int_equal(rate_bps(&r, t + 12 * NS_PER_S), 60000);
	assert_int_equal(rate_bps(&r, t + 15 * NS_PER_S), 0);
	assert_int_equal(rate_bps(&r, t + 16 * NS_PER_S), 0);
	/* The ring comes round. */
	rate_add(&r, t + 18 * NS_PER_S, 5);
	assert_int_equal(rate_bps(&r, t + 19 * NS_PER_S), 1);
}

static void test_window(void **state)
{
	uint64_t bps = 0;

	(void)state;
	assert_int_equal(rate_window_bytes(0), 4 * MIB);
	assert_int_equal(rate_window_bytes(1), MIB);
	assert_int_equal(rate_window_bytes(10 * MIB), 5 * MIB);
	assert_int_equal(rate_window_bytes(UINT64_MAX), 16 * MIB);
	/* Half a second of 8 MiB/s, whatever it was before. */
	for (int i = 0; i < 40; i++)
		bps = rate_average(bps, 4 * MIB, NS_PER_S / 2);
	assert_in_range(rate_window_bytes(bps), 4 * MIB - 100, 4 * MIB);
	for (int i = 0; i < 40; i++)
		bps = rate_average(bps, 40 * MIB, NS_PER_S);
	assert_in_range(rate_window_bytes(bps), 16 * MIB - 100, 16 * MIB);
	/* A few bytes say nothing; no time at all is no division by it. */
	assert_int_equal(rate_average(bps, 1000, NS_PER_S), bps);
	assert_true(rate_average(0, MIB, 0) > 0);
	assert_true(rate_average(0, MIB, UINT64_MAX) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_window),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
