/* SPDX-License-Identifier: Apache-2.0 */
/* Tables and their JSON, which has to be valid whatever stands in a cell. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/table.h"
#include "common/units.h"

enum { NAME, SIZE, N, RATE, WHEN, DONE, OK };
static const struct table_column cols[] = {
	[NAME] = {"NAME", "image name", TABLE_TEXT, true},
	[SIZE] = {"SIZE", "size", TABLE_SIZE, true},
	[N] = {"NUMBER-OF", "how many", TABLE_NUMBER, false},
	[RATE] = {"RATE", "rate", TABLE_RATE, false},
	[WHEN] = {"WHEN", "time", TABLE_TIME, true},
	[DONE] = {"DONE", "part", TABLE_PERCENT, true},
	[OK] = {"OK", "fine?", TABLE_BOOL, false},
	{0},
};

/* What table_print writes to stdout; malloc'd. */
static char *capture(struct table *t)
{
	FILE *f = tmpfile();
	int saved = dup(STDOUT_FILENO), r;
	char *text;
	long n;

	assert_non_null(f);
	fflush(stdout);
	dup2(fileno(f), STDOUT_FILENO);
	r = table_print(t);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	assert_int_equal(r, 0);
	fseek(f, 0, SEEK_END);
	n = ftell(f);
	rewind(f);
	text = calloc(1, (size_t)n + 1);
	assert_int_equal(fread(text, 1, (size_t)n, f), n);
	fclose(f);
	return text;
}

static json_t *capture_json(struct table *t)
{
	char *text = capture(t);
	json_error_t error;
	json_t *j = json_loads(text, JSON_REJECT_DUPLICATES, &error);

	if (!j)
		fail_msg("not JSON: %s in <<%s>>", error.text, text);
	free(text);
	return j;
}

static struct table *make(const struct table_options *o)
{
	struct table *t = NULL;
	struct err e;

	assert_int_equal(table_new("images", cols, o, &t, &e), 0);
	return t;
}

static void fill(struct table *t, const char *name)
{
	void *row = table_row(t);

	table_text(t, row, NAME, name);
	table_u64(t, row, SIZE, 3 << 20);
	table_u64(t, row, N, INT64_MAX);
	table_u64(t, row, RATE, 1 << 20);
	table_time(t, row, WHEN, 1796101200);
	table_percent(t, row, DONE, 0.9999);
	table_bool(t, row, OK, true);
}

static void test_plain(void **state)
{
	struct table_options o = {0};
	struct table *t = make(&o);
	char *text;

	(void)state;
	fill(t, "win11/base.wim");
	text = capture(t);
	assert_non_null(strstr(text, "NAME"));
	assert_null(strstr(text, "NUMBER-OF"));
	assert_non_null(strstr(text, "win11/base.wim"));
	assert_non_null(strstr(text, "3M"));
	assert_non_null(strstr(text, "2026-12-01 06:00:00 CET"));
	assert_non_null(strstr(text, "99%")); /* never rounded up to 100 */
	free(text);
	table_free(t);
}

static void test_options(void **state)
{
	struct table_options o = {.columns = "size,Name", .no_headings = true,
				  .bytes = true, .raw = true};
	struct table *t = make(&o);
	char *text;

	(void)state;
	fill(t, "a b");
	text = capture(t);
	assert_string_equal(text, "3145728 a\\x20b\n");
	free(text);
	table_free(t);

	o = (struct table_options){.columns = "+OK,NAME", .raw = true};
	t = make(&o);
	text = capture(t); /* the headings at most */
	assert_null(strstr(text, "RATE"));
	free(text);
	table_free(t);
}

static void test_unknown_column(void **state)
{
	static const char *const bad[] = {"", "X", "NAME,", "NAME,X", "+",
					  "NAM", "NAME2", ",", "NAME SIZE"};
	struct table *t = NULL;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct table_options o = {.columns = bad[i]};

		assert_int_equal(table_new("x", cols, &o, &t, &e), -EINVAL);
		assert_non_null(strstr(e.text, "NUMBER-OF"));
	}
	assert_null(t);
}

