/* SPDX-License-Identifier: Apache-2.0 */
/* test_options.c - mount options: defaults, each kind, every refusal. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fs/options.h"

static void defaults(void **state)
{
	struct mount_options m;
	struct err e;

	(void)state;
	assert_int_equal(mount_options_parse("", &m, &e), 0);
	assert_string_equal(m.cache, "/var/cache/stagefs");
	assert_string_equal(m.name, "");
	assert_int_equal(m.capacity_bytes, 0);
	assert_int_equal(m.min_free_bytes, OPTIONS_MIN_FREE_AUTO);
	assert_int_equal(m.fill_after_bytes, 32 << 20);
	assert_int_equal(m.look_ahead_bytes, 32 << 20);
	assert_int_equal(m.memory_bytes, 256 << 20);
	assert_int_equal(m.io_timeout_ms, 30000);
	assert_false(m.serve_complete);
	assert_true(m.passthrough);
	assert_int_equal(m.scrub_ms, UINT64_C(30) * 24 * 3600 * 1000);
}

static void all_kinds(void **state)
{
	struct mount_options m;
	struct err e;

	(void)state;
	assert_int_equal(
		mount_options_parse(
			"rw,name=line3,capacity=500G,cache=/srv/c,min-free=0,"
			"key=/etc/k.pem,ca=/etc/ca.pem,fill-after=never,"
			"look-ahead=64M,io-timeout=1m30s,serve=complete,"
			"passthrough=off,device=300,scrub=off,memory=1G,"
			"user=nobody,log=/var/log/s,debug=fetch+cache",
			&m, &e),
		0);
	assert_string_equal(m.name, "line3");
	assert_true(m.capacity_bytes == UINT64_C(500) << 30);
	assert_string_equal(m.cache, "/srv/c");
	assert_int_equal(m.min_free_bytes, 0);
	assert_string_equal(m.key, "/etc/k.pem");
	assert_string_equal(m.ca, "/etc/ca.pem");
	assert_true(m.fill_after_bytes == UINT64_MAX);
	assert_int_equal(m.look_ahead_bytes, 64 << 20);
	assert_int_equal(m.io_timeout_ms, 90000);
	assert_true(m.serve_complete);
	assert_false(m.passthrough);
	assert_int_equal(m.device, 300);
	assert_true(m.scrub_ms == UINT64_MAX);
	assert_int_equal(m.memory_bytes, 1 << 30);
	assert_string_equal(m.user, "nobody");
	assert_string_equal(m.log, "/var/log/s");
	assert_string_equal(m.debug, "fetch,cache");
}

static void the_last_one_wins(void **state)
{
	struct mount_options m;
	struct err e;

	(void)state;
	assert_int_equal(mount_options_parse("capacity=1G,,capacity=2G,", &m,
					     &e),
			 0);
	assert_true(m.capacity_bytes == UINT64_C(2) << 30);
}

static void generic_ones_are_ignored(void **state)
{
	struct mount_options m;
	struct err e;

	(void)state;
	assert_int_equal(
		mount_options_parse("defaults,_netdev,nofail,noauto,user,users,"
				    "ro,noatime,x-systemd.automount,"
				    "x-systemd.requires=a.service,comment=hi,"
				    "nosuid,nodev,noexec,dirsync,lazytime,"
				    "strictatime,nosymfollow,mand,silent",
				    &m, &e),
		0);
	assert_string_equal(m.user, "");
}

static const struct {
	const char *text;
	int error;
	const char *says; /* part of the line */
} refusals[] = {
	{"capcity=500G", EINVAL, "capcity"},
	{"bogus", EINVAL, "bogus"},
	{"rw=1", EINVAL, "rw"},
	{"capacity", EINVAL, "capacity=SIZE"},
	{"capacity=", EINVAL, "capacity=SIZE"},
	{"capacity=3X", EINVAL, "capacity=3X"},
	{"capacity=1k", ERANGE, "takes 1M"},
	{"capacity=-1", EINVAL, "capacity"},
	{"memory=1M", ERANGE, "takes 32M"},
	{"look-ahead=1T", ERANGE, "look-ahead"},
	{"device=0", ERANGE, "device=0: takes 1 to 900"},
	{"device=901", ERANGE, "takes 1 to 900"},
	{"device=0:50", ERANGE, "takes 1 to 900"},
	{"device=-1", ERANGE, "takes 1 to 900"},
	{"io-timeout=soon", EINVAL, "io-timeout=soon"},
	{"io-timeout=1ms", ERANGE, "io-timeout"},
	{"scrub=never", EINVAL, "scrub=never"},
	{"scrub=10ms", ERANGE, "scrub=10ms: takes 1s to"},
	{"serve=maybe", EINVAL, "stream or complete"},
	{"passthrough=1", EINVAL, "on or off"},
	{"cache=relative", EINVAL, "absolute"},
	{"key=k.pem", EINVAL, "absolute"},
	{"name=-x", EINVAL, "name"},
	{"name=a/b", EINVAL, "name"},
	{"debug=fetsch", EINVAL, "fetsch"},
	{"debug=fetch+", EINVAL, "debug"},
	{"debug=all+x", EINVAL, "'x'"},
	{"remount", EINVAL, "umount and mount"},
};

static void refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		struct mount_options m = {.memory_bytes = 42};
		struct err e = {""};

		assert_int_equal(
			mount_options_parse(refusals[i].text, &m, &e),
			-refusals[i].error);
		if (!strstr(e.text, refusals[i].says))
			fail_msg("%s: said '%s'", refusals[i].text, e.text);
		assert_null(strchr(e.text, '\n'));
		/* outputs stay untouched */
		assert_int_equal(m.memory_bytes, 42);
	}
}

static void too_long(void **state)
{
	struct mount_options m;
	char text[PATH_MAX + 64];
	struct err e;

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "cache=/", 7);
	text[sizeof(text) - 1] = 0;
	assert_int_equal(mount_options_parse(text, &m, &e), -ENAMETOOLONG);
	memcpy(text, "user=aa", 7);
	text[5 + sizeof(m.user)] = 0;
	assert_int_equal(mount_options_parse(text, &m, &e), -ENAMETOOLONG);
	text[5 + sizeof(m.user) - 1] = 0;
	assert_int_equal(mount_options_parse(text, &m, &e), 0);
}

static void help_names_every_option(void **state)
{
	const char *name, *arg, *help;
	size_t n = 0;

	(void)state;
	while (mount_options_help(n, &name, &arg, &help)) {
		assert_true(name[0] && arg[0] && help[0]);
		n++;
	}
	assert_int_equal(n, 17);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(all_kinds),
		cmocka_unit_test(the_last_one_wins),
		cmocka_unit_test(generic_ones_are_ignored),
		cmocka_unit_test(refused),
		cmocka_unit_test(too_long),
		cmocka_unit_test(help_names_every_option),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
