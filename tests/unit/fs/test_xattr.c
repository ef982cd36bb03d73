/* SPDX-License-Identifier: Apache-2.0 */
/* test_xattr.c - values and list of user.stagefs.*. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/kernel/xattr.h"

static const struct catalog_node image = {.id = 42,
					  .parent = 1,
					  .size_bytes = 5 << 20,
					  .block_bytes = 1 << 20,
					  .digest = {{0xab, 0xcd}}};

static void value_is(const struct xattr_facts *f, const char *name,
		     const char *expected)
{
	char value[XATTR_VALUE_MAX_BYTES];
	int n = xattr_value(f, name, value);

	if (n < 0)
		fail_msg("%s: %d", name, n);
	assert_int_equal(n, strlen(expected));
	assert_memory_equal(value, expected, n);
}

static void absent_image(void **state)
{
	const struct xattr_facts f = {.node = &image};
	char value[XATTR_VALUE_MAX_BYTES];

	(void)state;
	value_is(&f, "user.stagefs.id", "42");
	value_is(&f, "user.stagefs.size", "5242880");
	value_is(&f, "user.stagefs.block_size", "1048576");
	value_is(&f, "user.stagefs.state", "absent");
	value_is(&f, "user.stagefs.cached_bytes", "0");
	value_is(&f, "user.stagefs.digest",
		 "abcd0000000000000000000000000000"
		 "00000000000000000000000000000000");
	assert_int_equal(xattr_value(&f, "user.stagefs.stored_at", value),
			 -ENODATA);
	assert_int_equal(xattr_value(&f, "user.stagefs.held_until", value),
			 -ENODATA);
}

static void states(void **state)
{
	struct version_info info = {.stored_bytes = 1 << 20,
				    .stored_at_s = 1700000000,
				    .held_until_s = 1800000000};
	struct xattr_facts f = {.node = &image, .info = &info};

	(void)state;
	setenv("TZ", "UTC", 1);
	value_is(&f, "user.stagefs.state", "partial");
	value_is(&f, "user.stagefs.cached_bytes", "1048576");
	value_is(&f, "user.stagefs.stored_at", "2023-11-14 22:13:20 UTC");
	value_is(&f, "user.stagefs.held_until", "2027-01-15 08:00:00 UTC");
	f.active = true;
	value_is(&f, "user.stagefs.state", "fetching");
	info.complete = true;
	value_is(&f, "user.stagefs.state", "complete");
}

/* Samba asks for user.DOSATTRIB of every file: never EPERM. */
static void unknown_is_nodata(void **state)
{
	static const char *const names[] = {
		"user.DOSATTRIB", "security.capability", "user.stagefs.",
		"user.stagefs.nothing", "user.stagefs.id ", "",
	};
	const struct xattr_facts f = {.node = &image};
	char value[XATTR_VALUE_MAX_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(xattr_value(&f, names[i], value), -ENODATA);
}

static void folders_have_an_id_only(void **state)
{
	const struct catalog_node dir = {.id = 7, .parent = 1, .is_dir = true};
	const struct xattr_facts f = {.node = &dir};
	char list[XATTR_LIST_MAX_BYTES], value[XATTR_VALUE_MAX_BYTES];

	(void)state;
	assert_int_equal(xattr_list(&f, list), sizeof("user.stagefs.id"));
	assert_string_equal(list, "user.stagefs.id");
	assert_int_equal(xattr_value(&f, "user.stagefs.digest", value),
			 -ENODATA);
}

/* Every name in the list has a value, and the longest list fits. */
static void list_agrees_with_values(void **state)
{
	const struct version_info info = {.stored_at_s = 1, .held_until_s = 1};
	const struct xattr_facts full = {.node = &image, .info = &info};
	const struct xattr_facts bare = {.node = &image};
	char list[XATTR_LIST_MAX_BYTES], value[XATTR_VALUE_MAX_BYTES];
	size_t n = xattr_list(&full, list), count = 0;

	(void)state;
	assert_true(n <= sizeof(list));
	for (const char *p = list; p < list + n; p += strlen(p) + 1) {
		assert_true(xattr_value(&full, p, value) >= 0);
		count++;
	}
	assert_int_equal(count, 8);
	n = xattr_list(&bare, list);
	assert_null(memmem(list, n, "stored_at", 9));
	assert_null(memmem(list, n, "held_until", 10));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(absent_image),
		cmocka_unit_test(states),
		cmocka_unit_test(unknown_is_nodata),
		cmocka_unit_test(folders_have_an_id_only),
		cmocka_unit_test(list_agrees_with_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
