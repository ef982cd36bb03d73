/* SPDX-License-Identifier: Apache-2.0 */
/* test_buf.c - the bounded pool: its limit, demand's share, wakeups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/fetch/buf.h"

#define MIB (1u << 20)

static struct buf_pool *make(uint64_t bytes)
{
	struct buf_pool *p;

	assert_int_equal(buf_pool_new(bytes, &p), 0);
	return p;
}

static void test_limit(void **state)
{
	struct buf_pool *p = make(8 * MIB);
	struct buf *b[8];

	(void)state;
	for (int i = 0; i < 7; i++) {
		b[i] = buf_get(p, MIB, false);
		assert_non_null(b[i]);
		assert_int_equal(b[i]->n, 0);
		memset(b[i]->data, i, MIB);
	}
	assert_null(buf_get(p, MIB, false)); /* the rest is demand's */
	b[7] = buf_get(p, MIB, true);
	assert_non_null(b[7]);
	assert_null(buf_get(p, MIB, true));
	assert_int_equal(buf_pool_used(p), 8 * MIB);
	for (int i = 0; i < 7; i++)
		assert_int_equal(b[i]->data[MIB - 1], i);
	for (int i = 0; i < 8; i++)
		buf_put(b[i]);
	buf_put(NULL);
	assert_int_equal(buf_pool_used(p), 0);
	buf_pool_free(p);
}

/* A block larger than the pool: one at a time, for whoever is first. */
static void test_one_always(void **state)
{
	struct buf_pool *p = make(MIB);
	struct buf *b = buf_get(p, 16 * MIB, false);

	(void)state;
	assert_non_null(b);
	assert_null(buf_get(p, 64u << 10, true));
	buf_put(b);
	b = buf_get(p, 64u << 10, true);
	assert_non_null(b);
	buf_put(b);
	buf_pool_free(p);
}

static void count(void *ctx)
{
	(*(int *)ctx)++;
}

static void test_wake(void **state)
{
	struct buf_pool *p = make(2 * MIB);
	struct buf *a, *b;
	int woken = 0;

	(void)state;
	buf_pool_on_room(p, count, &woken);
	a = buf_get(p, MIB, true);
	b = buf_get(p, MIB, true);
	buf_ref(a);
	buf_put(a);
	assert_int_equal(woken, 0); /* still referenced */
	assert_null(buf_get(p, MIB, true));
	buf_put(a);
	assert_int_equal(woken, 1);
	buf_put(b);
	assert_int_equal(woken, 1); /* nobody had been refused since */
	buf_pool_free(p);
}

/* Sizes change: what is kept of the old ones makes room. */
static void test_sizes(void **state)
{
	struct buf_pool *p = make(4 * MIB);
	struct buf *b[64];

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 64; i++)
			b[i] = buf_get(p, 64u << 10, true);
		for (int i = 0; i < 64; i++) {
			assert_non_null(b[i]);
			buf_put(b[i]);
		}
		for (int i = 0; i < 4; i++)
			b[i] = buf_get(p, MIB, true);
		for (int i = 0; i < 4; i++) {
			assert_non_null(b[i]);
			memset(b[i]->data, 1, MIB);
			buf_put(b[i]);
		}
	}
	buf_pool_free(p);
}

static size_t resident_mib(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long all, pages = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &all, &pages), 2);
	fclose(f);
	return pages / (MIB / 4096);
}

/* What was used in a busy moment goes back to the kernel after it. */
static void test_idle_is_small(void **state)
{
	static const uint32_t size[] = {65536, MIB, 2 * MIB, 16 * MIB};
	struct buf_pool *p;
	size_t begin = resident_mib();
	struct buf *b[1024];

	(void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	skip(); /* their shadow is resident too */
#endif
	p = make(256 * MIB);
	for (unsigned s = 0; s < sizeof(size) / sizeof(size[0]); s++) {
		unsigned n = 64 * MIB / size[s];

		for (unsigned i = 0; i < n; i++) {
			b[i] = buf_get(p, size[s], true);
			assert_non_null(b[i]);
			memset(b[i]->data, 0x5a, size[s]);
		}
		assert_true(resident_mib() >= begin + 60);
		for (unsigned i = 0; i < n; i++) {
			assert_int_equal(b[i]->data[size[s] - 1], 0x5a);
			buf_put(b[i]);
		}
		assert_true(resident_mib() <= begin + 30);
	}
	buf_pool_free(p);
}

static atomic_uint_least64_t most;

static void *churn(void *arg)
{
	struct buf_pool *p = arg;
	unsigned seed = (unsigned)(uintptr_t)&seed;

	for (int i = 0; i < 5000; i++) {
		uint32_t size = 65536u << rand_r(&seed) % 3;
		struct buf *b = buf_get(p, size, i % 2 == 0);
		uint64_t used = buf_pool_used(p), old = atomic_load(&most);

		while (used > old &&
		       !atomic_compare_exchange_weak(&most, &old, used))
			;
		if (b)
			b->data[size - 1] = 1;
		buf_put(b);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct buf_pool *p = make(MIB);
	pthread_t t[8];

	(void)state;
	for (int i = 0; i < 8; i++)
		pthread_create(&t[i], NULL, churn, p);
	for (int i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	assert_true(atomic_load(&most) <= MIB);
	assert_int_equal(buf_pool_used(p), 0);
	buf_pool_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_one_always),
		cmocka_unit_test(test_wake),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_idle_is_small),
		cmocka_unit_test(test_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
