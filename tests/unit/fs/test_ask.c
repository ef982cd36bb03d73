/* SPDX-License-Identifier: Apache-2.0 */
/* Which mount is asked, and where it listens. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fs/status/ask.h"
#include "fs/status/control.h"

static void test_find_mount(void **state)
{
	static const char info[] =
		"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
		"30 22 0:40 / /images rw,nosuid shared:1 - fuse.stagefs "
		"http://o:8420 rw\n"
		"31 22 0:41 / /data rw - fuse.sshfs x rw\n"
		"32 22 0:42 / /srv/my\\040images rw - fuse.stagefs x rw\n"
		"33 30 0:43 / /images/inner rw - fuse.stagefs x rw\n"
		"broken\n";
	static const struct {
		const char *dir, *want;
	} good[] = {
		{"/images", "/images"},	    {"/images/", "/images"},
		{"//images/.", "/images"},  {"/images/a/b", "/images"},
		{"/x/../images", "/images"}, {"/images/inner/z",
					      "/images/inner"},
		{"/srv/my images", "/srv/my images"},
	};
	static const char *const bad[] = {"/", "/data", "/image", "/images2",
					  "/srv", "", "relative"};
	char out[256];
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(ask_find_mount(good[i].dir, info, out,
						sizeof(out), &e), 0);
		assert_string_equal(out, good[i].want);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ask_find_mount(bad[i], info, out,
						sizeof(out), &e), -ENOENT);
}

/* The supervisor computes the same. */
static void test_path(void **state)
{
	char out[CONTROL_PATH_MAX];

	(void)state;
	assert_string_equal(control_path("", out),
			    "/run/stagefs/cbf29ce484222325.sock");
	assert_string_equal(control_path("a", out),
			    "/run/stagefs/af63dc4c8601ec8c.sock");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find_mount),
		cmocka_unit_test(test_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
