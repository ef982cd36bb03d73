/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of text that a planner types: a zone, a time, a recurrence and a table
 * of rates, each line one of them (what is missing is empty). What is taken
 * keeps its promises: a time that is shown is read back as the same, dates
 * grow, a rate changes later than now.
 */
#include <stdbool.h>
#include <string.h>

#include "origin/plan/repeat.h"
#include "origin/plan/when.h"
#include "origin/schedule/rates.h"
#include "tests/fuzz/fuzz.h"

#define NOW INT64_C(1795420800) /* 2026-11-23 08:00 UTC */
#define TEXT_MAX 512

static void next_line(const uint8_t **at, size_t *n, char out[TEXT_MAX])
{
	const uint8_t *end = memchr(*at, '\n', *n);
	size_t len = end ? (size_t)(end - *at) : *n;
	size_t take = len < TEXT_MAX - 1 ? len : TEXT_MAX - 1;

	memcpy(out, *at, take);
	out[take] = '\0';
	*at += end ? len + 1 : len;
	*n -= end ? len + 1 : len;
}

static bool check_time(const char *text, const char *zone, int64_t *ret)
{
	char in[ZONE_MAX], shown[WHEN_TEXT], again_in[ZONE_MAX];
	int64_t again;
	struct err e = {{0}};

	if (when_parse(text, zone, NOW, ret, in, &e)) {
		FUZZ_MUST(e.text[0]);
		return false;
	}
	FUZZ_MUST(zone_check(in, NULL) == 0);
	if (*ret == 0)
		return true;
	when_text(*ret, in, shown);
	FUZZ_MUST(when_parse(shown, "UTC", NOW, &again, again_in, &e) == 0);
	FUZZ_MUST(again == *ret);
	return true;
}

static void check_repeat(const char *rule, const char *zone, int64_t at_s)
{
	struct repeat r = {.at_s = at_s, .until_s = at_s + 3600, .zone = zone,
			   .rule = rule};
	struct occurrence o[8];
	struct err e = {{0}};
	size_t n;

	if (repeat_check(&r, &e)) {
		FUZZ_MUST(e.text[0]);
		return;
	}
	n = repeat_list(&r, at_s + 86400, at_s + 20 * 86400, o, 8);
	for (size_t i = 0; i < n; i++) {
		FUZZ_MUST(o[i].at_s >= at_s + 86400);
		FUZZ_MUST(i == 0 || o[i].at_s >= o[i - 1].at_s);
		FUZZ_MUST(o[i].until_s >= o[i].at_s);
	}
}

static void check_rates(const char *text, const char *zone)
{
	struct rates r;
	struct err e = {{0}};
	int64_t t = NOW;

	if (rates_parse(text, zone, &r, &e)) {
		FUZZ_MUST(e.text[0]);
		return;
	}
	for (int i = 0; i < 4 && t != INT64_MAX; i++) {
		int64_t next = rates_next_change(&r, t);

		FUZZ_MUST(next > t);
		FUZZ_MUST(next == INT64_MAX ||
			  rates_at(&r, next) != rates_at(&r, next - 1));
		t = next;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char zone[TEXT_MAX], text[TEXT_MAX], rule[TEXT_MAX], rates[TEXT_MAX];
	int64_t at = NOW;

	next_line(&data, &n, zone);
	next_line(&data, &n, text);
	next_line(&data, &n, rule);
	next_line(&data, &n, rates);
	if (zone_check(zone, NULL))
		*zone = '\0';
	fuzz_accepted = check_time(text, zone, &at);
	check_repeat(rule, zone, at);
	check_rates(rates, zone);
	return 0;
}
