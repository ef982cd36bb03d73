/* SPDX-License-Identifier: Apache-2.0 */
/* Times as people write them, the nights on which clocks change included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "origin/plan/repeat.h"
#include "origin/plan/when.h"

/* 2026-11-23 08:00 UTC, a Monday; 09:00 in Berlin. */
#define NOW INT64_C(1795420800)
#define DEC1 INT64_C(1796104800) /* 2026-12-01 06:00 UTC */
#define H INT64_C(3600)
#define BERLIN "Europe/Berlin"

static int64_t parse(const char *text, const char *zone, char out[ZONE_MAX])
{
	struct err e;
	int64_t t = -1;
	int r = when_parse(text, zone, NOW, &t, out, &e);

	if (r)
		print_message("%s: %s\n", text, e.text);
	assert_int_equal(r, 0);
	return t;
}

static void test_forms(void **state)
{
	static const struct {
		const char *text, *zone;
		int64_t want;
		const char *want_zone;
	} t[] = {
		{"now", "UTC", NOW, "UTC"},
		{"+10s", "UTC", NOW + 10, "UTC"},
		{"+2h", BERLIN, NOW + 2 * H, BERLIN},
		{"2026-12-01 06:00", "UTC", DEC1, "UTC"},
		{"2026-12-01 06:00", BERLIN, DEC1 - H, BERLIN},
		{"2026-12-01 06:00:30", BERLIN, DEC1 + 30 - H, BERLIN},
		{"2026-12-01T06:00:00Z", BERLIN, DEC1, "UTC"},
		{"2026-12-01T06:00Z", BERLIN, DEC1, "UTC"},
		{"2026-12-01 06:00 UTC", BERLIN, DEC1, "UTC"},
		{"2026-12-01 06:00 +02:00", BERLIN, DEC1 - 2 * H, "+02:00"},
		{"2026-12-01T06:00:00+02:00", "UTC", DEC1 - 2 * H, "+02:00"},
		{"2026-12-01T06:00:00-0330", "UTC", DEC1 + 12600, "-03:30"},
		{"2026-12-01 06:00 +02", "UTC", DEC1 - 2 * H, "+02:00"},
		{"2026-12-01 06:00 Europe/Berlin", "UTC", DEC1 - H, BERLIN},
		{"2026-12-01T06:00:00+01:00[Europe/Berlin]", "UTC", DEC1 - H,
		 BERLIN},
		{"2026-07-01 06:00 Europe/Berlin", "UTC", 1782878400, BERLIN},
		{"2026-12-01 06:00 Asia/Kolkata", "UTC", DEC1 - 19800,
		 "Asia/Kolkata"},
		{"06:00", "UTC", NOW + 22 * H, "UTC"},	 /* tomorrow's */
		{"10:00", BERLIN, NOW + H, BERLIN},	 /* today's */
		{"09:00", BERLIN, NOW + 24 * H, BERLIN}, /* not now */
		{"today 06:00", "UTC", NOW - 2 * H, "UTC"},
		{"tomorrow 06:00", "UTC", NOW + 22 * H, "UTC"},
		{"Tomorrow 06:00 Asia/Tokyo", "UTC", NOW + 13 * H,
		 "Asia/Tokyo"},
		{"2028-02-29 00:00", "UTC", 1835395200, "UTC"},
		{"1970-01-01 00:00", "UTC", 0, "UTC"},
		/* twice that night, and said which */
		{"2026-10-25 02:30 +02:00 Europe/Berlin", "UTC", 1792888200,
		 BERLIN},
		{"2026-10-25 02:30 +01:00 Europe/Berlin", "UTC", 1792891800,
		 BERLIN},
	};
	char zone[ZONE_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		print_message("%s\n", t[i].text);
		assert_int_equal(parse(t[i].text, t[i].zone, zone), t[i].want);
		assert_string_equal(zone, t[i].want_zone);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *text;
		int want;
		const char *says;
	} t[] = {
		{"", EINVAL, "06:00"},
		{"soon", EINVAL, "not a time"},
		{"2026-02-30 06:00", EINVAL, "there is no 2026-02-30"},
		{"2026-02-29 06:00", EINVAL, "there is no"},
		{"2026-13-01 06:00", EINVAL, "there is no"},
		{"2026-00-01 06:00", EINVAL, "there is no"},
		{"2026-12-01", EINVAL, "time of day is missing"},
		{"tomorrow", EINVAL, "time of day is missing"},
		{"2026-12-01 6:00", EINVAL, "another form"},
		{"2026-12-01 24:00", EINVAL, "on a clock"},
		{"2026-12-01 06:60", EINVAL, "on a clock"},
		{"2026-12-01 06:00:60", EINVAL, "on a clock"},
		{"2026-12-01 06:00 Europe/Berlim", EINVAL, "no time zone"},
		{"2026-12-01 06:00 ../../etc/passwd", EINVAL,
		 "not a time zone"},
		{"2026-12-01 06:00 Europe", EINVAL, "no time zone"},
		{"2026-12-01 06:00 +25:00", EINVAL, "offset"},
		{"2026-12-01 06:00 +01:00 America/New_York", EINVAL,
		 "is at -05:00 then"},
		{"2026-12-01 06:00 UTC UTC", EINVAL, "after its end"},
		{"2026-12-01 06:00[UTC", EINVAL, "]"},
		{"01.12.2026 06:00", EINVAL, "another form"},
		{"2026-12-01 06:00pm", EINVAL, "zone"},
		{"2055-12-01 06:00", ERANGE, "between 1970 and 2037"},
		{"+2parsec", EINVAL, "not a time"},
		{"+", EINVAL, "not a time"},
		{"+200000h", ERANGE, "ten years"},
		/* skipped, and twice */
		{"2027-03-28 02:30 Europe/Berlin", EINVAL, "write 03:30"},
		{"2026-10-25 02:30 Europe/Berlin", EINVAL, "occurs twice"},
	};
	char zone[ZONE_MAX] = "untouched";
	int64_t when = -7;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		int r = when_parse(t[i].text, "UTC", NOW, &when, zone, &e);

		print_message("%s: %s\n", t[i].text, e.text);
		assert_int_equal(r, -t[i].want);
		assert_non_null(strstr(e.text, t[i].says));
	}
	assert_int_equal(when, -7);
	assert_string_equal(zone, "untouched");
}

