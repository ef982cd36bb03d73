/* SPDX-License-Identifier: Apache-2.0 */
/* What is said again, and how often at most. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/said.h"

#define AGAIN 1000

/* Two reasons in turn are not news each time. */
static void test_in_turn(void **state)
{
	uint64_t older = said_key("older"), key = said_key("another key");
	struct said s = {0};
	unsigned n = 0;

	(void)state;
	assert_true(older != key);
	for (uint64_t now = 1; now <= 10 * AGAIN; now += 15) {
		n += said_is_news(&s, older, now, AGAIN);
		n += said_is_news(&s, key, now, AGAIN);
	}
	assert_int_equal(n, 2 * 10);
}

/* However many things it befalls. */
static void test_many(void **state)
{
	struct said s = {0};
	unsigned n = 0;

	(void)state;
	for (uint64_t i = 0; i < 5000; i++)
		n += said_is_news(&s, i, 1 + i / 10, AGAIN);
	assert_int_equal(n, SAID_MAX);
	assert_true(said_is_news(&s, 5000, 2 * AGAIN, AGAIN));
	assert_false(said_is_news(&s, 5000, 2 * AGAIN, AGAIN));
	assert_true(said_is_news(&s, 5000, 3 * AGAIN, AGAIN));
	/* In its own place: another one has not lost its. */
	assert_true(said_is_news(&s, 1, 3 * AGAIN, AGAIN));
	assert_false(said_is_news(&s, 1, 3 * AGAIN + 1, AGAIN));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_turn),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
