/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/units.h"

#define K (UINT64_C(1) << 10)
#define M (UINT64_C(1) << 20)
#define G (UINT64_C(1) << 30)
#define T (UINT64_C(1) << 40)
#define P (UINT64_C(1) << 50)

struct good {
	const char *text;
	uint64_t value;
};

static void check(int (*parse)(const char *, uint64_t *, struct err *),
		  const struct good *g)
{
	for (; g->text; g++) {
		uint64_t v = 1;
		int r = parse(g->text, &v, NULL);

		if (r || v != g->value)
			fail_msg("'%s': %d, %llu", g->text, r,
				 (unsigned long long)v);
	}
}

static void check_bad(int (*parse)(const char *, uint64_t *, struct err *),
		      const char *const *bad, int error)
{
	for (; *bad; bad++) {
		uint64_t v = 77;
		struct err e;
		int r = parse(*bad, &v, &e);

		if (r != error || v != 77 || !*e.text)
			fail_msg("'%s': %d, %llu, %s", *bad, r,
				 (unsigned long long)v, e.text);
	}
}

static void test_sizes(void **state)
{
	static const struct good good[] = {
		{"0", 0}, {"1", 1}, {"123", 123}, {"64k", 64 * K},
		{"64K", 64 * K}, {"64KB", 64 * K}, {"64KiB", 64 * K},
		{"500G", 500 * G}, {"1.5T", 3 * T / 2}, {"0.5k", 512},
		{"10B", 10}, {"16383P", 16383 * P},
		{"18446744073709551614", UINT64_MAX - 1}, {0}};
	static const char *const bad[] = {
		"", "G", "-1", "+1", " 1", "1 ", "1 G", "1,5G", "1.G", ".5G",
		"1e3", "0x10", "1KK", "1iB", "1Kb", "1m", "inf", "nan", "1.5",
		"1.5B", "1.0000000001G", "1G/s", "unlimited",
		"999999999999999999999", NULL};
	static const char *const large[] = {
		"16384P", "18446744073709551615", "99999999999999999999", NULL};

	(void)state;
	check(units_parse_size, good);
	check_bad(units_parse_size, bad, -EINVAL);
	check_bad(units_parse_size, large, -ERANGE);
}

static void test_rates(void **state)
{
	static const struct good good[] = {
		{"200M/s", 200 * M}, {"1.5G/s", 3 * G / 2}, {"0/s", 0},
		{"10Gbit/s", UINT64_C(1250000000)}, {"10Gbps", 1250000000},
		{"100Mbit/s", 12500000}, {"8bit/s", 1}, {"9bps", 1},
		{"64kbit/s", 8000}, {"200MiB/s", 200 * M},
		{"unlimited", RATE_UNLIMITED}, {0}};
	static const char *const bad[] = {
		"", "200M", "M/s", "/s", "bit/s", "10Gibit/s", "10G/bps",
		"10 G/s", "-1M/s", "Unlimited", "200M/s ", "200M/m", NULL};
	static const char *const large[] = {"20000P/s", NULL};

	(void)state;
	check(units_parse_rate, good);
	check_bad(units_parse_rate, bad, -EINVAL);
	check_bad(units_parse_rate, large, -ERANGE);
}

static void test_spans(void **state)
{
	static const struct good good[] = {
		{"30s", 30000}, {"5m", 300000}, {"2h", 7200000},
		{"1d", 86400000}, {"500ms", 500}, {"90", 90000}, {"0", 0},
		{"1h30m", 5400000}, {"1d2h3m4s5ms", 93784005},
		{"1.5h", 5400000},
		{"0.5s", 500}, {0}};
	static const char *const bad[] = {
		"", "s", "1x", "30m1h", "1h30", "1h1h", "1h 30m", "-1s", "1:30",
		"1w", NULL};
	static const char *const large[] = {"99999999999999999d",
					    "9999999999999999d1h", NULL};

	(void)state;
	check(units_parse_span, good);
	check_bad(units_parse_span, bad, -EINVAL);
	check_bad(units_parse_span, large, -ERANGE);
}

static void test_size_text(void **state)
{
	static const struct good good[] = {
		{"0B", 0}, {"1B", 1}, {"1023B", 1023}, {"1K", K},
		{"1.5K", 1536}, {"512K", 512 * K}, {"1M", M - 1}, {"1M", M},
		{"1.5G", 3 * G / 2}, {"500G", 500 * G}, {"1.1M", M + M / 10},
		{"16E", UINT64_MAX}, {"1T", T - 1}, {"1023.9K", 1023 * K + 920},
		{0}};
	char out[UNITS_TEXT];

	(void)state;
	for (const struct good *g = good; g->text; g++)
		assert_string_equal(units_size(g->value, out), g->text);
	assert_string_equal(units_rate(200 * M, out), "200M/s");
	assert_string_equal(units_rate(RATE_UNLIMITED, out), "unlimited");
}

static void test_span_text(void **state)
{
	static const struct good good[] = {
		{"0s", 0}, {"500ms", 500}, {"37s", 37900}, {"2m05s", 125000},
		{"1h30m", 5400000}, {"3d4h", 273600000}, {0}};
	char out[UNITS_TEXT];

	(void)state;
	for (const struct good *g = good; g->text; g++)
		assert_string_equal(units_span(g->value, out), g->text);
	units_span(UINT64_MAX, out); /* fits */
}

/* What is printed is read again as nearly the same. */
static void test_round_trip(void **state)
{
	(void)state;
	srandom(1);
	for (int i = 0; i < 20000; i++) {
		uint64_t v = ((uint64_t)random() << 31 | (uint64_t)random()) >>
			     (random() % 62);
		uint64_t got, diff;
		char out[UNITS_TEXT];

		units_size(v, out);
		assert_int_equal(units_parse_size(out, &got, NULL), 0);
		diff = got > v ? got - v : v - got;
		assert_true(diff <= v / 19 + 1);
		units_span(v >> 24, out);
		assert_int_equal(units_parse_span(out, &got, NULL), 0);
		assert_true(got <= v >> 24);
	}
}

static void test_time(void **state)
{
	char out[UNITS_TIME_TEXT];

	(void)state;
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	assert_string_equal(units_time(1796101200, out),
			    "2026-12-01 06:00:00 CET");
	assert_string_equal(units_time(1782878400, out),
			    "2026-07-01 06:00:00 CEST");
	assert_string_equal(units_time(0, out), "-");
	assert_string_equal(units_time(INT64_MAX, out), "-");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_spans),
		cmocka_unit_test(test_size_text),
		cmocka_unit_test(test_span_text),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
