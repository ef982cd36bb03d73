/* SPDX-License-Identifier: Apache-2.0 */
/* What a member may be, and that a small text cannot become a large tree. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/jget.h"
#include "common/limits.h"

static json_t *parse(const char *text)
{
	json_t *o = NULL;
	struct err e;

	if (jget_parse(text, strlen(text), &o, &e) < 0)
		fail_msg("%s: %s", text, e.text);
	return o;
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		"{",
		"[]",
		"[{}]",
		"1",
		"null",
		"\"x\"",
		"{}{}",
		"{} x",
		"{\"a\":1,\"a\":2}",
		"{\"a\":{\"b\":1,\"b\":1}}",
		"{\"a\":\"\\u0000\"}",
		"{\"a\":\"\xff\"}",
		"{\"a\":\"\\ud800\"}",
		"{'a':1}",
		"{\"a\":01}",
		"{\"a\":NaN}",
		"{\"a\":1,}",
		"{\"a\":9223372036854775808}",
		"{\"a\":1e999}",
		"{\"a\":\"x\ny\"}",
		"\\{}",
	};
	json_t *o = NULL;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		e.text[0] = 0;
		if (jget_parse(bad[i], strlen(bad[i]), &o, &e) != -EPROTO)
			fail_msg("'%s' was taken", bad[i]);
		assert_true(e.text[0]);
	}
	assert_int_equal(jget_parse("{}\0", 3, &o, &e), -EPROTO);
	assert_null(o);
}

static int parse_nested(size_t depth, const char *open, const char *close)
{
	char text[4096] = "{\"a\":";
	json_t *o = NULL;
	int r;

	for (size_t i = 1; i < depth; i++)
		strcat(text, open);
	strcat(text, "0");
	for (size_t i = 1; i < depth; i++)
		strcat(text, close);
	strcat(text, "}");
	r = jget_parse(text, strlen(text), &o, NULL);
	json_decref(o);
	return r;
}

static void test_depth(void **state)
{
	json_t *o;

	(void)state;
	assert_int_equal(parse_nested(16, "[", "]"), 0);
	assert_int_equal(parse_nested(17, "[", "]"), -EPROTO);
	assert_int_equal(parse_nested(16, "{\"b\":", "}"), 0);
	assert_int_equal(parse_nested(17, "{\"b\":", "}"), -EPROTO);
	assert_int_equal(parse_nested(500, "[", "]"), -EPROTO);
	/* brackets in strings do not count, escapes do not end them */
	o = parse("{\"a\":\"[[[[[[[[[[[[[[[[[[[[\\\"[[[[[\\\\\",\"b\":[]}");
	json_decref(o);
}

static void test_weight(void **state)
{
	size_t n = 10 << 20;
	char *text = malloc(n);
	json_t *o = NULL;
	struct err e;

	(void)state;
	memcpy(text, "{\"a\":[", 6);
	for (size_t i = 6; i < n - 2; i++)
		text[i] = i % 2 ? ',' : '1';
	memcpy(text + n - 3, "1]}", 3);
	assert_int_equal(jget_parse(text, n, &o, &e), -EPROTO);
	assert_non_null(strstr(e.text, "too many"));
	free(text);

	assert_int_equal(jget_parse_bounded("{\"a\":[1,2,3]}", 13, 13, &o, &e),
			 0);
	json_decref(o);
	o = NULL;
	assert_int_equal(jget_parse_bounded("{\"a\":[1,2,3]}", 13, 12, &o, &e),
			 -EPROTO);
	assert_int_equal(jget_parse_bounded("{\"a\":\",,,,,,[\"}", 15, 6, &o,
					    &e),
			 0);
	json_decref(o);
}

