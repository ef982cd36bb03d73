/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for a lock for long, or has not come round, is found; who rests,
 * or has ended, is not. More threads than there are slots do no harm.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/lock.h"
#include "common/pulse.h"

#define LIMIT_NS (20 * NS_PER_MS)

static struct lock lock;
static bool go;	   /* atomic */
static unsigned n; /* atomic: threads that are there */

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
}

static int setup(void **state)
{
	(void)state;
	lock_init(&lock, 1);
	pulse_set_limit(LIMIT_NS);
	go = false;
	n = 0;
	return 0;
}

static void await_go(void)
{
	__atomic_add_fetch(&n, 1, __ATOMIC_ACQ_REL);
	while (!__atomic_load_n(&go, __ATOMIC_ACQUIRE))
		nap();
}

static void await(unsigned threads)
{
	while (__atomic_load_n(&n, __ATOMIC_ACQUIRE) < threads)
		nap();
}

static void let_go(pthread_t t)
{
	__atomic_store_n(&go, true, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
}

static void assert_all_well(void)
{
	struct pulse_stuck stuck;

	for (int i = 0; i < 40; i++) {
		nap();
		assert_false(pulse_find_stuck(&stuck));
	}
}

static void *take(void *name)
{
	if (name)
		pulse_name(name);
	__atomic_add_fetch(&n, 1, __ATOMIC_ACQ_REL);
	lock_take(&lock);
	lock_give(&lock);
	return NULL;
}

static void waits_for_lock(const char *name)
{
	struct pulse_stuck stuck;
	pthread_t t;

	lock_take(&lock);
	pthread_create(&t, NULL, take, (void *)name);
	while (!pulse_find_stuck(&stuck))
		nap();
	assert_true(stuck.on_lock);
	assert_true(stuck.ns >= LIMIT_NS);
	assert_true(stuck.tid > 0);
	if (name)
		assert_string_equal(stuck.name, name);
	lock_give(&lock);
	let_go(t);
	assert_all_well();
}

static void test_lock(void **state)
{
	(void)state;
	waits_for_lock("waiter");
}

/* Also a thread that has never said a word. */
static void test_lock_of_anybody(void **state)
{
	(void)state;
	waits_for_lock(NULL);
}

static void *promise(void *arg)
{
	(void)arg;
	pulse_name("late");
	pulse_expect();
	await_go();
	return NULL;
}

static void test_late(void **state)
{
	struct pulse_stuck stuck;
	pthread_t t;

	(void)state;
	pthread_create(&t, NULL, promise, NULL);
	while (!pulse_find_stuck(&stuck))
		nap();
	assert_false(stuck.on_lock);
	assert_string_equal(stuck.name, "late");
	let_go(t);
	/* It has ended with its promise open. */
	assert_all_well();
}

static void *keep(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&go, __ATOMIC_ACQUIRE)) {
		pulse_expect_ns(3600 * NS_PER_S);
		nap();
		pulse_rest();
		__atomic_store_n(&n, 1, __ATOMIC_RELEASE);
		nap();
	}
	return NULL;
}

static void test_rest(void **state)
{
	pthread_t t;

	(void)state;
	pthread_create(&t, NULL, keep, NULL);
	await(1);
	assert_all_well();
	let_go(t);
}

static void *many(void *arg)
{
	(void)arg;
	pulse_expect_ns(3600 * NS_PER_S);
	await_go();
	pulse_rest();
	return NULL;
}

#define MANY 700

static void test_more_than_slots(void **state)
{
	static pthread_t t[MANY];
	pthread_attr_t small;

	(void)state;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 128 << 10);
	for (int round = 0; round < 2; round++) {
		setup(NULL);
		for (int i = 0; i < MANY; i++)
			assert_int_equal(pthread_create(&t[i], &small, many,
							NULL), 0);
		await(MANY);
		for (int i = 0; i < MANY; i++)
			let_go(t[i]);
	}
	pthread_attr_destroy(&small);
	/* They were given back. */
	setup(NULL);
	test_late(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_lock, setup),
		cmocka_unit_test_setup(test_lock_of_anybody, setup),
		cmocka_unit_test_setup(test_late, setup),
		cmocka_unit_test_setup(test_rest, setup),
		cmocka_unit_test_setup(test_more_than_slots, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
