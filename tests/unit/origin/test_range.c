/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges: every range of every small file against the definition, the examples
 * of RFC 9110 14.1, and what counts as no range.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "origin/http/range.h"

#define SIZE_MAX_TRIED 12

static void expect(const char *text, uint64_t size, enum range_kind kind,
		   uint64_t first, uint64_t length)
{
	struct range r = range_parse(text, size);

	if (r.kind != kind || r.first != first || r.length != length)
		fail_msg("'%s' of %llu: %d %llu+%llu", text ? text : "(none)",
			 (unsigned long long)size, r.kind,
			 (unsigned long long)r.first,
			 (unsigned long long)r.length);
}

/* The bytes that a range selects, counted one by one. */
static void expect_bytes(const char *text, uint64_t size,
			 _Bool (*has)(uint64_t i, uint64_t a, uint64_t b,
				      uint64_t size),
			 uint64_t a, uint64_t b)
{
	uint64_t first = 0, n = 0;

	for (uint64_t i = 0; i < size; i++)
		if (has(i, a, b, size) && n++ == 0)
			first = i;
	if (n == 0)
		expect(text, size, RANGE_UNSATISFIABLE, 0, 0);
	else
		expect(text, size, RANGE_PART, first, n);
}

static _Bool between(uint64_t i, uint64_t a, uint64_t b, uint64_t size)
{
	(void)size;
	return i >= a && i <= b;
}

static _Bool from(uint64_t i, uint64_t a, uint64_t b, uint64_t size)
{
	(void)b;
	(void)size;
	return i >= a;
}

static _Bool last(uint64_t i, uint64_t a, uint64_t b, uint64_t size)
{
	(void)b;
	return i + a >= size;
}

static void test_all_small_ranges(void **state)
{
	char text[64];

	(void)state;
	for (uint64_t size = 0; size <= SIZE_MAX_TRIED; size++)
		for (uint64_t a = 0; a <= SIZE_MAX_TRIED + 2; a++) {
			snprintf(text, sizeof(text), "bytes=%d-", (int)a);
			expect_bytes(text, size, from, a, 0);
			snprintf(text, sizeof(text), "bytes=-%d", (int)a);
			expect_bytes(text, size, last, a, 0);
			for (uint64_t b = a; b <= SIZE_MAX_TRIED + 2; b++) {
				snprintf(text, sizeof(text), "bytes=%d-%d",
					 (int)a, (int)b);
				expect_bytes(text, size, between, a, b);
			}
		}
}

static void test_no_range(void **state)
{
	static const char *const text[] = {
		"", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1",
		"bytes=5-2", "bytes=0-1,3-4", "bytes=0-1,", "bytes= 0 -1",
		"bytes=--1", "bytes=+1-2", "bytes=0x1-2", "items=0-1",
		"byte=0-1", "bytes=0-1x", "bytes=0-1;q=1", "bytes 0-1"};

	(void)state;
	expect(NULL, 10, RANGE_NONE, 0, 10);
	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++)
		expect(text[i], 10, RANGE_NONE, 0, 10);
}

static void test_forms(void **state)
{
	(void)state;
	expect("BYTES=2-3", 10, RANGE_PART, 2, 2);
	expect("bytes= 2-3 ", 10, RANGE_PART, 2, 2);
	expect("bytes=007-008", 10, RANGE_PART, 7, 2);
	/* RFC 9110 14.1.2, of 10,000 bytes */
	expect("bytes=0-499", 10000, RANGE_PART, 0, 500);
	expect("bytes=500-999", 10000, RANGE_PART, 500, 500);
	expect("bytes=-500", 10000, RANGE_PART, 9500, 500);
	expect("bytes=9500-", 10000, RANGE_PART, 9500, 500);
}

static void test_large_numbers(void **state)
{
	const uint64_t max = UINT64_MAX;

	(void)state;
	expect("bytes=0-18446744073709551615", max, RANGE_PART, 0, max);
	expect("bytes=0-99999999999999999999999", 10, RANGE_PART, 0, 10);
	expect("bytes=99999999999999999999999-", 10, RANGE_UNSATISFIABLE, 0,
	       0);
	expect("bytes=-99999999999999999999999", 10, RANGE_PART, 0, 10);
	expect("bytes=18446744073709551614-", max, RANGE_PART, max - 1, 1);
	expect("bytes=18446744073709551615-", max, RANGE_UNSATISFIABLE, 0, 0);
}

static void test_if_range(void **state)
{
	(void)state;
	assert_true(range_if_range(NULL, "\"abc\""));
	assert_true(range_if_range("\"abc\"", "\"abc\""));
	assert_true(range_if_range(" \"abc\" ", "\"abc\""));
	assert_false(range_if_range("\"abd\"", "\"abc\""));
	assert_false(range_if_range("\"abcd\"", "\"abc\""));
	/* Weak ones never match strongly (13.1.5); there are no dates here. */
	assert_false(range_if_range("W/\"abc\"", "\"abc\""));
	assert_false(range_if_range("Mon, 23 Nov 2026 09:18:56 GMT",
				    "\"abc\""));
	assert_false(range_if_range("", "\"abc\""));
}

static void test_none_match(void **state)
{
	(void)state;
	assert_false(range_none_match(NULL, "\"abc\""));
	assert_true(range_none_match("*", "\"abc\""));
	assert_true(range_none_match("\"abc\"", "\"abc\""));
	assert_true(range_none_match("W/\"abc\"", "\"abc\""));
	assert_true(range_none_match("\"x\", \"y,z\" ,\"abc\"", "\"abc\""));
	assert_false(range_none_match("\"ab\", \"abcd\"", "\"abc\""));
	assert_false(range_none_match("abc", "\"abc\""));
	assert_false(range_none_match("\"abc", "\"abc\""));
	assert_false(range_none_match("\"x\" \"abc\"", "\"abc\""));
	assert_false(range_none_match("", "\"abc\""));
	assert_false(range_none_match(",,,", "\"abc\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_small_ranges),
		cmocka_unit_test(test_no_range),
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_large_numbers),
		cmocka_unit_test(test_if_range),
		cmocka_unit_test(test_none_match),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
