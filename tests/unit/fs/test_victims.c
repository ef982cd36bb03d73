/* SPDX-License-Identifier: Apache-2.0 */
/* Who has to go (C4), over lists written down. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <utlist.h>

#include "fs/cache/victims.h"

#define N 6

static struct place p[N]; /* seq 1 to 6, 100 bytes each */
static bool is_busy[N];
static struct place *order;

static bool busy(const struct place *x)
{
	return is_busy[x - p];
}

static struct victim_rules rules = {.now_ns = 1000000,
				    .now_s = 5000,
				    .just_read_ns = 1000,
				    .busy = busy};

static int setup(void **state)
{
	(void)state;
	memset(p, 0, sizeof(p));
	memset(is_busy, 0, sizeof(is_busy));
	rules.take_held = rules.partly = false;
	order = NULL;
	for (int i = 0; i < N; i++) {
		p[i].seq = (uint64_t)i + 1;
		p[i].bytes = 100;
		DL_APPEND(order, &p[i]);
	}
	return 0;
}

/* The chosen ones' seq as digits. */
static const char *choose(uint64_t shortage)
{
	static char out[N + 1];
	char *at = out;

	for (struct place *x = victims_choose(order, shortage, &rules); x;
	     x = x->next_victim)
		*at++ = (char)('0' + x->seq);
	*at = 0;
	return out;
}

static void oldest_and_no_more(void **state)
{
	(void)state;
	assert_string_equal(choose(0), "");
	assert_string_equal(choose(1), "1");
	assert_string_equal(choose(100), "1");
	assert_string_equal(choose(101), "12");
	assert_string_equal(choose(600), "123456");
	/* Not enough: nobody goes for nothing (C5). */
	assert_string_equal(choose(601), "");
	rules.partly = true;
	assert_string_equal(choose(601), "123456");
}

static void some_are_passed_over(void **state)
{
	(void)state;
	is_busy[0] = true;
	p[1].read_ns = rules.now_ns - 999;
	p[2].read_ns = rules.now_ns - 1000;
	p[3].held_until_s = rules.now_s + 1;
	p[4].held_until_s = rules.now_s;
	assert_string_equal(choose(300), "356");
	assert_int_equal(victims_total(order, &rules), 300);
	assert_string_equal(choose(301), "");
	rules.take_held = true;
	assert_string_equal(choose(301), "3564");
	assert_int_equal(victims_total(order, &rules), 400);
	assert_string_equal(choose(401), "");
}

/* Held ones go last, the oldest of them first, and only as many as needed. */
static void held_go_last(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++)
		p[i].held_until_s = INT64_MAX;
	rules.take_held = true;
	assert_string_equal(choose(100), "6");
	assert_string_equal(choose(150), "61");
	assert_string_equal(choose(300), "612");
	/* A held one that is open stays. */
	is_busy[0] = true;
	assert_string_equal(choose(300), "623");
}

/* A clock that jumps moves nobody's place, and no read lies ahead of now. */
static void clocks(void **state)
{
	(void)state;
	p[0].read_ns = UINT64_MAX / 2; /* later than now: just read */
	assert_string_equal(choose(100), "2");
	rules.now_s = 0; /* wall clock set back: holds hold again, no more */
	assert_string_equal(choose(100), "2");
	rules.now_s = 5000;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(oldest_and_no_more, setup),
		cmocka_unit_test_setup(some_are_passed_over, setup),
		cmocka_unit_test_setup(held_go_last, setup),
		cmocka_unit_test_setup(clocks, setup),
	};

	return cmocka_run_group_tests_name("victims", tests, NULL, NULL);
}
