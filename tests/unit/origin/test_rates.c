/* SPDX-License-Identifier: Apache-2.0 */
/* Rates by time of day; days of 23 and 25 hours included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/units.h"
#include "origin/plan/when.h"
#include "origin/schedule/rates.h"

#define BERLIN "Europe/Berlin"
#define M (UINT64_C(1) << 20)

static struct rates table(const char *text)
{
	struct rates r;
	struct err e;
	int rc = rates_parse(text, BERLIN, &r, &e);

	if (rc)
		print_message("%s: %s\n", text, e.text);
	assert_int_equal(rc, 0);
	return r;
}

static int64_t at(const char *text)
{
	char zone[ZONE_MAX];
	int64_t t;

	assert_int_equal(when_parse(text, BERLIN, 0, &t, zone, NULL), 0);
	return t;
}

static void test_constant(void **state)
{
	struct rates r = table("");

	(void)state;
	assert_int_equal(rates_at(&r, 12345), RATE_UNLIMITED);
	assert_int_equal(rates_next_change(&r, 12345), INT64_MAX);
	assert_int_equal(rates_parse(NULL, NULL, &r, NULL), 0);
	assert_int_equal(rates_at(&r, 12345), RATE_UNLIMITED);
	r = table("200M/s");
	assert_int_equal(rates_at(&r, 12345), 200 * M);
	assert_int_equal(rates_next_change(&r, 12345), INT64_MAX);
	r = table("none");
	assert_int_equal(rates_at(&r, 12345), 0);
	r = table("08:00 5M/s, 20:00 5M/s");
	assert_int_equal(rates_at(&r, 12345), 5 * M);
	assert_int_equal(rates_next_change(&r, 12345), INT64_MAX);
}

static void test_by_time(void **state)
{
	struct rates r = table("20:00 unlimited,08:00 200M/s, 12:30 none");

	(void)state;
	assert_int_equal(rates_at(&r, at("2026-12-01 07:59:59")),
			 RATE_UNLIMITED); /* since yesterday */
	assert_int_equal(rates_at(&r, at("2026-12-01 08:00")), 200 * M);
	assert_int_equal(rates_at(&r, at("2026-12-01 12:30")), 0);
	assert_int_equal(rates_at(&r, at("2026-12-01 20:00")), RATE_UNLIMITED);
	assert_int_equal(rates_next_change(&r, at("2026-12-01 08:00")),
			 at("2026-12-01 12:30"));
	assert_int_equal(rates_next_change(&r, at("2026-12-01 23:00")),
			 at("2026-12-02 08:00"));
	/* Steps that change nothing are no change. */
	r = table("08:00 5M/s, 12:00 5M/s, 20:00 none");
	assert_int_equal(rates_next_change(&r, at("2026-12-01 09:00")),
			 at("2026-12-01 20:00"));
}

static void test_clocks_forward(void **state)
{
	/* 02:00 to 03:00 on 2027-03-28. */
	struct rates r = table("02:30 5M/s, 08:00 none");

	(void)state;
	assert_int_equal(rates_at(&r, at("2027-03-28 01:59:59")), 0);
	assert_int_equal(rates_at(&r, at("2027-03-28 03:00")), 5 * M);
	assert_int_equal(rates_next_change(&r, at("2027-03-28 01:00")),
			 at("2027-03-28 03:00"));
	assert_int_equal(rates_next_change(&r, at("2027-03-27 23:00")),
			 at("2027-03-28 03:00"));
	assert_int_equal(rates_next_change(&r, at("2027-03-28 03:00")),
			 at("2027-03-28 08:00"));
}

static void test_clocks_back(void **state)
{
	/* 03:00 to 02:00 on 2026-10-25: 02:30 is there twice. */
	struct rates r = table("02:30 5M/s, 08:00 none");
	int64_t first = at("2026-10-25 02:30 +02:00"),
		second = at("2026-10-25 02:30 +01:00");

	(void)state;
	assert_int_equal(rates_next_change(&r, at("2026-10-25 01:00")), first);
	assert_int_equal(rates_at(&r, first), 5 * M);
	assert_int_equal(rates_at(&r, first + 1799), 5 * M);
	assert_int_equal(rates_next_change(&r, first), first + 1800);
	assert_int_equal(rates_at(&r, first + 1800), 0);
	assert_int_equal(rates_next_change(&r, first + 1800), second);
	assert_int_equal(rates_at(&r, second), 5 * M);
	assert_int_equal(rates_next_change(&r, second), at("2026-10-25 08:00"));
}

/* Against a walk minute by minute, over both changes of clocks. */
static void test_next_change_is_the_next(void **state)
{
	struct rates r = table("02:15 1M/s, 02:45 2M/s, 03:10 3M/s, "
			       "17:00 unlimited");
	int64_t from[] = {at("2026-10-24 00:00"), at("2027-03-27 00:00")};

	(void)state;
	for (int k = 0; k < 2; k++) {
		int64_t next = rates_next_change(&r, from[k]);

		for (int64_t t = from[k]; t < from[k] + 3 * 86400; t += 60) {
			if (rates_at(&r, t) != rates_at(&r, t - 60) &&
			    t > from[k]) {
				assert_int_equal(t, next);
				next = rates_next_change(&r, t);
			}
			assert_true(next > t);
		}
	}
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"fast", "08:00", "8:00 5M/s", "25:00 5M/s", "08:00 5M/s, 5M/s",
		"08:00 5M/s, 08:00 6M/s", "08:00 5M/s,", "08:00 5 parsec",
		"08:60 5M/s", ",", "08:00-09:00 5M/s"};
	struct rates r = {.n = 77};
	struct err e;
	char many[2000] = "";

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		print_message("%s\n", bad[i]);
		assert_int_equal(rates_parse(bad[i], "UTC", &r, &e), -EINVAL);
		assert_true(*e.text);
	}
	for (int i = 0; i <= RATES_MAX; i++)
		sprintf(many + strlen(many), "%s%02d:%02d %dM/s",
			i ? ", " : "", i / 4, i % 4 * 15, i + 1);
	assert_int_equal(rates_parse(many, "UTC", &r, &e), -EINVAL);
	assert_non_null(strstr(e.text, "at most"));
	assert_int_equal(rates_parse("5M/s", "Mars/Base", &r, &e), -EINVAL);
	assert_int_equal(r.n, 77); /* untouched */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_constant),
		cmocka_unit_test(test_by_time),
		cmocka_unit_test(test_clocks_forward),
		cmocka_unit_test(test_clocks_back),
		cmocka_unit_test(test_next_change_is_the_next),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
