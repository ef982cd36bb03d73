/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>

#include "common/pool.h"

static atomic_int n_run;

static void count(struct pool_job *job)
{
	atomic_fetch_add(&n_run, 1);
	free(job);
}

static void test_all_run(void **state)
{
	struct pool *p;

	(void)state;
	atomic_store(&n_run, 0);
	assert_int_equal(pool_new("test", 4, &p), 0);
	for (int i = 0; i < 10000; i++) {
		struct pool_job *job = malloc(sizeof(*job));

		job->run = count;
		pool_submit(p, job, (unsigned)i % POOL_CLASSES);
	}
	pool_drain(p);
	assert_int_equal(atomic_load(&n_run), 10000);
	for (int i = 0; i < 100; i++) {
		struct pool_job *job = malloc(sizeof(*job));

		job->run = count;
		pool_submit(p, job, 0);
	}
	pool_free(p); /* runs what is queued */
	assert_int_equal(atomic_load(&n_run), 10100);
	pool_free(NULL);
}

/* One thread that is held at a gate while others are queued. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static int order[16], n_order;

struct numbered {
	struct pool_job job;
	int number;
};

static void wait_at_gate(struct pool_job *job)
{
	(void)job;
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
}

static void note(struct pool_job *job)
{
	order[n_order++] = ((struct numbered *)job)->number;
}

static void test_order(void **state)
{
	static const int class_of[] = {3, 1, 0, 1, 3, 0, 2};
	static const int want[] = {2, 5, 1, 3, 6, 0, 4};
	struct numbered j[7];
	struct pool_job first = {.run = wait_at_gate};
	struct pool *p;

	(void)state;
	assert_int_equal(pool_new("test", 1, &p), 0);
	pthread_mutex_lock(&gate);
	pool_submit(p, &first, 0);
	for (int i = 0; i < 7; i++) {
		j[i] = (struct numbered){{.run = note}, i};
		pool_submit(p, &j[i].job, (unsigned)class_of[i]);
	}
	pthread_mutex_unlock(&gate);
	pool_drain(p);
	/* The gate's job may not have been taken before the others came, but
	 * it is of class 0 and the first of it. */
	assert_int_equal(n_order, 7);
	assert_memory_equal(order, want, sizeof(want));
	pool_free(p);
}

/* A job may submit another, also while the pool ends. */
static struct pool *chain_pool;

static void chain(struct pool_job *job)
{
	if (atomic_fetch_add(&n_run, 1) < 1000)
		pool_submit(chain_pool, job, 1);
	else
		free(job);
}

static void test_chain(void **state)
{
	struct pool_job *job = malloc(sizeof(*job));

	(void)state;
	atomic_store(&n_run, 0);
	job->run = chain;
	assert_int_equal(pool_new("test", 0, &chain_pool), 0);
	pool_submit(chain_pool, job, 0);
	pool_free(chain_pool);
	assert_int_equal(atomic_load(&n_run), 1001);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_run),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_chain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