/* What is shown can be read back, and means the same. */
static void test_shown(void **state)
{
	static const char *const zone[] = {"UTC", BERLIN, "America/St_Johns",
					   "Asia/Kolkata", "+05:45",
					   "Australia/Lord_Howe"};
	char text[WHEN_TEXT], back[ZONE_MAX];

	(void)state;
	assert_string_equal(when_text(NOW, BERLIN, text),
			    "2026-11-23 09:00 +01:00");
	assert_string_equal(when_text(NOW + 7, "UTC", text),
			    "2026-11-23 08:00:07 UTC");
	assert_string_equal(when_text(0, "UTC", text), "-");
	assert_string_equal(when_rfc3339(NOW, BERLIN, text),
			    "2026-11-23T09:00:00+01:00");
	for (size_t i = 0; i < sizeof(zone) / sizeof(zone[0]); i++)
		for (int64_t t = NOW; t < NOW + 400 * 24 * H; t += 5 * H + 77) {
			when_text(t, zone[i], text);
			assert_int_equal(parse(text, "Asia/Tokyo", back), t);
			when_rfc3339(t, zone[i], text);
			assert_int_equal(parse(text, "Asia/Tokyo", back), t);
		}
}

static void test_local_zone(void **state)
{
	char zone[ZONE_MAX];

	(void)state;
	setenv("TZ", "America/New_York", 1);
	assert_string_equal(zone_local(zone), "America/New_York");
	assert_int_equal(parse("2026-12-01 06:00", "", zone), DEC1 + 5 * H);
	assert_string_equal(zone, "America/New_York");
	setenv("TZ", ":/usr/share/zoneinfo/Asia/Tokyo", 1);
	assert_string_equal(zone_local(zone), "Asia/Tokyo");
	setenv("TZ", "no such zone", 1);
	assert_string_equal(zone_local(zone), "UTC");
	unsetenv("TZ");
}

/* ---- recurrences -------------------------------------------------------- */

static size_t list(const char *rule, const char *at, const char *until,
		   const char *from, const char *to, struct occurrence *o,
		   size_t max)
{
	char zone[ZONE_MAX];
	struct repeat r = {.zone = BERLIN, .rule = rule};

	r.at_s = parse(at, BERLIN, zone);
	if (until)
		r.until_s = parse(until, BERLIN, zone);
	return repeat_list(&r, parse(from, BERLIN, zone),
			   parse(to, BERLIN, zone), o, max);
}

static void expect(const struct occurrence *o, const char *at,
		   const char *until)
{
	char text[WHEN_TEXT];

	assert_string_equal(when_text(o->at_s, BERLIN, text), at);
	assert_string_equal(when_text(o->until_s, BERLIN, text), until);
}

static void test_repeat_keeps_wall_time(void **state)
{
	struct occurrence o[8];

	(void)state;
	assert_int_equal(list("FREQ=DAILY", "2026-10-23 06:00",
			      "2026-10-23 18:00", "2026-10-24 00:00",
			      "2026-10-26 07:00", o, 8),
			 4); /* one after the span */
	expect(&o[0], "2026-10-24 06:00 +02:00", "2026-10-24 18:00 +02:00");
	expect(&o[1], "2026-10-25 06:00 +01:00", "2026-10-25 18:00 +01:00");
	expect(&o[2], "2026-10-26 06:00 +01:00", "2026-10-26 18:00 +01:00");
	expect(&o[3], "2026-10-27 06:00 +01:00", "2026-10-27 18:00 +01:00");
	/* An `until` of the next day over the change of clocks. */
	assert_int_equal(list("FREQ=DAILY", "2026-10-23 22:00",
			      "2026-10-24 04:00", "2026-10-24 12:00",
			      "2026-10-24 13:00", o, 8),
			 1);
	expect(&o[0], "2026-10-24 22:00 +02:00", "2026-10-25 04:00 +01:00");
}

