/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No memory at each single allocation of the JSON library: encoders say
 * -ENOMEM and never give a broken text, decoders fail, both leave their
 * outputs alone and leak nothing (counted here, and seen by the address
 * sanitizer).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include "common/jget.h"
#include "wire_random.h"

static long fail_at, n_done, n_live;

static void *failing_malloc(size_t n)
{
	if (n_done++ == fail_at) {
		jget_note_no_memory();
		return NULL;
	}
	n_live++;
	return malloc(n);
}

static void counting_free(void *p)
{
	n_live -= p != NULL;
	free(p);
}

static void count_from(long k)
{
	fail_at = k;
	n_done = 0;
	n_live = 0;
}

/* All four kinds through one pair of functions. */
struct kind {
	int (*encode)(char **ret, size_t *ret_n);
	int (*decode)(const char *json, size_t n, struct err *e);
};

static struct wire_catalog catalog;
static struct wire_orders orders;
static struct wire_report report;
static struct wire_descriptor descriptor;

static int encode_catalog(char **ret, size_t *ret_n)
{
	return wire_catalog_encode(&catalog, ret, ret_n);
}

static int decode_catalog(const char *json, size_t n, struct err *e)
{
	struct wire_catalog c = {0};
	int r = wire_catalog_decode(json, n, &c, e);

	if (r < 0)
		assert_null(c.entry);
	else
		assert_true(same_catalog(&c, &catalog));
	wire_catalog_free(&c);
	return r;
}

static int encode_orders(char **ret, size_t *ret_n)
{
	return wire_orders_encode(&orders, ret, ret_n);
}

static int decode_orders(const char *json, size_t n, struct err *e)
{
	struct wire_orders s = {0};
	int r = wire_orders_decode(json, n, &s, e);

	if (r < 0)
		assert_null(s.order);
	else
		assert_true(same_orders(&s, &orders));
	wire_orders_free(&s);
	return r;
}

static int encode_report(char **ret, size_t *ret_n)
{
	return wire_report_encode(&report, ret, ret_n);
}

static int decode_report(const char *json, size_t n, struct err *e)
{
	struct wire_report w;
	int r = wire_report_decode(json, n, &w, e);

	if (r == 0)
		assert_true(same_report(&w, &report));
	return r;
}

static int encode_descriptor(char **ret, size_t *ret_n)
{
	return wire_descriptor_encode(&descriptor, ret, ret_n);
}

static int decode_descriptor(const char *json, size_t n, struct err *e)
{
	struct wire_descriptor d = {0};
	int r = wire_descriptor_decode(json, n, &d, e);

	if (r < 0)
		assert_null(d.image);
	else
		assert_true(same_descriptor(&d, &descriptor));
	wire_descriptor_free(&d);
	return r;
}

static const struct kind kinds[] = {
	{encode_catalog, decode_catalog},
	{encode_orders, decode_orders},
	{encode_report, decode_report},
	{encode_descriptor, decode_descriptor},
};

static int setup(void **state)
{
	struct random r = {21};

	(void)state;
	random_catalog(&r, 6, &catalog);
	random_orders(&r, 6, &orders);
	random_report(&r, &report);
	random_descriptor(&r, 6, &descriptor);
	json_set_alloc_funcs(failing_malloc, counting_free);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	wire_catalog_free(&catalog);
	wire_orders_free(&orders);
	wire_descriptor_free(&descriptor);
	return 0;
}

static void test_encoders(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		int r = -ENOMEM;

		for (long k = 0; r < 0; k++) {
			char *json = NULL;
			size_t n = 77;

			count_from(k);
			r = kinds[i].encode(&json, &n);
			if (r == 0) {
				assert_true(k > 10 && n_done <= k);
				free(json);
			} else {
				assert_int_equal(r, -ENOMEM);
				assert_null(json);
				assert_int_equal(n, 77);
			}
			assert_int_equal(n_live, 0);
		}
	}
}

static void test_decoders(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		int r = -ENOMEM;
		char *json;
		size_t n;

		count_from(-1);
		assert_int_equal(kinds[i].encode(&json, &n), 0);
		for (long k = 0; r < 0; k++) {
			struct err e = {{0}};

			count_from(k);
			r = kinds[i].decode(json, n, &e);
			if (r == 0) {
				assert_true(k > 10 && n_done <= k);
			} else {
				assert_int_equal(r, -ENOMEM);
				assert_true(e.text[0]);
			}
			assert_int_equal(n_live, 0);
		}
		free(json);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_encoders),
		cmocka_unit_test(test_decoders),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
