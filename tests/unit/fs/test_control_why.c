/* SPDX-License-Identifier: Apache-2.0 */
/* What `stagefs why` is told. */
#include "tests/unit/fs/control_world.h"

static void never_read(void **state)
{
	struct err e;
	json_t *lines = ask("why", named("win11/base.wim"), &e), *o, *s;

	(void)state;
	assert_string_equal(e.text, "");
	assert_int_equal(json_array_size(lines), 1);
	o = having(lines, "why");
	assert_string_equal(ask_text(o, "name"), "win11/base.wim");
	assert_int_equal(ask_u64(o, "size"), SIZE);
	assert_true(ask_bool(o, "published") && ask_bool(o, "fits"));
	assert_int_equal(ask_u64(o, "stored"), 0);
	assert_false(ask_bool(o, "complete"));
	assert_null(json_object_get(o, "evictable"));
	assert_null(json_object_get(o, "evicted_at"));
	assert_int_equal(ask_u64(o, "reads_waiting"), 3);
	assert_int_equal(ask_u64(o, "retry_ms"), 1500);
	s = json_array_get(json_object_get(o, "sources"), 0);
	assert_string_equal(ask_text(s, "url"), "http://127.0.0.1:1");
	assert_false(ask_bool(s, "left_out"));
	json_decref(lines);
}

static void left_out_source(void **state)
{
	struct err e;
	json_t *lines, *o;

	(void)state;
	/* The last one is left out at the second time only. */
	for (int i = 0; i < 2; i++)
		sources_lied(t.sources, 0, &manifest->digest, clock_mono_ns());
	lines = ask("why", named("win11/base.wim"), &e);
	o = having(lines, "why");
	o = json_array_get(json_object_get(o, "sources"), 0);
	assert_true(ask_bool(o, "left_out"));
	json_decref(lines);
}

static void here_held_and_gone(void **state)
{
	struct version_ident i = ident(), other = i;
	struct err e;
	json_t *lines, *o;

	(void)state;
	other.id = 9; /* a version before this one, under the same name */
	store_missing(&other);
	store_missing(&i);
	lines = ask("why", named("win11/base.wim"), &e);
	assert_int_equal(json_array_size(lines), 2);
	o = json_object_get(json_array_get(lines, 0), "why");
	assert_int_equal(ask_u64(o, "id"), 3);
	assert_true(ask_bool(o, "complete") && ask_bool(o, "evictable"));
	assert_int_equal(ask_u64(o, "before"), 1);
	assert_true(ask_u64(o, "before_bytes") >= SIZE);
	o = json_object_get(json_array_get(lines, 1), "why");
	assert_int_equal(ask_u64(o, "id"), 9);
	assert_false(ask_bool(o, "published"));
	assert_int_equal(ask_u64(o, "before"), 0);
	json_decref(lines);

	assert_int_equal(cache_hold(t.cache, &i, INT64_MAX), 0);
	lines = ask("why", named("win11/base.wim"), &e);
	o = json_object_get(json_array_get(lines, 0), "why");
	assert_true(ask_u64(o, "held_until") > 0);
	json_decref(lines);

	assert_int_equal(cache_evict(t.cache, 3, NULL, true, NULL), 0);
	assert_int_equal(cache_evict(t.cache, 9, NULL, true, NULL), 0);
	lines = ask("why", named("win11/base.wim"), &e);
	assert_int_equal(json_array_size(lines), 1);
	o = having(lines, "why");
	assert_string_equal(ask_text(o, "evicted_why"), "asked");
	assert_true(ask_u64(o, "evicted_at") > 0);
	json_decref(lines);
}

static void unknown_names(void **state)
{
	struct err e;

	(void)state;
	json_decref(ask("why", named("win11/none"), &e));
	assert_non_null(strstr(e.text, "win11/none: not known: the origin "
			       "publishes no image of that name (catalog "
			       "revision 4)"));
	json_decref(ask("why", named("win11"), &e));
	assert_non_null(strstr(e.text, "a folder"));
	json_decref(ask("why", NULL, &e));
	assert_non_null(strstr(e.text, "name"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(never_read),
		T(left_out_source),
		T(here_held_and_gone),
		T(unknown_names),
	};
	int r;

	make_content();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	manifest_free(manifest);
	return r;
}
