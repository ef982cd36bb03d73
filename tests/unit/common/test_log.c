/* SPDX-License-Identifier: Apache-2.0 */
/* One line per call, whole, whatever is in it and however many threads. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/fdio.h"
#include "common/log.h"

static int fd;
static char text[1 << 20];

/* What was logged since the last call. */
static const char *take(void)
{
	off_t n = lseek(fd, 0, SEEK_END);

	assert_true(n < (off_t)sizeof(text));
	assert_int_equal(fd_pread_all(fd, text, (size_t)n, 0), 0);
	text[n] = 0;
	assert_int_equal(ftruncate(fd, 0), 0);
	lseek(fd, 0, SEEK_SET);
	return text;
}

static int setup(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	fd = memfd_create("log", MFD_CLOEXEC);
	fcntl(fd, F_SETFL, O_APPEND);
	log_set_fd(fd);
	return fd < 0;
}

static void test_form(void **state)
{
	const char *line;

	(void)state;
	errno = EACCES;
	log_warn("fetch", "%s: %m", "origin");
	assert_int_equal(errno, EACCES);
	line = take();
	assert_int_equal(line[4], '-');
	assert_non_null(strstr(line,
			       " warning: fetch: origin: Permission denied\n"));
	log_err("fetch", "a\nb\x1b[0m\xff");
	assert_non_null(strstr(take(), " error: fetch: a?b?[0m?\n"));
	log_info("fetch", "%s", "");
	assert_non_null(strstr(take(), " info: fetch: \n"));
}

static void test_long(void **state)
{
	char *big = calloc(1, 10000);
	const char *line;

	(void)state;
	memset(big, 'x', 9999);
	log_info("fetch", "%s", big);
	line = take();
	assert_int_equal(strlen(line), 2047);
	assert_int_equal(strchr(line, '\n') - line, 2046);
	free(big);
}

static void test_journal(void **state)
{
	char stream[64];
	struct stat st;

	(void)state;
	fstat(fd, &st);
	snprintf(stream, sizeof(stream), "%llu:%llu",
		 (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_set_fd(fd);
	log_err("fetch", "x");
	assert_string_equal(take(), "<3>fetch: x\n");
	log_warn("fetch", "x");
	assert_string_equal(take(), "<4>fetch: x\n");
	log_info("fetch", "x");
	assert_string_equal(take(), "<6>fetch: x\n");

	/* inherited, but our lines go elsewhere */
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_set_fd(fd);
	log_info("fetch", "x");
	assert_non_null(strstr(take(), " info: fetch: x\n"));
	unsetenv("JOURNAL_STREAM");
	log_set_fd(fd);
}

static void test_debug(void **state)
{
	int evaluated = 0;

	(void)state;
	log_debug("fetch", "%d", evaluated++);
	assert_string_equal(take(), "");
	assert_int_equal(evaluated, 0);
	log_set_debug("cache,fetch");
	assert_true(log_debug_on("fetch"));
	assert_true(log_debug_on("cache"));
	assert_false(log_debug_on("fet"));
	assert_false(log_debug_on("fetch,"));
	assert_false(log_debug_on("reader"));
	log_debug("fetch", "x");
	assert_non_null(strstr(take(), " debug: fetch: x\n"));
	log_set_debug("all");
	assert_true(log_debug_on("reader"));
	log_set_debug(NULL);
	assert_false(log_debug_on("fetch"));
}

static void *log_often(void *arg)
{
	for (int i = 0; i < 500; i++)
		log_info("t", "thread %c says the same as always",
			 *(char *)arg);
	return NULL;
}

static void test_threads(void **state)
{
	char name[4] = {'a', 'b', 'c', 'd'};
	int seen[4] = {0};
	pthread_t t[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, log_often, &name[i]);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	take();
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		const char *says = strstr(line, "info: t: thread ");

		assert_non_null(says);
		assert_string_equal(says + 17, " says the same as always");
		seen[says[16] - 'a']++;
	}
	for (int i = 0; i < 4; i++)
		assert_int_equal(seen[i], 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_form),   cmocka_unit_test(test_long),
		cmocka_unit_test(test_journal), cmocka_unit_test(test_debug),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
