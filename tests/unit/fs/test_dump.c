/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that waits in the kernel as for a disk is seen: with vfork(2), where
 * the parent waits like that until the child lets it go.
 */
#include <setjmp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "fs/dump.h"

static int go[2]; /* a pipe; its end lets the child go */

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
}

static void *wait_in_kernel(void *arg)
{
	char c;
	pid_t pid = vfork();

	if (pid == 0) {
		close(go[1]);
		if (read(go[0], &c, 1) == 0)
			_exit(0);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
	return arg;
}

static void test_at_disk(void **state)
{
	pthread_t t;

	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* its vfork(2) is a fork(2) */
#endif
	assert_int_equal(pipe(go), 0);
	assert_false(dump_at_disk());
	pthread_create(&t, NULL, wait_in_kernel, NULL);
	for (int i = 0; i < 20000 && !dump_at_disk(); i++)
		nap();
	assert_true(dump_at_disk());
	close(go[1]);
	pthread_join(t, NULL);
	/* A page that has to come from the disk takes a moment, no more. */
	for (int i = 0; i < 20000 && dump_at_disk(); i++)
		nap();
	assert_false(dump_at_disk());
	close(go[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
