/* SPDX-License-Identifier: Apache-2.0 */
/* Which names may be (names.h); the same check guards the catalog (R8's tree
 * never holds a name that a client cannot open). */
#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/limits.h"
#include "common/names.h"

static void test_good(void **state)
{
	static const char *const good[] = {
		"a",
		"base.wim",
		"win11/base.wim",
		".hidden",
		"..x/...y",
		"with blank/and #+,;=@[]{}~^`'!$%&()-_",
		"\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80/\xe6\x97\xa5",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_int_equal(name_check_image(good[i], NULL), 0);
}

static void test_bad(void **state)
{
	static const struct {
		const char *name;
		const char *says;
	} bad[] = {
		{"", "empty"},
		{"/a", "relative"},
		{"a/", "empty part"},
		{"a//b", "empty part"},
		{"/", "relative"},
		{".", "must not be"},
		{"..", "must not be"},
		{"a/../b", "must not be"},
		{"a/.", "must not be"},
		{"../a", "must not be"},
		{"a\nb", "control"},
		{"a\x7f", "control"},
		{"a\xc2\x80", "control"},
		{"a\x01/b", "control"},
		{"\xe2\x80\xa8", "control"},
		{"a\\b", "SMB"},
		{"c:d", "SMB"},
		{"a*", "SMB"},
		{"a?", "SMB"},
		{"a\"", "SMB"},
		{"a<", "SMB"},
		{"a>", "SMB"},
		{"a|b", "SMB"},
		{"a ", "blank"},
		{"a.", "dot"},
		{"a./b", "dot"},
		{"...", "dot"},
		{"a\xff", "UTF-8"},
		{"a\xc0\xaf"
		 "b",
		 "UTF-8"}, /* an overlong slash */
		{"\xed\xa0\x80", "UTF-8"},
		{"a\xc3", "UTF-8"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct err e = {{0}};

		assert_int_equal(name_check_image(bad[i].name, &e), -EINVAL);
		if (!strstr(e.text, bad[i].says))
			fail_msg("'%s': '%s'", bad[i].name, e.text);
	}
}

static void test_lengths(void **state)
{
	char part[300], path[2100] = "";
	struct err e;

	(void)state;
	memset(part, 'x', sizeof(part));
	part[256] = 0;
	assert_int_equal(name_check_part(part, &e), -ENAMETOOLONG);
	assert_int_equal(name_check_image(part, &e), -ENAMETOOLONG);
	part[255] = 0;
	assert_int_equal(name_check_part(part, &e), 0);
	assert_int_equal(name_check_part("a/b", &e), -EINVAL);

	/* 1023 bytes are a path, 1024 are not */
	for (int i = 0; i < 4; i++) {
		strcat(path, part);
		strcat(path, "/");
	}
	path[1023] = 0;
	assert_int_equal(name_check_image(path, &e), 0);
	path[1023] = 'y';
	assert_int_equal(name_check_image(path, &e), -ENAMETOOLONG);

	/* 64 deep is fine, 65 is not */
	path[0] = 0;
	for (int i = 0; i < 63; i++)
		strcat(path, "d/");
	strcat(path, "f");
	assert_int_equal(name_check_image(path, &e), 0);
	strcat(path, "/g");
	assert_int_equal(name_check_image(path, &e), -ENAMETOOLONG);
	assert_non_null(strstr(e.text, "64"));
}

static void test_server(void **state)
{
	char name[70];

	(void)state;
	assert_int_equal(name_check_server("line3", NULL), 0);
	assert_int_equal(name_check_server("3-A_b.example", NULL), 0);
	assert_int_equal(name_check_server("", NULL), -EINVAL);
	assert_int_equal(name_check_server("-a", NULL), -EINVAL);
	assert_int_equal(name_check_server(".a", NULL), -EINVAL);
	assert_int_equal(name_check_server("a/b", NULL), -EINVAL);
	assert_int_equal(name_check_server("a b", NULL), -EINVAL);
	assert_int_equal(name_check_server("a\xc3\xbc", NULL), -EINVAL);
	memset(name, 'a', sizeof(name));
	name[64] = 0;
	assert_int_equal(name_check_server(name, NULL), -ENAMETOOLONG);
	name[63] = 0;
	assert_int_equal(name_check_server(name, NULL), 0);
}

static void assert_fold(const char *name, const char *want)
{
	char *got = name_fold(name);

	assert_non_null(got);
	assert_string_equal(got, want);
	free(got);
}

static void test_fold(void **state)
{
	(void)state;
	/* The process's locale must not matter. */
	assert_non_null(setlocale(LC_ALL, "C"));
	assert_fold("", "");
	assert_fold("Win11/BASE.wim", "win11/base.wim");
	assert_fold("\xc3\x84\xc3\x96", "\xc3\xa4\xc3\xb6");
	assert_fold("\xce\xa3\xcf\x82", "\xcf\x83\xcf\x83"); /* sigmas */
	assert_fold("\xe6\x97\xa5", "\xe6\x97\xa5");
	assert_null(name_fold("a\xff"));
}

/* Folding twice changes nothing, and the result is never cut. */
static void test_fold_all(void **state)
{
	(void)state;
	for (uint32_t c = 1; c < 0x20000; c++) {
		char name[5] = {0}, *once, *twice;

		if (c >= 0xd800 && c < 0xe000)
			continue;
		if (c < 0x80)
			name[0] = (char)c;
		else if (c < 0x800)
			sprintf(name, "%c%c", 0xc0 | c >> 6, 0x80 | (c & 63));
		else if (c < 0x10000)
			sprintf(name, "%c%c%c", 0xe0 | c >> 12,
				0x80 | (c >> 6 & 63), 0x80 | (c & 63));
		else
			sprintf(name, "%c%c%c%c", 0xf0 | c >> 18,
				0x80 | (c >> 12 & 63), 0x80 | (c >> 6 & 63),
				0x80 | (c & 63));
		once = name_fold(name);
		assert_non_null(once);
		twice = name_fold(once);
		assert_non_null(twice);
		assert_string_equal(once, twice);
		free(once);
		free(twice);
	}
}

static void *fold_often(void *arg)
{
	for (int i = 0; i < 1000; i++) {
		char *s = name_fold("ABC\xc3\x84");

		if (!s || strcmp(s, "abc\xc3\xa4") != 0)
			*(int *)arg = 1;
		free(s);
	}
	return NULL;
}

static void test_fold_threads(void **state)
{
	pthread_t t[4];
	int bad[4] = {0};

	(void)state;
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, fold_often, &bad[i]);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(bad[i], 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* first: it makes the locale under competition */
		cmocka_unit_test(test_fold_threads),
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_server),
		cmocka_unit_test(test_fold),
		cmocka_unit_test(test_fold_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
