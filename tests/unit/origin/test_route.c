/* SPDX-License-Identifier: Apache-2.0 */
/* Routes: the protocol's places, and everything beside them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "origin/http/route.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct route_match taken(const char *path, const char *query)
{
	struct route_match m;
	struct err e;

	if (route_parse(path, query, &m, &e))
		fail_msg("%s?%s: %s", path, query ? query : "", e.text);
	return m;
}

static void refused(const char *path, const char *query, int code)
{
	struct route_match m = {.since = 77};
	struct err e;
	int r = route_parse(path, query, &m, &e);

	if (r != code)
		fail_msg("%s?%s: %d", path, query ? query : "", r);
	assert_true(e.text[0]);
	assert_int_equal(m.since, 77); /* untouched */
}

static void test_places(void **state)
{
	struct route_match m;
	char text[DIGEST_TEXT];

	(void)state;
	assert_int_equal(taken("/healthz", NULL).route, ROUTE_HEALTH);
	assert_int_equal(taken("/metrics", "x=1").route, ROUTE_METRICS);
	assert_int_equal(taken("/v1/catalog", NULL).since, 0);
	m = taken("/v1/catalog", "since=18446744073709551615");
	assert_int_equal(m.route, ROUTE_CATALOG);
	assert_true(m.since == UINT64_MAX);
	m = taken("/v1/data/" HEX, NULL);
	assert_int_equal(m.route, ROUTE_DATA);
	assert_string_equal(digest_text(&m.digest, text), HEX);
	assert_int_equal(taken("/v1/manifests/" HEX, NULL).route,
			 ROUTE_MANIFEST);
	m = taken("/v1/servers/line3.a_b-c/descriptor", NULL);
	assert_int_equal(m.route, ROUTE_DESCRIPTOR);
	assert_string_equal(m.server, "line3.a_b-c");
	m = taken("/v1/servers/line3/orders/12", NULL);
	assert_int_equal(m.route, ROUTE_REPORT);
	assert_int_equal(m.number, 12);
}

static void test_order_arguments(void **state)
{
	struct route_match m = taken("/v1/servers/x/orders", NULL);

	(void)state;
	assert_int_equal(m.route, ROUTE_ORDERS);
	assert_false(m.has_revision);
	assert_int_equal(m.wait_s, 0);
	m = taken("/v1/servers/x/orders", "after=5&catalog=7&wait=30&new=1");
	assert_int_equal(m.after, 5);
	assert_true(m.has_revision);
	assert_int_equal(m.revision, 7);
	assert_int_equal(m.wait_s, 30);
	m = taken("/v1/servers/x/orders", "wait=18446744073709551615");
	assert_int_equal(m.wait_s, STAGEFS_ORDERS_WAIT_MAX_S);
	m = taken("/v1/servers/x/orders", "&&beforeafter=3&after=4&");
	assert_int_equal(m.after, 4);
	m = taken("/v1/servers/x/orders", "afterwards=9");
	assert_int_equal(m.after, 0);
	refused("/v1/servers/x/orders", "after=-1", -EINVAL);
	refused("/v1/servers/x/orders", "after=", -EINVAL);
}

static void test_bad_numbers(void **state)
{
	(void)state;
	refused("/v1/catalog", "since=1x", -EINVAL);
	refused("/v1/catalog", "since= 1", -EINVAL);
	refused("/v1/catalog", "since=18446744073709551616", -EINVAL);
	refused("/v1/catalog", "since=%31", -EINVAL);
	refused("/v1/servers/x/orders", "catalog=a", -EINVAL);
	refused("/v1/servers/x/orders", "wait=1.5", -EINVAL);
}

/* Nothing of these may ever become a name of a file. */
static void test_no_such_places(void **state)
{
	static const char *const path[] = {
		"", "/", "//", "/v1", "/v1/", "/v2/catalog", "/v1/catalog/",
		"/V1/catalog", "/v1/catalog%00", "/healthz/", "/v1/data",
		"/v1/data/", "/v1/data/" HEX "0", "/v1/data/" HEX "/",
		"/v1/data/../../etc/passwd", "/v1/data/%2e%2e%2fsecret.pem",
		"/v1/data/0123456789ABCDEF0123456789abcdef0123456789abcdef0123"
		"456789abcdef",
		"/v1/manifests/..", "/v1/servers", "/v1/servers/",
		"/v1/servers/line3", "/v1/servers/line3/",
		"/v1/servers//descriptor", "/v1/servers/../descriptor",
		"/v1/servers/.hidden/descriptor", "/v1/servers/a b/descriptor",
		"/v1/servers/a%20b/descriptor",
		"/v1/servers/line3/descriptor/",
		"/v1/servers/line3/orders/", "/v1/servers/line3/orders/0",
		"/v1/servers/line3/orders/-1", "/v1/servers/line3/orders/1/2",
		"/v1/servers/line3/orders/99999999999999999999",
		"/v1/servers/a123456789012345678901234567890123456789"
		"012345678901234567890123/descriptor"};

	(void)state;
	for (size_t i = 0; i < sizeof(path) / sizeof(path[0]); i++)
		refused(path[i], NULL, -ENOENT);
}

static void test_table(void **state)
{
	(void)state;
	assert_int_equal(route_methods(ROUTE_OTHER), 0);
	for (int r = 1; r < ROUTE_COUNT; r++) {
		assert_true(route_methods((enum route)r) != 0);
		assert_true(route_name((enum route)r)[0]);
		/* Allow says what the mask says. */
		assert_int_equal(
			strstr(route_allow((enum route)r), "GET") != NULL,
			(route_methods((enum route)r) & METHOD_GET) != 0);
		assert_int_equal(
			strstr(route_allow((enum route)r), "PUT") != NULL,
			(route_methods((enum route)r) & METHOD_PUT) != 0);
	}
	assert_int_equal(route_max_body_bytes(ROUTE_DESCRIPTOR),
			 STAGEFS_DESCRIPTOR_MAX_BYTES);
	assert_int_equal(route_max_body_bytes(ROUTE_REPORT),
			 STAGEFS_REPORT_MAX_BYTES);
	assert_int_equal(route_max_body_bytes(ROUTE_DATA), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_order_arguments),
		cmocka_unit_test(test_bad_numbers),
		cmocka_unit_test(test_no_such_places),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
