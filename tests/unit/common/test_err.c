/* SPDX-License-Identifier: Apache-2.0 */
/* One line whatever comes in; err.h and utf8.h. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/utf8.h"

static void test_set_and_prefix(void **state)
{
	struct err e = {{0}};

	(void)state;
	assert_int_equal(err_set(&e, ENOSPC, "%s: full", "/x"), -ENOSPC);
	assert_string_equal(e.text, "/x: full");
	assert_int_equal(err_prefix(&e, EIO, "image %d", 7), -EIO);
	assert_string_equal(e.text, "image 7: /x: full");
	assert_int_equal(err_set(&e, EIO, "again: %s", e.text), -EIO);
	assert_string_equal(e.text, "again: image 7: /x: full");
	assert_int_equal(err_set(NULL, EIO, "%d", 1), -EIO);
	assert_int_equal(err_prefix(NULL, EIO, "%d", 1), -EIO);
}

static void test_foreign_bytes(void **state)
{
	struct err e;

	(void)state;
	err_set(&e, EINVAL, "%s", "a\nb\x1b[31m\xffz\xc2\x85\xe2\x80\xa8.");
	assert_string_equal(e.text, "a?b?[31m?z??.");
	err_set(&e, EINVAL, "%s", "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80");
	assert_string_equal(e.text, "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80");
}

static void test_cut(void **state)
{
	char filler[sizeof(((struct err *)0)->text) + 10];
	struct err e;
	size_t room = sizeof(e.text) - 1;

	(void)state;
	/* The cut falls on each byte of a character of 2, 3, 4 bytes. */
	for (size_t back = 0; back < 5; back++) {
		const char *const ch[] = {"\xc3\xbc", "\xe2\x82\xac",
					  "\xf0\x9f\x98\x80"};

		for (int c = 0; c < 3; c++) {
			memset(filler, 'x', sizeof(filler));
			filler[room - back] = 0;
			err_set(&e, EIO, "%s%s", filler, ch[c]);
			assert_null(strchr(e.text, '?'));
			assert_int_equal(strlen(e.text),
					 back >= strlen(ch[c])
						 ? room - back + strlen(ch[c])
						 : room - back);
		}
	}
	memset(filler, 'y', sizeof(filler));
	filler[sizeof(filler) - 1] = 0;
	err_set(&e, EIO, "end");
	err_prefix(&e, EIO, "%s", filler);
	assert_int_equal(strlen(e.text), room);
}

/* Every code point survives; everything else is refused. */
static void test_utf8_all(void **state)
{
	(void)state;
	for (uint32_t c = 0; c <= 0x110000; c++) {
		uint32_t got = 0;
		char b[4] = {0};
		size_t n = utf8_encode(c, b);

		if ((c >= 0xd800 && c < 0xe000) || c > 0x10ffff) {
			assert_int_equal(utf8_decode(b, n, &got), 0);
			continue;
		}
		assert_int_equal(utf8_decode(b, n, &got), n);
		assert_int_equal(got, c);
		assert_int_equal(utf8_decode(b, n - 1, &got), 0);
	}
}

static void test_utf8_broken(void **state)
{
	static const char *const bad[] = {
		"\x80",		    "\xc0\x80",		"\xc1\xbf",
		"\xe0\x80\x80",	    "\xe0\x9f\xbf",	"\xf0\x80\x80\x80",
		"\xf0\x8f\xbf\xbf", "\xed\xa0\x80",	"\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80", "\xff",		"\xc3(",
		"\xe2\x82(",	    "\xf8\x88\x80\x80\x80"};
	uint32_t code;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(utf8_decode(bad[i], strlen(bad[i]), &code), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_and_prefix),
		cmocka_unit_test(test_foreign_bytes),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_utf8_all),
		cmocka_unit_test(test_utf8_broken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