static void test_repeat_in_gap_and_twice(void **state)
{
	struct occurrence o[4];

	(void)state;
	assert_int_equal(list("FREQ=DAILY", "2027-03-27 02:30", NULL,
			      "2027-03-27 00:00", "2027-03-29 03:00", o, 3),
			 3);
	expect(&o[0], "2027-03-27 02:30 +01:00", "-");
	expect(&o[1], "2027-03-28 03:30 +02:00", "-");
	expect(&o[2], "2027-03-29 02:30 +02:00", "-");
	assert_int_equal(list("FREQ=DAILY", "2026-10-24 02:30", NULL,
			      "2026-10-25 00:00", "2026-10-25 12:00", o, 1),
			 1);
	expect(&o[0], "2026-10-25 02:30 +02:00", "-"); /* the first */
}

static void test_repeat_rules(void **state)
{
	struct occurrence o[8];

	(void)state;
	assert_int_equal(list("FREQ=WEEKLY;BYDAY=MO,TU", "2020-01-06 06:00",
			      NULL, "2026-11-23 00:00", "2026-12-01 00:00", o,
			      8),
			 4);
	expect(&o[0], "2026-11-23 06:00 +01:00", "-");
	expect(&o[1], "2026-11-24 06:00 +01:00", "-");
	expect(&o[2], "2026-11-30 06:00 +01:00", "-");
	expect(&o[3], "2026-12-01 06:00 +01:00", "-");
	/* Every other week: counted from the first date, not from `from`. */
	assert_int_equal(list("FREQ=WEEKLY;INTERVAL=2", "2026-11-02 06:00",
			      NULL, "2026-11-17 00:00", "2026-11-18 00:00", o,
			      8),
			 1);
	expect(&o[0], "2026-11-30 06:00 +01:00", "-");
	assert_int_equal(list("FREQ=DAILY;COUNT=3", "2026-11-20 06:00", NULL,
			      "2026-11-22 00:00", "2026-12-22 00:00", o, 8),
			 1);
	/* UNTIL is UTC: 05:00Z is 06:00 there, and counts. */
	assert_int_equal(list("FREQ=DAILY;UNTIL=20261122T050000Z",
			      "2026-11-20 06:00", NULL, "2026-11-20 00:00",
			      "2026-12-22 00:00", o, 8),
			 3);
	assert_int_equal(list("", "2026-11-20 06:00", NULL, "2026-11-20 00:00",
			      "2026-11-21 00:00", o, 8),
			 1);
	assert_int_equal(list("", "2026-11-20 06:00", NULL, "2026-11-20 07:00",
			      "2026-11-21 00:00", o, 8),
			 0);
}

static void test_repeat_check(void **state)
{
	static const char *const bad[] = {
		"daily", "FREQ=NOPE", "FREQ=SECONDLY", "FREQ=MINUTELY",
		"BYDAY=MO", "FREQ=WEEKLY;BYDAY=XX", "FREQ=DAILY;INTERVAL=0",
		"FREQ=DAILY;COUNT=100000", "FREQ=DAILY;UNTIL=20200101",
		"FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"};
	struct repeat r = {.at_s = NOW, .zone = BERLIN, .rule = ""};
	struct err e;

	(void)state;
	assert_int_equal(repeat_check(&r, &e), 0);
	r.rule = "FREQ=MONTHLY;BYDAY=1MO";
	assert_int_equal(repeat_check(&r, &e), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		r.rule = bad[i];
		print_message("%s\n", bad[i]);
		assert_int_equal(repeat_check(&r, &e), -EINVAL);
		print_message("  %s\n", e.text);
	}
}

/* libical's tables grow while they are read; for the thread sanitizer. */
static void *many_zones(void *arg)
{
	static const char *const zone[] = {"Asia/Tokyo", "Europe/Lisbon",
					   "America/Lima", "Africa/Cairo"};
	intptr_t wrong = 0;

	(void)arg;
	for (int i = 0; i < 200; i++)
		wrong += zone_offset(zone[i % 4], NOW + i * 1000 * H) ==
			 INT32_MIN;
	return (void *)wrong;
}

static void test_threads(void **state)
{
	pthread_t t[4];
	void *wrong;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, many_zones, NULL),
				 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &wrong);
		assert_null(wrong);
	}
	assert_int_equal(zone_offset("Asia/Tokyo", NOW), 9 * H);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads), /* before zones are loaded */
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_shown),
		cmocka_unit_test(test_local_zone),
		cmocka_unit_test(test_repeat_keeps_wall_time),
		cmocka_unit_test(test_repeat_in_gap_and_twice),
		cmocka_unit_test(test_repeat_rules),
		cmocka_unit_test(test_repeat_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