static void test_json(void **state)
{
	struct table_options o = {
		.json = true, .columns = "+NUMBER-OF,RATE,OK,OK,NAME"};
	struct table *t = make(&o);
	json_t *j, *row;

	(void)state;
	fill(t, "win11/\"base\\.wim");
	table_row(t); /* nothing set: all null */
	j = capture_json(t);
	row = json_array_get(json_object_get(j, "images"), 0);
	assert_int_equal(json_object_size(row), 7);
	assert_string_equal(json_string_value(json_object_get(row, "name")),
			    "win11/\"base\\.wim");
	assert_int_equal(json_integer_value(json_object_get(row, "size")),
			 3 << 20);
	assert_true(json_is_integer(json_object_get(row, "rate")));
	assert_string_equal(json_string_value(json_object_get(row, "when")),
			    "2026-12-01T06:00:00+01:00");
	assert_true(json_is_true(json_object_get(row, "ok")));
	assert_true(json_real_value(json_object_get(row, "done")) > 99.8);
	row = json_array_get(json_object_get(j, "images"), 1);
	assert_int_equal(json_object_size(row), 7);
	assert_true(json_is_null(json_object_get(row, "name")));
	assert_true(json_is_null(json_object_get(row, "size")));
	assert_true(json_is_null(json_object_get(row, "ok")));
	json_decref(j);
	table_free(t);
}

static void test_json_without_rows(void **state)
{
	struct table_options o = {.json = true};
	struct table *t = make(&o);
	json_t *j = capture_json(t);

	(void)state;
	assert_int_equal(json_array_size(json_object_get(j, "images")), 0);
	assert_true(json_is_array(json_object_get(j, "images")));
	json_decref(j);
	table_free(t);
}

/* Names come from the network: any byte, alone and among others. */
static void test_any_byte(void **state)
{
	struct table_options plain = {.columns = "NAME", .no_headings = true},
			     json = {.json = true};
	char name[8];

	(void)state;
	for (int c = 1; c < 256; c++) {
		struct table *t = make(&json);
		json_t *j;
		char *text;

		snprintf(name, sizeof(name), "a%cb", c);
		fill(t, name);
		fill(t, name + 1);
		j = capture_json(t);
		json_decref(j);
		table_free(t);

		t = make(&plain);
		fill(t, name);
		text = capture(t);
		for (char *p = text; *p; p++)
			if ((unsigned char)*p < 0x20 || *p == 0x7f)
				assert_string_equal(p, "\n");
		free(text);
		table_free(t);
	}
}

static void test_unlimited_rate(void **state)
{
	struct table_options o = {.json = true, .columns = "RATE,NAME"};
	struct table *t = make(&o);
	void *row = table_row(t);
	json_t *j;

	(void)state;
	table_u64(t, row, RATE, RATE_UNLIMITED);
	j = capture_json(t);
	row = json_array_get(json_object_get(j, "images"), 0);
	assert_true(json_is_null(json_object_get(row, "rate")));
	json_decref(j);
	table_free(t);
}

static void test_write_error(void **state)
{
	struct table_options o = {0};
	struct table *t = make(&o);
	int saved, full, r;

	(void)state;
	fill(t, "x");
	full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	assert_true(full >= 0);
	fflush(stdout);
	saved = dup(STDOUT_FILENO);
	dup2(full, STDOUT_FILENO);
	r = table_print(t);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	close(full);
	clearerr(stdout);
	assert_int_equal(r, -ENOSPC);
	table_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_unknown_column),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_json_without_rows),
		cmocka_unit_test(test_any_byte),
		cmocka_unit_test(test_unlimited_rate),
		cmocka_unit_test(test_write_error),
	};

	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