static void test_numbers(void **state)
{
	json_t *o = parse("{\"n\":7,\"neg\":-1,\"max\":9223372036854775807,"
			  "\"min\":-9223372036854775808,\"r\":1.0,\"s\":\"1\","
			  "\"z\":null,\"t\":true,\"f\":false}");
	uint64_t u = 99;
	int64_t i = 99;
	bool b = false;
	struct err e;

	(void)state;
	assert_int_equal(jget_u64(o, "n", 7, &u, &e), 0);
	assert_int_equal(u, 7);
	assert_int_equal(jget_u64(o, "n", 6, &u, &e), -EPROTO);
	assert_string_equal(e.text, "member 'n' is 7, outside of 0 to 6");
	assert_int_equal(jget_u64(o, "max", UINT64_MAX, &u, &e), 0);
	assert_int_equal(u, INT64_MAX);
	u = 99;
	assert_int_equal(jget_u64(o, "neg", UINT64_MAX, &u, &e), -EPROTO);
	assert_int_equal(jget_u64(o, "min", UINT64_MAX, &u, &e), -EPROTO);
	assert_int_equal(jget_u64(o, "r", 9, &u, &e), -EPROTO);
	assert_int_equal(jget_u64(o, "s", 9, &u, &e), -EPROTO);
	assert_int_equal(jget_u64(o, "z", 9, &u, &e), -EPROTO);
	assert_int_equal(jget_u64(o, "none", 9, &u, &e), -EPROTO);
	assert_string_equal(e.text, "member 'none' is missing");
	assert_int_equal(jget_u64_opt(o, "none", 9, &u, &e), 0);
	assert_int_equal(jget_u64_opt(o, "s", 9, &u, &e), -EPROTO);
	assert_int_equal(u, 99);

	assert_int_equal(jget_i64_opt(o, "none", &i, &e), 0);
	assert_int_equal(jget_i64_opt(o, "r", &i, &e), -EPROTO);
	assert_int_equal(i, 99);
	assert_int_equal(jget_i64_opt(o, "min", &i, &e), 0);
	assert_true(i == INT64_MIN);

	assert_int_equal(jget_bool_opt(o, "t", &b, &e), 0);
	assert_true(b);
	assert_int_equal(jget_bool_opt(o, "none", &b, &e), 0);
	assert_true(b);
	assert_int_equal(jget_bool_opt(o, "n", &b, &e), -EPROTO);
	assert_int_equal(jget_bool_opt(o, "f", &b, &e), 0);
	assert_false(b);
	json_decref(o);
}

static void test_texts_and_lists(void **state)
{
	json_t *o = parse("{\"s\":\"abc\",\"c\":\"a\\nb\",\"d\":\"\\u0085\","
			  "\"l\":[1,2,3],\"e\":\"\"}");
	const char *s = "old";
	json_t *l = NULL;
	struct err e;

	(void)state;
	assert_int_equal(jget_text(o, "s", 2, &s, &e), -EPROTO);
	assert_int_equal(jget_text(o, "c", 9, &s, &e), -EPROTO);
	assert_int_equal(jget_text(o, "d", 9, &s, &e), -EPROTO);
	assert_int_equal(jget_text(o, "l", 9, &s, &e), -EPROTO);
	assert_int_equal(jget_text(o, "none", 9, &s, &e), -EPROTO);
	assert_int_equal(jget_text_opt(o, "none", 9, &s, &e), 0);
	assert_string_equal(s, "old");
	assert_int_equal(jget_text(o, "s", 3, &s, &e), 0);
	assert_string_equal(s, "abc");
	assert_int_equal(jget_text(o, "e", 0, &s, &e), 0);
	assert_string_equal(s, "");

	assert_int_equal(jget_list_opt(o, "none", 9, &l, &e), 0);
	assert_int_equal(jget_list_opt(o, "s", 9, &l, &e), -EPROTO);
	assert_int_equal(jget_list_opt(o, "l", 2, &l, &e), -EPROTO);
	assert_null(l);
	assert_int_equal(jget_list_opt(o, "l", 3, &l, &e), 0);
	assert_int_equal(json_array_size(l), 3);
	/* a list where an object was expected has no members */
	assert_int_equal(jget_text(l, "s", 9, &s, &e), -EPROTO);
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_weight),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_texts_and_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
