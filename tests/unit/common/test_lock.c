/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of levels is enforced (in builds without NDEBUG), conditions wait
 * on the monotonic clock, and a scope gives its lock back.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/lock.h"

static struct lock low, middle, high;

static int setup(void **state)
{
	(void)state;
	lock_init(&low, 1);
	lock_init(&middle, 2);
	lock_init(&high, 3);
	return 0;
}

static void take_down(void)
{
	lock_take(&high);
	lock_take(&low);
}

static void take_same_level(void)
{
	struct lock other;

	lock_init(&other, 2);
	lock_take(&middle);
	lock_take(&other);
}

static void give_what_is_not_held(void)
{
	lock_take(&low);
	lock_give(&high);
}

static void assert_not_held(void)
{
	lock_take(&low);
	lock_assert_held(&middle);
}

/* A gap that opens in the middle does not hide what is on top. */
static void take_down_after_gap(void)
{
	lock_take(&low);
	lock_take(&high);
	lock_give(&low);
	lock_take(&middle);
}

static bool aborts(void (*what)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		close(STDERR_FILENO); /* the assertion's line */
		signal(SIGABRT, SIG_DFL);
		what();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_order(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		lock_take(&low);
		lock_take(&middle);
		lock_take(&high);
		lock_assert_held(&middle);
		lock_give(&middle); /* in any order */
		lock_give(&high);
		lock_take(&middle);
		lock_give(&middle);
		lock_give(&low);
	}
#ifdef NDEBUG
	skip();
#endif
	assert_true(aborts(take_down));
	assert_true(aborts(take_same_level));
	assert_true(aborts(give_what_is_not_held));
	assert_true(aborts(assert_not_held));
	assert_true(aborts(take_down_after_gap));
}

static int scoped(int x)
{
	LOCK_SCOPE(&low);
	if (x)
		return x;
	return 0;
}

static void test_scope(void **state)
{
	(void)state;
	assert_int_equal(scoped(1), 1);
	assert_int_equal(scoped(0), 0);
	lock_take(&low);
	lock_give(&low);
}

struct shared {
	struct lock lock;
	struct wait_cond cond;
	int turn, n;
};

static void *take_turns(void *arg)
{
	struct shared *s = arg;

	for (int i = 0; i < 1000; i++) {
		lock_take(&s->lock);
		while (s->turn != 1)
			cond_wait(&s->cond, &s->lock);
		s->turn = 0;
		s->n++;
		cond_wake_one(&s->cond);
		lock_give(&s->lock);
	}
	return NULL;
}

static void test_cond(void **state)
{
	struct shared s = {.n = 0};
	pthread_t t;

	(void)state;
	lock_init(&s.lock, 1);
	cond_init(&s.cond);
	pthread_create(&t, NULL, take_turns, &s);
	for (int i = 0; i < 1000; i++) {
		lock_take(&s.lock);
		s.turn = 1;
		cond_wake_all(&s.cond);
		while (s.turn != 0)
			cond_wait(&s.cond, &s.lock);
		lock_give(&s.lock);
	}
	pthread_join(t, NULL);
	assert_int_equal(s.n, 1000);
	cond_destroy(&s.cond);
	lock_destroy(&s.lock);
}

static void test_cond_until(void **state)
{
	uint64_t until = clock_mono_ns() + 20 * NS_PER_MS;
	struct wait_cond c;
	int r;

	(void)state;
	cond_init(&c);
	lock_take(&low);
	assert_int_equal(cond_wait_until(&c, &low, 1), -ETIMEDOUT);
	do {
		r = cond_wait_until(&c, &low, until);
	} while (r == 0); /* woken for nothing */
	assert_int_equal(r, -ETIMEDOUT);
	assert_true(clock_mono_ns() >= until);
	lock_give(&low);
	cond_destroy(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_scope),
		cmocka_unit_test(test_cond),
		cmocka_unit_test(test_cond_until),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
